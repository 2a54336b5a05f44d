"""Several jobs in one process, one after the other, each with its own end.

While one is segmented, the next is fetched and decoded, and the results of the one before are measured,
compressed and uploaded: one job at most is at each of the three.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from .contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
)
from .errors import meaning_of
from .place import Attempt
from .run import run_in_steps
from .shared import Shared

GRAVEST_FIRST: Final = (
    EXIT_INTERRUPTED, EXIT_TRANSIENT, EXIT_SOFTWARE_ERROR, EXIT_NOT_SET_UP, EXIT_BAD_INPUT, EXIT_DONE,
)  # fmt: skip
"""What is to be tried again goes before what is not."""


@dataclass(frozen=True)
class Wanted:
    """A job, and which attempt at it this is."""

    address: str
    attempt: Attempt


@dataclass(frozen=True)
class Ended:
    """How one of them ended."""

    wanted: Wanted
    code: int
    """Of `contract.EXIT_...`."""
    sentence: str
    """Why; empty when all is well."""
    error: BaseException | None = None


def run_jobs(wanted: Iterable[Wanted], shared: Shared, on_end: Callable[[Ended], None]) -> int:
    """Do them in order; the exit code of all.

    Parameters
    ----------
    wanted
        Asked for the next in a thread of its own, when the present one begins to be segmented; it may take
        its time.
    on_end
        Told, in any thread, how each ended.
    """
    codes = {EXIT_DONE}

    def end(ended: Ended) -> None:
        codes.add(ended.code)
        on_end(ended)

    with ThreadPoolExecutor(1, "before") as before, ThreadPoolExecutor(1, "behind") as behind:
        source = iter(wanted)
        coming = before.submit(_next_prepared, source, shared, end)
        finishing: Future[bool] | None = None
        while (run := coming.result()) is not None:
            coming = before.submit(_next_prepared, source, shared, end)
            if run.take_step():
                if finishing is not None:
                    finishing.result()
                finishing = behind.submit(run.take_step)
    return min(codes, key=GRAVEST_FIRST.index)


class _Run:
    """A job on its way."""

    def __init__(self, wanted: Wanted, shared: Shared, end: Callable[[Ended], None]) -> None:
        self._wanted = wanted
        self._steps = run_in_steps(wanted.address, wanted.attempt, shared)
        self._end = end

    def take_step(self) -> bool:
        """Do what comes next; whether there is more to do."""
        try:
            next(self._steps)
        except StopIteration:
            self._end(Ended(self._wanted, EXIT_DONE, ""))
        except BaseException as error:  # whatever it is, it ends this job alone
            self._end(Ended(self._wanted, *meaning_of(error), error))
        else:
            return True
        return False


def _next_prepared(wanted: Iterator[Wanted], shared: Shared, end: Callable[[Ended], None]) -> _Run | None:
    """The next job that is ready to be segmented; None where there are no more."""
    for each in wanted:
        run = _Run(each, shared, end)
        if run.take_step():
            return run
    return None
