"""The real job whose process can be held: from its second study on it waits, where that is wished.

The environment says what happens:

    HELD_LOG    a file that gets the process's number for each study that it segments
    HELD_UNTIL  a file: until it is there a process waits in its second study, and in all that follow
    KILLED_AT   a number: the first process is killed just before so many requests to S3 that change something
    KILLED      a file that is made by the process that will be killed
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

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


def be_killed_before(number: int) -> None:
    """Count requests that are no questions, and die before that one."""
    count = 0

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "http.client.send" and isinstance(values[1], bytes):
            count += values[1].startswith((b"PUT ", b"DELETE ", b"POST "))
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def is_the_first() -> bool:
    """Whether no other process came before."""
    try:
        Path(os.environ["KILLED"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    if "KILLED_AT" in os.environ and is_the_first():
        be_killed_before(int(os.environ["KILLED_AT"]))
    shared.Engines.segment = segment  # type: ignore[method-assign]
    sys.exit(command.main())
