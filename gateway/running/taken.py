"""Runs that another run's process took, and results of processes that go on: what no news tells.

A process that is done with its own run takes others that wait (`waiting_room.py`): the queue says nothing of
how those stand, and nothing of its own run before it ends. This looks at what they left: the owner of a run
that waits, its result, why it failed, and whether the process still lives that took it.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from batch_job.contract import EXIT_DONE, EXIT_INTERRUPTED, EXIT_TRANSIENT, Owner
from gateway.adapters.queue import JobNews, JobQueue, RunEnded, RunNeverStarted, RunStarted
from gateway.files.results import JobResults
from gateway.ledger.runs import JobRun
from gateway.ledger.states import JobState

from .duty import for_each
from .news import FINAL_EXITS, RunNews
from .run import Runs
from .waiting_room import WaitingRoom

AT_A_LOOK: Final = 32
"""Of those that wait so many are looked at, the first in line: they are taken in order."""
EXIT_UNKNOWN: Final = 1
"""A process that took a run ended, of a fault that nobody says of that run."""


class TakenRuns:
    """Finds out about runs that were taken, and about results of processes that still run."""

    def __init__(
        self, queue: JobQueue, results: JobResults, runs: Runs, news: RunNews, room: WaitingRoom
    ) -> None:
        self._queue = queue
        self._results = results
        self._runs = runs
        self._news = news
        self._room = room

    def look_at(self, wanted: Sequence[JobRun]) -> None:
        """Look at all runs that jobs wait for, the first in line first.

        Raises
        ------
        OutsideError
        """
        ours = [each for each in wanted if each.run.queue_id and not each.run.followed]
        running = [each for each in ours if each.job.state is JobState.RUNNING]
        waiting = [each for each in ours if each.job.state is not JobState.RUNNING]
        for_each(islice(waiting, AT_A_LOOK), self._look_whether_taken, lambda: False)
        if running:
            said = self._said_of(running)
            for_each(running, lambda each: self._look_at_running(each, said), lambda: False)

    def is_taken(self, each: JobRun) -> bool:
        """Whether a process works on this run whose own run is another one."""
        return _is_taken(each, self._said_of([each]))

    def offer_no_more(self, each: JobRun) -> None:
        """Nobody wants this run any more, so that nobody is to take it.

        Raises
        ------
        Retriable, Permanent
        """
        self._room.leave(each.job, each.run.run)

    def _said_of(self, runs: Sequence[JobRun]) -> Mapping[str, JobNews]:
        ids = sorted({each.run.queue_id for each in runs if each.run.queue_id})
        return {news.queue_id: news for news in self._queue.look(ids)} if ids else {}

    def _look_whether_taken(self, each: JobRun) -> None:
        job, run = each.job, each.run
        owner = self._results.owning(job.job_key, run.run)
        said = self._queue.look([owner.batch_job_id]) if owner is not None else []
        if owner is None or not said or _is_own(each, said[0]):
            return  # nobody's; or its own job's, or that of one submitted twice, of which the queue tells
        if run.queue_id != owner.batch_job_id:
            self._runs.accepted(self._runs.ticket(job, run.run), owner.batch_job_id, "taken")
            self._room.leave(job, run.run)
            self._queue.withdraw(run.queue_id)  # or it finds out itself that there is nothing to be done
        self._news.hear(RunStarted(job.job_key, run.run, attempt=1, queue_id=owner.batch_job_id))

    def _look_at_running(self, each: JobRun, said: Mapping[str, JobNews]) -> None:
        job, run = each.job, each.run
        news = said.get(run.queue_id)
        if news is None:  # the queue has forgotten it: that is for whoever asks after all
            return
        is_taken = _is_taken(each, said)
        if self._results.is_there(job):
            if not is_taken:
                self._news.hear(news)  # what it went through before may have been missed
            self._hear_end(each, EXIT_DONE, "", news)
        elif is_taken:
            self._look_at_taken(each, news)

    def _look_at_taken(self, each: JobRun, news: JobNews) -> None:
        left = self._results.exit_of_taken(each.job.job_key, each.run.run)
        if left is not None:
            self._hear_end(each, left.code, left.sentence, news)
            return
        owner = self._results.owning(each.job.job_key, each.run.run)
        exit_code = _end_of_its_process(news, owner)
        if exit_code is not None:
            self._hear_end(each, exit_code, "the process that took it ended before it", news)

    def _hear_end(self, each: JobRun, exit_code: int, reason: str, news: JobNews) -> None:
        job, run = each.job, each.run
        self._news.hear(
            RunEnded(
                job.job_key,
                run.run,
                exit_code,
                reason,
                attempt=news.attempt,
                queue_id=run.queue_id,
                detail=news.detail,
            )
        )


def _is_taken(each: JobRun, said: Mapping[str, JobNews]) -> bool:
    news = said.get(each.run.queue_id)
    return news is not None and not _is_own(each, news)


def _is_own(each: JobRun, news: JobNews) -> bool:
    return (news.job_key, news.run) == (each.job.job_key, each.run.run)


def _end_of_its_process(news: JobNews, owner: Owner | None) -> int | None:
    """What the process ended with that took a run; None: it lives."""
    if owner is not None and news.attempt > owner.attempt:
        return EXIT_INTERRUPTED  # its next attempt knows nothing of what was taken
    if isinstance(news, RunNeverStarted):
        return EXIT_INTERRUPTED
    if not isinstance(news, RunEnded):
        return None
    if news.exit_code in (EXIT_TRANSIENT, EXIT_INTERRUPTED):
        return EXIT_INTERRUPTED
    return EXIT_UNKNOWN if news.exit_code in FINAL_EXITS | {EXIT_DONE} else news.exit_code
