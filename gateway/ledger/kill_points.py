"""The one place where a test can make the gateway die: before or after a named transition is committed.

`IRIS_KILL_AT=job.encoded:before` ends the process with SIGKILL just before the commit that would write the
transition, `:after` just after it. The system test enumerates the names from the transition tables.
"""

import os
import signal
from collections.abc import Iterable


def die_if_asked(transitions: Iterable[str], moment: str) -> None:
    """End this process at once where IRIS_KILL_AT names one of `transitions` at this `moment`."""
    kill_at = os.environ.get("IRIS_KILL_AT")
    if kill_at and any(f"{transition}:{moment}" == kill_at for transition in transitions):
        os.kill(os.getpid(), signal.SIGKILL)
