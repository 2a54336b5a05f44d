"""`python -m batch_job ADDRESS`: runs the job at that address; exit codes as in `contract`."""

import os
import sys

from .address import open_place
from .children import adopt_children, end_children
from .contract import (
    BATCH_ATTEMPT_VARIABLE,
    BATCH_JOB_VARIABLE,
    DIE_WITH_PARENT_VARIABLE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_SOFTWARE_ERROR,
    RUN_VARIABLE,
)
from .ec2_metadata import wait_for_notice
from .errors import BadInput, meaning_of
from .interruption import Interruption
from .place import Attempt
from .quiet import quieten_python, write_failure
from .resources import set_threads


def main() -> int:
    """Run the job; the exit code."""
    quieten_python()
    interruption = Interruption()
    interruption.watch_signals()
    adopt_children()
    set_threads()
    if os.environ.get(DIE_WITH_PARENT_VARIABLE) == "1":
        interruption.watch_parent()
    if os.environ.get(BATCH_JOB_VARIABLE):
        interruption.end_after(wait_for_notice, "spot")
    if len(sys.argv) != 2:
        usage = "usage: python -m batch_job ADDRESS (a job folder, or s3://bucket/prefix/jobs/KEY/)"
        return _say(usage, EXIT_BAD_INPUT)
    try:
        return _run(sys.argv[1], interruption)
    finally:
        end_children()


def _run(address: str, interruption: Interruption) -> int:
    try:
        attempt = Attempt(
            run=_number(RUN_VARIABLE),
            batch_attempt=_number(BATCH_ATTEMPT_VARIABLE),
            batch_job_id=os.environ.get(BATCH_JOB_VARIABLE, ""),
        )
        place = open_place(address)
        from .run import (
            run_job,
        )  # late: NumPy takes the threads that were set, and a signal is answered before

        run_job(place, attempt, interruption)
    except Exception as error:
        code, sentence = meaning_of(error)
        _say(sentence, code)
        if code == EXIT_SOFTWARE_ERROR:
            write_failure(error)
        return code
    return EXIT_DONE


def _number(variable: str) -> int:
    text = os.environ.get(variable, "1")
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(f"{variable} must be a positive whole number")
    return int(text)


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(sentence + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
