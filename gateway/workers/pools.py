"""Several workers for one step, so that a slow job does not hold up those behind it."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.adapters.measures import Figure
from gateway.events import Bus
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger

from .steps import Shared, Step, StepWorker


@dataclass(frozen=True)
class StepPool:
    """The workers of one step: each job is in the hands of one of them at most, the most urgent first."""

    step: str
    workers: tuple[StepWorker, ...]

    @classmethod
    def of(cls, step: str, state: JobState, do: Step, ledger: Ledger, bus: Bus, number: int) -> "StepPool":
        """So many workers, which have to be started.

        Parameters
        ----------
        do
            Takes the step; it is called for several jobs at once.
        """
        shared = Shared()
        workers = (
            StepWorker(step, state, do, ledger, bus, shared=shared, number=each)
            for each in range(1, number + 1)
        )
        return cls(step, tuple(workers))

    def figures(self) -> Iterator[Figure]:
        """How many there are, and how many are at a job."""
        busy = sum(bool(worker.job_at_hand) for worker in self.workers)
        yield Figure("iris_step_workers", "Workers of a step.", len(self.workers), {"step": self.step})
        yield Figure("iris_step_workers_busy", "Those that are at a job.", busy, {"step": self.step})
