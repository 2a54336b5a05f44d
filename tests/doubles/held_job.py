"""The real job whose process can be held: from its second study on it waits, where that is wished.

The environment says what happens:

    HELD_LOG    a file that gets the process's number for each study that it segments
    HELD_UNTIL  a file: until it is there a process waits in its second study, and in all that follow
"""

import os
import sys
import time
from pathlib import Path

from batch_job import __main__ as command
from batch_job import shared
from batch_job.engines import Segmented, Work

SEGMENT = shared.Engines.segment
done = 0


def segment(engines: shared.Engines, name: str, work: Work) -> Segmented:
    """Segment, when it is time."""
    global done
    with Path(os.environ["HELD_LOG"]).open("a") as log:
        log.write(f"{os.getpid()}\n")
    go = Path(os.environ["HELD_UNTIL"])
    while done and not go.exists():
        time.sleep(0.02)
    done += 1
    return SEGMENT(engines, name, work)


if __name__ == "__main__":
    shared.Engines.segment = segment  # type: ignore[method-assign]
    sys.exit(command.main())
