"""Whose turn it is to run, where only so many runs may begin in an hour (`queue.max_jobs_per_hour`).

Urgent jobs have no turn to wait for. All others are let through while fewer runs of such jobs than allowed
began within the last hour, the most urgent first; the rest waits before the step submit and says so. What
began stands in the ledger: a restart changes nothing. One that is tried now by hand goes at once, and counts.
"""

from collections.abc import Mapping
from typing import Final

from gateway.config import Queue
from gateway.events import Bus
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger
from gateway.ledger.turns import counted_runs, jobs_without_a_turn, tell_of_turns
from gateway.ledger.work import next_job, put_off_jobs
from gateway.workers.steps import Step, StepWorker
from gateway.workers.waits import Waits

HOUR_S: Final = 3600.0
_WAITS: Final = "it waits for its turn: "
"""So its reason begins, under whatever limit it was told."""


class Turns:
    """When the next run may begin.

    Parameters
    ----------
    per_hour
        So many runs of jobs that are not urgent may begin within any hour; 0: any number.
    urgent_priority
        From which priority on a job is urgent.
    """

    def __init__(
        self, ledger: Ledger, per_hour: int, urgent_priority: int, waits: Waits | None = None
    ) -> None:
        self._ledger = ledger
        self._per_hour = per_hour
        self.urgent_priority = urgent_priority
        self._waits = waits or Waits()

    @property
    def sentence(self) -> str:
        """Why a job waits, and the way out."""
        runs = "1 run begins" if self._per_hour == 1 else f"{self._per_hour} runs begin"
        return f"{_WAITS}{runs} in an hour (queue.max_jobs_per_hour); it may be tried now by hand"

    def next_in_s(self) -> float:
        """Seconds until another run may begin; 0 at once, an hour at most, whatever the clock is set to."""
        if not self._per_hour:
            return 0.0
        begun = counted_runs(self._ledger, self.urgent_priority, self._per_hour)
        left_s = [self._waits.left_after_s(str(run), at, HOUR_S) for run, at in begun.items()]
        self._waits.keep([str(run) for run in begun])
        return min(left_s) if len(left_s) == self._per_hour else 0.0


class SubmitInTurn(StepWorker):
    """The worker of the step submit where turns are waited for."""

    def __init__(self, do: Step, ledger: Ledger, bus: Bus, turns: Turns) -> None:
        super().__init__("submit", JobState.STAGED, do, ledger, bus)
        self._turns = turns
        self._next_in_s = 0.0

    def next_of(self, resting: Mapping[str, float]) -> JobRow | None:
        """The most urgent job whose turn it is."""
        self._next_in_s = self._turns.next_in_s()
        if not self._next_in_s:
            return next_job(self._ledger, self._state, resting)
        urgent = next_job(self._ledger, self._state, resting, at_least=self._turns.urgent_priority)
        if urgent is not None:
            return urgent
        sentence = self._turns.sentence
        others = jobs_without_a_turn(self._ledger, self._turns.urgent_priority, sentence)
        others = [job for job in others if job.job_key not in resting]
        untold = [job.job_key for job in others if job.reason != sentence]
        tell_of_turns(self._ledger, untold, sentence, self._next_in_s)
        return next((job for job in others if job.reason == sentence), None)

    def wait_s(self, resting: Mapping[str, float]) -> float | None:
        """Also until the next turn."""
        left_s = [*resting.values(), *([self._next_in_s] if self._next_in_s else [])]
        return min(left_s, default=None)

    def put_off(self) -> dict[str, str]:
        """Only what waits for something else than its turn, whatever the limit was when that was told."""
        return put_off_jobs(self._ledger, self._state, but_for=f"{_WAITS}*")


def submit_worker(do: Step, ledger: Ledger, bus: Bus, queue: Queue) -> StepWorker:
    """The worker of the step submit (staged > submitted), as configured."""
    turns = Turns(ledger, queue.max_jobs_per_hour, queue.urgent.priority)
    return SubmitInTurn(do, ledger, bus, turns)
