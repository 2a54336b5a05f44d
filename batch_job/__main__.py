"""`python -m batch_job ADDRESS`: runs the job in that folder; exit codes as in `contract`."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from .contract import (
    DIE_WITH_PARENT_VARIABLE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
    RUN_VARIABLE,
)


def main() -> int:
    """Run the job; the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if os.environ.get(DIE_WITH_PARENT_VARIABLE) == "1":
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if len(sys.argv) != 2:
        return _say("usage: python -m batch_job ADDRESS (a job folder)", EXIT_BAD_INPUT)
    if "://" in sys.argv[1]:
        return _say("this version works on local job folders; give a path", EXIT_BAD_INPUT)
    run = os.environ.get(RUN_VARIABLE, "1")
    if not run.isdecimal() or int(run) < 1:
        return _say(f"{RUN_VARIABLE} must be a positive whole number", EXIT_BAD_INPUT)
    return _run(Path(sys.argv[1]), int(run))


def _run(path: Path, run: int) -> int:
    # Late, so that a signal that comes while NumPy is loading is answered already.
    from .errors import BadInput, ComeBackLater, NotSetUp
    from .folder import FolderBusy, JobFolder
    from .run import run_job

    try:
        run_job(JobFolder(path), run)
    except BadInput as error:
        return _say(str(error), EXIT_BAD_INPUT)
    except NotSetUp as error:
        return _say(str(error), EXIT_NOT_SET_UP)
    except (FolderBusy, ComeBackLater) as error:
        return _say(str(error), EXIT_TRANSIENT)
    except MemoryError:
        return _say("memory ran out; give the job more, or run fewer at once", EXIT_TRANSIENT)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return _say(f"the job folder failed: {reason}", EXIT_TRANSIENT)
    except Exception as error:
        code = _say(f"a defect in the job or its engine ({type(error).__name__})", EXIT_SOFTWARE_ERROR)
        traceback.print_exc()
        return code
    return EXIT_DONE


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(sentence + "\n")
    return exit_code


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: every file of the folder is written in one step, so nothing is left half done."""
    os._exit(EXIT_INTERRUPTED)


def _end_with_parent() -> None:
    """The parent holds the other end of standard input: when that closes, there is nobody to work for."""
    with contextlib.suppress(OSError):  # closed from the beginning: there never was a parent that holds it
        while os.read(0, 4096):
            pass
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
