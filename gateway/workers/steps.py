"""The workers of a step: each takes one at a time of the jobs that stand before it, always the most urgent.

A worker is woken by the ledger's events and by the time of what was put off. A step may be repeated at any
time: a crash in the middle of it leaves the job where it was. What the ledger cannot be told now (its disk is
full) is known in memory until it can be: the job only waits, and the step is taken again.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from gateway.events import Bus, Event, JobChanged
from gateway.ledger.records import JobRow
from gateway.ledger.removals import is_being_cleared
from gateway.ledger.states import JobEvent, JobState, UnknownTransition
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import job as job_of
from gateway.ledger.work import next_job, put_off_job, put_off_jobs, wait_with_job

from . import attempts
from .attempts import Backoff, Blame, Fault, Policy, fault_of
from .waits import Rests, Waits
from .worker import LIMIT_S, Worker

log = structlog.get_logger(__name__)

CLEARING = Backoff(0.1, 15.0)
"""How soon a job is taken of which something is still to be removed."""
BEING_CLEARED = "what an earlier run of it left is being removed first"
_OF_THE_STEP = ""
"""What the step's own pauses are counted under."""
Step = Callable[[JobRow], None]
"""Takes a step; what it raises decides whether it is tried again."""


class Shared:
    """What the workers of one step share: the jobs in hand, and what is put off.

    It is in memory only. Where a job stands is the ledger's to say, which one process writes: after a kill
    nobody has a job in hand, and each is where it was.
    """

    def __init__(self) -> None:
        self.waits = Waits()
        self.rests = Rests()
        self.pauses = Rests()
        self._in_hand = set[str]()
        self._lock = threading.Lock()

    @contextmanager
    def taking(self) -> Iterator[set[str]]:
        """While one worker looks for a job, no other does; the jobs in hand, for the one that it takes."""
        with self._lock:
            yield self._in_hand

    def give_back(self, job_key: str) -> None:
        """The step was taken, or not: whoever looks next finds the job where the ledger has it."""
        with self._lock:
            self._in_hand.discard(job_key)


