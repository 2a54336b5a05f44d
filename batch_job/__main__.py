"""`python -m batch_job ADDRESS [ADDRESS ...]`: does the jobs at these addresses, one after the other.

Each has its own end, and one that fails does not keep the others from theirs; the exit code, as in
`contract`, is the gravest. With `--serve` the addresses come on standard input (`serving`).
`python -m batch_job verify` compares labels instead (`engines.totalsegmentator.verify`).
"""

import argparse
import os
import sys
import threading
from itertools import chain, islice
from typing import TYPE_CHECKING

from . import check
from .children import adopt_children, end_children
from .contract import (
    BATCH_ATTEMPT_VARIABLE,
    BATCH_JOB_VARIABLE,
    DIE_WITH_PARENT_VARIABLE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_SOFTWARE_ERROR,
    RUN_VARIABLE,
    WAITING_VARIABLE,
)
from .ec2_metadata import wait_for_notice
from .errors import BadInput, ComeBackLater
from .interruption import Interruption
from .place import Attempt
from .quiet import quieten_python, write_failure
from .resources import set_threads

if TYPE_CHECKING:
    from .several import Ended, Wanted
    from .shared import Shared


def main() -> int:
    """Do the jobs; the exit code."""
    if sys.argv[1:2] == ["check"]:
        return check.main(sys.argv[2:])
    quieten_python()
    if sys.argv[1:2] == ["verify"]:
        from .engines.totalsegmentator import verify

        return verify.main(sys.argv[2:])
    interruption = Interruption()
    interruption.watch_signals()
    adopt_children()
    set_threads()
    wishes = _wishes()
    if _dies_with_parent() and not wishes.serve:  # which reads standard input itself
        interruption.watch_parent()
    may_begin = threading.Event()
    if os.environ.get(BATCH_JOB_VARIABLE):
        interruption.end_after(lambda: wait_for_notice(may_begin), "spot")
    else:
        may_begin.set()
    try:
        return _run(wishes, interruption, may_begin)
    finally:
        end_children()


def _wishes() -> argparse.Namespace:
    """What the command line says; a wrong one ends the process with 2, `EXIT_BAD_INPUT`."""
    parser = argparse.ArgumentParser(prog="python -m batch_job", description="Do jobs, one after the other.")
    parser.add_argument(
        "addresses", metavar="ADDRESS", nargs="*", help="a job folder, or s3://bucket/prefix/jobs/KEY/"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="read addresses from standard input and answer in JSON, a line each",
    )
    parser.add_argument(
        "--idle-s",
        type=float,
        help="with --serve: end after so many seconds without work; otherwise when standard input ends",
    )
    wishes = parser.parse_args()
    if wishes.serve == bool(wishes.addresses):
        parser.error("give it addresses, or --serve")
    return wishes


def _run(wishes: argparse.Namespace, interruption: Interruption, may_begin: threading.Event) -> int:
    # Late: NumPy takes the threads that were set, and a signal is answered before.
    from .several import Wanted, run_jobs
    from .shared import Shared

    may_begin.wait()  # EC2 was asked meanwhile
    try:
        attempt = Attempt(
            run=_number(RUN_VARIABLE),
            batch_attempt=_number(BATCH_ATTEMPT_VARIABLE),
            batch_job_id=os.environ.get(BATCH_JOB_VARIABLE, ""),
        )
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_INPUT
    shared = Shared(interruption)
    if wishes.serve:
        return _serve(attempt, wishes.idle_s, shared)
    wanted = [Wanted(address, attempt) for address in wishes.addresses]
    if len(wanted) == 1 and attempt.batch_job_id and os.environ.get(WAITING_VARIABLE):
        return _run_and_take(wanted[0], shared)
    return run_jobs(wanted, shared, _say if len(wanted) == 1 else _say_with_address)


def _run_and_take(own: "Wanted", shared: "Shared") -> int:
    """Do a run of AWS Batch, and whatever waits then; the exit code is that of the first."""
    from .errors import meaning_of
    from .several import run_jobs
    from .taking import Taking

    try:
        taking = Taking.of_variables(own.attempt)
    except (BadInput, ComeBackLater) as error:
        code, sentence = meaning_of(error)
        sys.stderr.write(f"{sentence}\n")
        return code
    codes: dict[Wanted, int] = {}

    def end(ended: "Ended") -> None:
        codes[ended.wanted] = ended.code
        taking.heard(ended)
        _say(ended)

    wanted = [own]
    while wanted:  # while the last one was done, others may have come
        run_jobs(chain(wanted, taking.runs()), shared, end)
        wanted = list(islice(taking.runs(), 1))
    return codes[own]


def _serve(attempt: Attempt, idle_s: float | None, shared: "Shared") -> int:
    """Do what is asked for; the exit code says nothing of how it went, the answers do."""
    from .serving import Conversation
    from .several import run_jobs

    conversation = Conversation(attempt, idle_s)
    if _dies_with_parent():
        shared.interruption.end_after(conversation.read_to_the_end, "parent")
    else:
        threading.Thread(target=conversation.read_to_the_end, name="questions", daemon=True).start()

    def end(ended: "Ended") -> None:
        _say_with_address(ended)
        conversation.answer(ended)

    run_jobs(conversation.wanted(), shared, end)
    return EXIT_DONE


def _dies_with_parent() -> bool:
    return os.environ.get(DIE_WITH_PARENT_VARIABLE) == "1"


def _number(variable: str) -> int:
    text = os.environ.get(variable, "1")
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(f"{variable} must be a positive whole number")
    return int(text)


def _say_with_address(ended: "Ended") -> None:
    _say(ended, f"{ended.wanted.address}: ")


def _say(ended: "Ended", begin: str = "") -> None:
    """Say on standard error why a job did not end well."""
    if ended.sentence:
        sys.stderr.write(f"{begin}{ended.sentence}\n")
    if ended.code == EXIT_SOFTWARE_ERROR:
        write_failure(ended.error)


if __name__ == "__main__":
    sys.exit(main())
