"""How a run can end for its job: its result is taken, another run is planned, or the job failed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from batch_job.contract import EXIT_DONE, EXIT_TRANSIENT, LABELS_NAME, Manifest
from gateway.adapters.queue import Detail
from gateway.files.results import JobResults
from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.records import JobRow, RunRow, utc_text
from gateway.ledger.runs import end_run, lost_runs, newer_run, note_cost, written_run
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import Transaction
from gateway.ledger.work import job as job_of
from gateway.ledger.work import put_off_jobs
from gateway.workers.attempts import Backoff, Blame, Policy

from .complaints import ON_THE_WAY, Complaints
from .costs import Costs

log = structlog.get_logger(__name__)

POLICY = Policy(failures_allowed=3, machine=Backoff(2.0, 300.0), outside=Backoff(2.0, 300.0))
"""How often a run may be lost by a fault of its own, and how soon the next is planned."""
ELSEWHERE = replace(POLICY, machine_failures_allowed=12, machine=Backoff(2.0, 1800.0))
"""The same at a queue elsewhere, where each run costs: a job that its machines never let run to the end waits
for a person after twelve of them, about an hour. One whose machines are taken away (Spot) goes on."""
WITHOUT_A_RUN: Final = ON_THE_WAY - {JobState.RUNNING}


class Outcomes:
    """Moves jobs out of the queue's states.

    Parameters
    ----------
    costs
        Reckons what a run cost that gave a result.
    policy
        How often runs may be lost; None: as here, on this machine.
    """

    def __init__(
        self,
        ledger: Ledger,
        results: JobResults,
        costs: Costs,
        complaints: Complaints,
        policy: Policy | None = None,
    ) -> None:
        self._ledger = ledger
        self._results = results
        self._costs = costs
        self._complaints = complaints
        self._policy = policy or POLICY

    def take_up(self) -> None:
        """Say again of what waits for its next run why an earlier process saw the last ones lost."""
        for job_key in put_off_jobs(self._ledger, JobState.STAGED):
            job = job_of(self._ledger, job_key)
            if job is not None and len(lost_runs(self._ledger, job_key, Blame.MACHINE)) > 1:
                self._complaints.say(job_key, job.reason, WITHOUT_A_RUN)

    def take(self, job: JobRow, detail: Detail) -> None:
        """Check manifest and labels, and move the job to segmented.

        Raises
        ------
        CannotGoOn, Retriable, Permanent, OSError, StaleRow
        """
        manifest, made_at = self._results.verified(job)
        reckoned = self._costs.of(manifest, detail)
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.SEGMENTED,
                columns={
                    "labels_sha256": manifest.outputs[LABELS_NAME].sha256,
                    "segmented_at": made_at,
                    "fraction": 1.0,
                },
                engine=f"{manifest.engine.name} {manifest.engine.version}",
                peak_rss_mb=manifest.peak_rss_mb,
                **{**detail, **reckoned.detail()},
                stages_s=dict(manifest.seconds),
            )
            write_flags(transaction, job.job_key, FlagSource.RESULT, _flags_in(manifest))
            note_cost(transaction, job, reckoned.cost, reckoned.instance, reckoned.held_until)
            end_run(transaction, job.job_key, job.run, exit_code=EXIT_DONE)

    def lose(
        self,
        job_key: str,
        run: int,
        reason: str,
        *,
        blame: Blame = Blame.WORK,
        detail: Detail | None = None,
    ) -> None:
        """Plan another run; after as many as the policy allows, give up.

        Parameters
        ----------
        blame
            Whose fault it was: the run's own counts, and where the policy says so its machine's.
        """
        earlier = lost_runs(self._ledger, job_key, blame)
        left = self._left(blame, earlier, detail)
        lost = f"{len(earlier) + 1} runs were lost{_since(earlier)}"
        if left is not None and left <= 0:
            self.fail(job_key, run, f"{reason} ({lost}; retry when it is settled)", detail)
            return
        log.warning("run_lost", job_key=job_key, run=run, reason=reason, blame=blame)
        backoff = self._policy.own if blame is Blame.WORK else self._policy.for_what_waits(blame)
        delay_s = backoff.delay_s(len(earlier))
        if blame is Blame.MACHINE and earlier:
            reason += (
                f" ({lost}; after {left} more it waits for a person)" if left is not None else f" ({lost})"
            )
            self._complaints.say(job_key, reason, WITHOUT_A_RUN)
        self.run_anew(job_key, run, reason, delay_s, blame=blame, detail=detail)

    def _left(self, blame: Blame, earlier: Sequence[RunRow], detail: Detail | None) -> int | None:
        """How many more runs may be lost so before the job is given up; None: it never is."""
        if blame is Blame.WORK:
            return self._policy.failures_allowed - len(earlier) - 1
        allowed = self._policy.machine_failures_allowed
        if allowed is None or blame is Blame.OUTSIDE or (detail or {}).get("exit_code") != EXIT_TRANSIENT:
            return None
        return allowed - sum(run.exit_code == EXIT_TRANSIENT for run in earlier) - 1

    def run_anew(
        self,
        job_key: str,
        run: int,
        reason: str,
        delay_s: float = 0.0,
        *,
        blame: Blame | None = None,
        detail: Detail | None = None,
    ) -> None:
        """Plan another run, unless the news are old.

        Parameters
        ----------
        blame
            None: nothing went wrong, the gateway was restarted.
        """
        said = dict(detail or {})
        if blame is not Blame.WORK:
            said |= {"blameless": True, **({"on": str(blame)} if blame is not None else {})}
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                again_at = datetime.now(UTC) + timedelta(seconds=delay_s)
                columns = {"not_before": utc_text(again_at) if delay_s else None}
                transaction.move_job(
                    job_key, JobEvent.RUN_LOST, reason=reason, columns=columns, run=run, **said
                )
                _end(transaction, job_key, run, reason, detail, lost_on=blame or "")

    def fail(self, job_key: str, run: int, reason: str, detail: Detail | None = None) -> None:
        """Give up, unless the news are old."""
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                transaction.move_job(job_key, JobEvent.FAILED, reason=reason, run=run, **(detail or {}))
                _end(transaction, job_key, run, reason, detail)
        log.error("run_failed", job_key=job_key, run=run, reason=reason)


def _end(
    transaction: Transaction, job_key: str, run: int, reason: str, detail: Detail | None, lost_on: str = ""
) -> None:
    written_run(transaction, transaction.job(job_key), run)
    exit_code = (detail or {}).get("exit_code")
    end_run(transaction, job_key, run, exit_code=exit_code, sentence=reason, lost_on=lost_on)


def _since(lost: Sequence[RunRow]) -> str:
    """Since when runs are lost; empty where there were none before."""
    ended_at = lost[0].ended_at if lost else None
    return f" since {ended_at[:16].replace('T', ' ')} UTC" if ended_at else ""


def _flags_in(manifest: Manifest) -> list[Flag]:
    """What the engine's side says of the result."""
    return [Flag(**flag.model_dump()) for flag in manifest.flags]
