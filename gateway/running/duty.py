"""One thing that a worker does every so often, for all the runs that there are."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from gateway.adapters.errors import OutsideError
from gateway.ledger.runs import JobRun
from gateway.ledger.transaction import StaleRow
from gateway.workers.attempts import fault_of

log = structlog.get_logger(__name__)


class Duty:
    """What is done when it is time, and what was in the way; it is tried again with its interval."""

    def __init__(self, name: str, every_s: float, do: Callable[[], None]) -> None:
        self.name = name
        self._every_s = every_s
        self._do = do
        self._next_at = 0.0
        self.trouble = ""

    def run_if_due(self) -> float:
        """Do it when it is time; the seconds until it is again."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + self._every_s
            try:
                self._do()
                self.trouble = ""
            except Exception as error:
                self.trouble = fault_of(error, f"the duty {self.name}").sentence
                if isinstance(error, OutsideError):
                    log.warning("following_waits", duty=self.name, reason=self.trouble)
                else:
                    log.exception("following_failed", duty=self.name)
        return max(0.0, self._next_at - time.monotonic())

    def is_due(self) -> None:
        """Do it at the next look."""
        self._next_at = 0.0


def for_each(runs: Iterable[JobRun], do: Callable[[JobRun], object], is_enough: Callable[[], bool]) -> None:
    """Do it for every run, also where it fails for one: it is done for that one the next time.

    Raises
    ------
    OutsideError
        Nobody answers: it would be the same for the others.
    Exception
        The first that failed, once all are done.
    """
    failed: list[Exception] = []
    for each in runs:
        if is_enough():
            return
        try:
            do(each)
        except StaleRow:  # it is somebody else's by now
            log.info("job_moved_meanwhile", job_key=each.job.job_key)
        except OutsideError:
            raise
        except Exception as error:
            log.exception("following_failed", job_key=each.job.job_key)
            failed.append(error)
    if failed:
        raise failed[0]


def for_many(
    runs: Sequence[JobRun], do: Callable[[JobRun], object], is_enough: Callable[[], bool], at_once: int
) -> None:
    """Do it as `for_each` does, for several at once: requests mostly wait for their answers."""
    parts = [runs[first::at_once] for first in range(min(at_once, len(runs)))]
    with ThreadPoolExecutor(at_once, thread_name_prefix="for-many") as pool:
        done = [pool.submit(for_each, part, do, is_enough) for part in parts]
    for each in done:
        each.result()
