"""One worker for each step: takes the jobs that stand before it, one after the other, most urgent first.

A worker is woken by the ledger's events and by the time of what was put off. A step may be repeated at any
time: a crash in the middle of it leaves the job where it was.
"""

import random
import sqlite3
from collections.abc import Callable, Collection

import structlog

from converter.errors import ConverterError
from gateway.adapters.errors import Away, Permanent, Retriable
from gateway.events import Bus, Event, JobChanged
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobEvent, JobState, UnknownTransition
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import due_jobs, put_off_job, seconds_to_next_job, wait_for_outside

from .attempts import CannotGoOn
from .worker import Worker

log = structlog.get_logger(__name__)

FAILURES_ALLOWED = 5
FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 300.0
AWAY_DELAY_S = 15.0
"""How soon it is tried again where nobody is there; the network may be back at any time."""


class StepWorker(Worker):
    """Runs one step for every job that stands before it.

    Parameters
    ----------
    name
        The step's name in logs and reasons: "convert", "submit".
    states
        The states that jobs stand in before the step.
    do
        Takes the step; what it raises decides whether it is tried again.
    """

    def __init__(
        self, name: str, states: Collection[JobState], do: Callable[[JobRow], None], ledger: Ledger, bus: Bus
    ) -> None:
        super().__init__(name, bus)
        self._states = frozenset(states)
        self._do = do
        self._ledger = ledger

    def is_woken_by(self, event: Event) -> bool:
        """Whether a job came to stand before the step."""
        return isinstance(event, JobChanged) and event.state in self._states

    def work(self) -> float | None:
        """Take the step for every job that is due."""
        for job in due_jobs(self._ledger, self._states):
            if self.is_stopping:
                break
            self._take(job)
        wait_s = seconds_to_next_job(self._ledger, self._states)
        if wait_s is None:
            self.trouble = ""
        return wait_s

    def _take(self, job: JobRow) -> None:
        try:
            self._do(job)
            self.trouble = ""
        except StaleRow:
            log.info("job_moved_meanwhile", step=self.name, job_key=job.job_key)
            self.look_again()  # it may stand before the step still, with a corrected header
        except UnknownTransition:
            log.info("job_moved_meanwhile", step=self.name, job_key=job.job_key)
        except (CannotGoOn, ConverterError, Permanent) as error:
            self._fail(job, str(error))
        except Away as error:
            self._wait_for(job, error)
        except Retriable as error:
            self._try_again(job, str(error))
        except (OSError, sqlite3.OperationalError) as error:
            self._try_again(job, f"{getattr(error, 'strerror', None) or 'the ledger is busy'} in {self.name}")
        except MemoryError:
            self._try_again(job, f"not enough memory to {self.name}")
        except Exception:
            log.exception("step_failed", step=self.name, job_key=job.job_key)
            self._try_again(job, f"an unforeseen error in {self.name}; the log names the place")

    def _wait_for(self, job: JobRow, error: Away) -> None:
        """Nothing is wrong with the job, so it never fails of this; the timeline says it once."""
        self.trouble = reason = str(error)
        log.warning("job_waits_outside", step=self.name, job_key=job.job_key, reason=reason)
        with self._ledger.transaction() as transaction:
            if transaction.job(job.job_key).state is job.state:
                delay_s = AWAY_DELAY_S * random.uniform(0.8, 1.2)
                wait_for_outside(transaction, job.job_key, delay_s=delay_s, reason=reason)

    def _try_again(self, job: JobRow, reason: str) -> None:
        if job.failures + 1 >= FAILURES_ALLOWED:
            self._fail(job, f"{reason} ({job.failures + 1} times; retry when it is settled)")
            return
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**job.failures) * random.uniform(0.8, 1.0)
        log.warning("job_put_off", step=self.name, job_key=job.job_key, reason=reason, delay_s=round(delay_s))
        with self._ledger.transaction() as transaction:
            if transaction.job(job.job_key).state is job.state:
                put_off_job(transaction, job.job_key, delay_s=delay_s, reason=reason)

    def _fail(self, job: JobRow, reason: str) -> None:
        log.error("job_failed", step=self.name, job_key=job.job_key, reason=reason)
        try:
            with self._ledger.transaction() as transaction:
                transaction.move_job(job.job_key, JobEvent.FAILED, expect=job.state, reason=reason)
        except StaleRow:
            log.info("job_moved_meanwhile", step=self.name, job_key=job.job_key)