class StepWorker(Worker):
    """Runs one step for every job that stands before it.

    Parameters
    ----------
    name
        The step's name in logs and reasons: "convert", "submit".
    state
        The state that jobs stand in before the step.
    policy
        How often and how soon; None: as everywhere.
    shared
        What it shares with the step's other workers; None: it has none.
    number
        Which of them it is.
    """

    def __init__(
        self,
        name: str,
        state: JobState,
        do: Step,
        ledger: Ledger,
        bus: Bus,
        *,
        policy: Policy | None = None,
        limit_s: float = LIMIT_S,
        shared: Shared | None = None,
        number: int = 1,
    ) -> None:
        super().__init__(name if number == 1 else f"{name} {number}", bus, limit_s=limit_s)
        self.step = name
        self._state = state
        self._do = do
        self._ledger = ledger
        self._policy = policy or attempts.POLICY
        self._shared = shared or Shared()
        self._rests = self._shared.rests
        self._tells_of_rests = number == 1
        self.job_at_hand = ""
        """The key of the job that it is at; empty when it is at none."""

    def is_woken_by(self, event: Event) -> bool:
        """Whether a job came to stand before the step, is to be tried now, or one that rests left."""
        if not isinstance(event, JobChanged):
            return False
        if event.state != self._state:
            return self._rests.times(event.job_key) > 0
        if event.event == "tried_now":
            self._rests.try_now(event.job_key)
        return True

    def work(self) -> float | None:
        """Take the step for every job that is due; after each the most urgent is looked for anew."""
        self._rests.keep([key for key in self._rests.known() if self._stands_here(key)])
        while not self.is_stopping:
            self.trouble = self._rests.complaint() if self._tells_of_rests else ""
            if pause_s := self._shared.pauses.left_s().get(_OF_THE_STEP):
                return pause_s  # another worker met what this one would meet, too
            with self._shared.taking() as in_hand:
                resting = self._resting()
                job = self.next_of(resting | dict.fromkeys(in_hand, 0.0))
                if job is None:
                    return self.wait_s(resting)
                in_hand.add(job.job_key)
            with self.at_job(job.job_key), self._having_in_hand(job):
                fault = self._take(job) if self._may_begin(job) else None
            if fault is not None and fault.blame is Blame.MACHINE and fault.is_everywhere:
                self.trouble = fault.sentence
                self.pause(self._shared.pauses.put_off(_OF_THE_STEP, self._policy.machine, fault.sentence))
                return None
            self._shared.pauses.resume(_OF_THE_STEP)
        return None

    def next_of(self, resting: Mapping[str, float]) -> JobRow | None:
        """The job to take now, none of those that rest; None where there is none."""
        return next_job(self._ledger, self._state, resting)

    def wait_s(self, resting: Mapping[str, float]) -> float | None:
        """Seconds until there may be one, where there is none; None: until an event."""
        return min(resting.values(), default=None)

    def put_off(self) -> dict[str, str]:
        """What the ledger says is not to be taken before a time, each with it."""
        return put_off_jobs(self._ledger, self._state)

    def _resting(self) -> dict[str, float]:
        """The jobs that are not to be taken now, each with its seconds until then."""
        put_off = self.put_off()
        self._shared.waits.keep(put_off)
        left_s = {
            key: self._shared.waits.left_s(key, until, self._policy.longest_s)
            for key, until in put_off.items()
        }
        return {key: left for key, left in left_s.items() if left > 0} | self._rests.left_s()

    @contextmanager
    def _having_in_hand(self, job: JobRow) -> Iterator[None]:
        """Say that nobody else may take the job, or remove anything of it."""
        self.job_at_hand = job.job_key
        try:
            yield
        finally:
            self.job_at_hand = ""
            self._shared.give_back(job.job_key)

    def _may_begin(self, job: JobRow) -> bool:
        """Whether the step may write: the job was not called off since, nor is its folder being removed."""
        if not self._stands_here(job.job_key):
            return False
        if is_being_cleared(self._ledger, job.job_key):
            self._rests.put_off(job.job_key, CLEARING, BEING_CLEARED)
            return False
        return True

    def _stands_here(self, job_key: str) -> bool:
        job = job_of(self._ledger, job_key)
        return job is not None and job.state is self._state

    def _take(self, job: JobRow) -> Fault | None:
        """Take the step for one job; what went wrong, or None."""
        try:
            self._do(job)
        except (StaleRow, UnknownTransition):
            log.info("job_moved_meanwhile", step=self.step, job_key=job.job_key)
        except BaseException as error:
            fault = fault_of(error, self.step)
            if fault.is_defect:
                log.exception("step_failed", step=self.step, job_key=job.job_key)
            self._tell(job, fault)
            return fault
        if job_of(self._ledger, job.job_key) == job:  # it would be taken again, and again, at once
            fault = Fault(Blame.WORK, f"it came to nothing in {self.step}; the log names the place")
            log.error("step_came_to_nothing", step=self.step, job_key=job.job_key)
            self._tell(job, fault)
            return fault
        self._rests.resume(job.job_key)
        return None

    def _tell(self, job: JobRow, fault: Fault) -> None:
        """Write down what went wrong; where that goes wrong too, the job rests until it can be told."""
        try:
            self._act_on(job, fault)
        except StaleRow:
            log.info("job_moved_meanwhile", step=self.step, job_key=job.job_key)
        except Exception as error:
            ledgers = fault_of(error, "the ledger")
            if ledgers.is_defect:
                log.exception("fault_not_told", step=self.step, job_key=job.job_key)
            self._rests.put_off(job.job_key, self._policy.machine, ledgers.sentence)

    def _act_on(self, job: JobRow, fault: Fault) -> None:
        if fault.blame is not Blame.WORK and not fault.is_counted:
            self._wait_with(job, fault)
        elif fault.is_final:
            self._fail(job, fault.sentence)
        elif self._policy.is_enough(fault, job.failures + 1):
            self._fail(job, f"{fault.sentence} ({job.failures + 1} times; retry when it is settled)")
        else:
            self._try_again(job, fault)

    def _wait_with(self, job: JobRow, fault: Fault) -> None:
        """Nothing is wrong with the job, so it never fails of this; the timeline says it once."""
        delay_s = self._rests.put_off(
            job.job_key, self._policy.for_what_waits(fault.blame), reason := fault.sentence
        )
        log.warning("job_waits", step=self.step, job_key=job.job_key, reason=reason, on=fault.blame)
        with self._ledger.transaction() as transaction:
            if transaction.job(job.job_key).state is job.state:
                wait_with_job(transaction, job.job_key, delay_s=delay_s, reason=reason, on=fault.blame)

    def _try_again(self, job: JobRow, fault: Fault) -> None:
        """Count it, and try again; of what the machine lacks it is told meanwhile, too."""
        delay_s = self._rests.put_off(
            job.job_key, self._policy.own, reason := fault.sentence, earlier=job.failures
        )
        log.warning("job_put_off", step=self.step, job_key=job.job_key, reason=reason, delay_s=round(delay_s))
        with self._ledger.transaction() as transaction:
            if transaction.job(job.job_key).state is job.state:
                put_off_job(transaction, job.job_key, delay_s=delay_s, reason=reason)
        if fault.blame is Blame.WORK:
            self._rests.resume(job.job_key)

    def _fail(self, job: JobRow, reason: str) -> None:
        with self._ledger.transaction() as transaction:
            transaction.move_job(job.job_key, JobEvent.FAILED, expect=job.state, reason=reason)
        self._rests.resume(job.job_key)
        log.error("job_failed", step=self.step, job_key=job.job_key, reason=reason)
