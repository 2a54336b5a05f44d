"""The one place where a test can make the gateway die: before or after a named transition is committed.

`IRIS_KILL_AT=job.encoded:before` ends the process with SIGKILL just before the commit that would write the
transition, `:after` just after it. The system test enumerates the names from the transition tables.
"""

import os
import signal
from collections.abc import Iterable

_KILL_AT = os.environ.get("IRIS_KILL_AT", "")


def die_if_asked(transitions: Iterable[str], moment: str) -> None:
    """End this process at once where IRIS_KILL_AT names one of `transitions` at this `moment`."""
    if _KILL_AT and any(f"{transition}:{moment}" == _KILL_AT for transition in transitions):
        os.kill(os.getpid(), signal.SIGKILL)
