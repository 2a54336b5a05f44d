"""Follows the runs at a remote queue: finds, asks, explains, moves on, prolongs, ends.

News come by themselves (`news.py`); this worker does what they do not: it looks for runs whose submission was
not answered, asks after all of them now and then, reads how far they are, says why one gets no machine, moves
one that waited too long to the fallback queue, keeps our claims alive, and ends what nobody wants any more.
Each duty has its own interval; what fails because nobody answers is tried again with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from batch_job.contract import PROGRESS_NAME, ContractError, Progress
from gateway.adapters.objects import ObjectStore, job_object
from gateway.adapters.queue import JobQueue, RunProgressed
from gateway.events import Bus, Event, JobChanged
from gateway.ledger.records import RunRow, utc_now
from gateway.ledger.runs import JobRun, end_run, open_runs, written_run
from gateway.ledger.states import AT_THE_QUEUE, JobState
from gateway.ledger.store import Ledger
from gateway.workers.waits import Waits
from gateway.workers.worker import Worker

from .claims import Claims
from .complaints import ON_THE_WAY, Complaints
from .duty import Duty, for_each, for_many
from .fallback import Elsewhere
from .hanging import Hanging, Stillness
from .machine_waits import MachineWaits
from .news import RunNews
from .outcomes import Outcomes
from .remote_runs import HandOver
from .run import Runs
from .taken import TakenRuns

log = structlog.get_logger(__name__)

RENEWED_AT_ONCE: Final = 8
"""Below the ten connections that boto3 keeps open."""
ENDED = frozenset({JobState.CANCELLED, JobState.SUPERSEDED, JobState.FAILED})


@dataclass(frozen=True)
class Intervals:
    """How often each duty is done, in seconds."""

    find_s: float = 5.0
    end_s: float = 5.0
    reconcile_s: float = 180.0
    progress_s: float = 15.0
    taken_s: float = 10.0
    """How soon it is seen that a run was taken by another, or left its result in a process that goes on."""
    explain_s: float = 60.0
    """Also how long a run may wait before it is explained."""
    unseen_s: float = 60.0
    """How long a run whose submission was not answered may stay unseen before it is submitted again."""


class Following(Worker):
    """Watches over everything that is at the queue.

    Parameters
    ----------
    is_mine
        Whether a run is at this queue, where there are several.
    """

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        objects: ObjectStore,
        queue: JobQueue,
        claims: Claims,
        runs: Runs,
        hand_over: HandOver,
        outcomes: Outcomes,
        news: RunNews,
        fallback: Elsewhere,
        hanging: Hanging,
        complaints: Complaints,
        intervals: Intervals,
        taken: TakenRuns,
        is_mine: Callable[[RunRow], bool] = lambda _: True,
        name: str = "follow",
    ) -> None:
        super().__init__(name, bus)
        self._is_mine = is_mine
        self._ledger = ledger
        self._objects = objects
        self._queue = queue
        self._claims = claims
        self._runs = runs
        self._hand_over = hand_over
        self._outcomes = outcomes
        self._news = news
        self._hanging = hanging
        self._complaints = complaints
        self._intervals = intervals
        self._taken = taken
        self._waits = Waits()
        self._without_a_machine = MachineWaits(ledger, queue, fallback, self._waits, intervals.explain_s)
        self._stillness = Stillness()
        self._end = Duty("end", intervals.end_s, self._end_the_unwanted)
        self._find = Duty("find", intervals.find_s, self._find_the_unanswered)
        self._duties = (
            self._end,
            self._find,
            Duty("reconcile", intervals.reconcile_s, self._ask_after_all),
            Duty("progress", intervals.progress_s, self._read_progress),
            Duty("taken", intervals.taken_s, lambda: taken.look_at(self._wanted())),
            Duty("explain", intervals.explain_s, self._look_at_waits),
            Duty("renew", claims.lease_s / 3, self._renew_claims),
        )

    def is_woken_by(self, event: Event) -> bool:
        """Whether something has to be looked for or ended at once."""
        if not isinstance(event, JobChanged):
            return False
        if event.state in ENDED:
            self._end.is_due()
        elif event.event in ("unanswered", "owned"):
            self._find.is_due()
        return event.state in ENDED | ON_THE_WAY | {JobState.SEGMENTED}

    def work(self) -> float | None:
        """Do what is due; nothing is asked while nothing is at the queue."""
        if not self._open_runs():
            self._waits.keep(())
            self.trouble = str(self._complaints)
            return None
        wait_s = min(duty.run_if_due() for duty in self._duties)
        troubles = [duty.trouble for duty in self._duties if duty.trouble]
        self.trouble = "; ".join(filter(None, (*troubles[:1], str(self._complaints))))
        return wait_s

    def _open_runs(self) -> list[JobRun]:
        """Those of its own queue."""
        return [each for each in open_runs(self._ledger) if self._is_mine(each.run)]

    def _wanted(self, *, with_a_name: bool | None = None) -> list[JobRun]:
        """The runs that jobs wait for; all, or those whose name at the queue is known, or is not."""
        wanted = [each for each in self._open_runs() if each.is_wanted]
        return [each for each in wanted if with_a_name in (None, bool(each.run.queue_id))]

    def _each(self, runs: list[JobRun], do: Callable[[JobRun], object]) -> None:
        for_each(runs, do, lambda: self.is_stopping)

    # -- runs whose submission was not answered -----------------------------------------------------------

    def _find_the_unanswered(self) -> None:
        self._each(self._wanted(with_a_name=False), self._find_or_submit_again)

    def _find_or_submit_again(self, each: JobRun) -> None:
        job, run = each.job, each.run
        ticket = self._runs.ticket(job)
        found = self._queue.find(ticket)
        if found is not None:
            self._runs.accepted(ticket, found, "adopted")
            self._ask_after([found])
        elif run.followed:
            holder = self._claims.holder(job.job_key)
            if holder is None or holder.gateway == self._claims.gateway:
                self._outcomes.run_anew(job.job_key, run.run, f"the gateway {run.followed} gave the job up")
        elif self._is_unseen(run) and self._is_ours(each) and not self._news.is_known_by_what_it_left(job):
            with self._ledger.transaction() as transaction:
                if written_run(transaction, job, run.run).queue_id:
                    return
                transaction.update("runs", "id", run.id, {"submitted_at": utc_now()})
                transaction.step("job.submitted_again", job, run=run.run)
            self._hand_over(ticket)

    def _is_unseen(self, run: RunRow) -> bool:
        """Whether a run did not show up for long enough; a clock that is set changes nothing about that."""
        return self._waits.left_after_s(f"{run.id}", run.submitted_at, self._intervals.unseen_s) <= 0

    def _is_ours(self, each: JobRun) -> bool:
        """Prolong our claim; where another gateway has taken it over, that one is followed from now on."""
        claim = self._claims.take(each.job.job_key, each.run.run)
        if claim.gateway == self._claims.gateway:
            return True
        with self._ledger.transaction() as transaction:
            transaction.update("runs", "id", each.run.id, {"followed": claim.gateway})
            transaction.step("job.taken_over", each.job, gateway=claim.gateway)
        return False

    # -- all others ---------------------------------------------------------------------------------------

    def _ask_after_all(self) -> None:
        named = self._wanted(with_a_name=True)
        seen = self._ask_after([each.run.queue_id for each in named])
        forgotten = [each for each in named if each.run.queue_id not in seen]
        self._each(forgotten, lambda each: self._news.forgotten(each.job, each.run.queue_id))

    def _ask_after(self, queue_ids: list[str]) -> set[str]:
        """Hear how these runs stand; those that the queue knows."""
        news = self._queue.look(queue_ids) if queue_ids else []
        for item in news:
            self._news.hear(item)
        return {item.queue_id for item in news}

    def _read_progress(self) -> None:
        running = [each for each in self._wanted() if each.job.state is JobState.RUNNING]
        self._stillness.keep(each.run for each in running)
        self._each(running, self._read_progress_of)

    def _read_progress_of(self, each: JobRun) -> None:
        job, run = each.job, each.run
        content = self._objects.get(job_object(job.job_key, PROGRESS_NAME))
        still_s = self._stillness.lasts_s(run, content)
        if not run.followed and self._hanging.is_to_end(job, still_s=still_s):
            self._queue.cancel(job.job_key, run.queue_id, run.run)
        try:
            progress = Progress.from_json(content) if content is not None else None
        except ContractError:
            log.warning("progress_not_readable", job_key=job.job_key)
            return
        if progress is not None:
            stage, fraction = progress.stage, progress.fraction
            self._news.hear(RunProgressed(job.job_key, run.run, stage, fraction, attempt=run.attempt))

    def _renew_claims(self) -> None:
        ours = [each for each in self._wanted() if not each.run.followed]
        for_many(ours, self._is_ours, lambda: self.is_stopping, RENEWED_AT_ONCE)

    def _look_at_waits(self) -> None:
        self._without_a_machine.look_at(self._wanted(), lambda: self.is_stopping)

    # -- what nobody wants any more -----------------------------------------------------------------------

    def _end_the_unwanted(self) -> None:
        self._each([each for each in self._open_runs() if not each.is_wanted], self._end_run)

    def _end_run(self, each: JobRun) -> None:
        job, run = each.job, each.run
        queue_id = run.queue_id or self._queue.find(self._runs.ticket(job, run.run)) or ""
        if not queue_id and not self._is_unseen(run):
            return  # it may still show up
        if not run.followed:
            if queue_id and not self._taken.is_taken(each):  # else others are done there, too
                self._queue.cancel(job.job_key, queue_id, run.run)
            self._taken.offer_no_more(each)
            if job.state not in AT_THE_QUEUE:
                self._claims.release(job.job_key)
        with self._ledger.transaction() as transaction:
            end_run(transaction, job.job_key, run.run, sentence="nobody waited for it any more")
