"""How a run can end for its job: its result is taken, another run is planned, or the job failed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from batch_job.contract import EXIT_DONE, LABELS_NAME, Manifest
from gateway.adapters.queue import Detail
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow, utc_text
from gateway.ledger.runs import end_run, newer_run, runs_lost_in_a_row
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import Transaction
from gateway.workers.attempts import Backoff, Blame, Policy

log = structlog.get_logger(__name__)

POLICY = Policy(failures_allowed=3, machine=Backoff(2.0, 300.0), outside=Backoff(2.0, 300.0))
"""How often a run may be lost by a fault of its own, and how soon the next is planned."""


class Outcomes:
    """Moves jobs out of the queue's states.

    Parameters
    ----------
    usd_per_hour
        Prices of instance types, for the estimate of what a run cost.
    """

    def __init__(self, ledger: Ledger, results: JobResults, usd_per_hour: Mapping[str, float]) -> None:
        self._ledger = ledger
        self._results = results
        self._usd_per_hour = usd_per_hour

    def take(self, job: JobRow, detail: Detail) -> None:
        """Check manifest and labels, and move the job to segmented.

        Raises
        ------
        CannotGoOn, Retriable, Permanent, OSError, StaleRow
        """
        manifest, made_at = self._results.verified(job)
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
                **{**detail, **self._cost(manifest, detail)},
                stages_s=dict(manifest.seconds),
            )
            end_run(transaction, job.job_key, job.run, exit_code=EXIT_DONE)

    def _cost(self, manifest: Manifest, detail: Detail) -> dict[str, Any]:
        """What the run cost, about: its duration at the configured price of its machine."""
        if not manifest.machine:
            return {}
        seconds = float(detail.get("seconds") or sum(manifest.seconds.values()))
        price = self._usd_per_hour.get(manifest.machine)
        cost = {} if price is None else {"usd_estimate": round(seconds / 3600 * price, 4)}
        return {"machine": manifest.machine, **cost}

    def lose(
        self,
        job_key: str,
        run: int,
        reason: str,
        *,
        blame: Blame = Blame.WORK,
        detail: Detail | None = None,
    ) -> None:
        """Plan another run; after several that were lost by faults of their own, give up.

        Parameters
        ----------
        blame
            Whose fault it was: only the run's own counts.
        """
        before = runs_lost_in_a_row(self._ledger, job_key, blame)
        if blame is Blame.WORK and before + 1 >= POLICY.failures_allowed:
            self.fail(
                job_key, run, f"{reason} ({before + 1} runs were lost; retry when it is settled)", detail
            )
            return
        log.warning("run_lost", job_key=job_key, run=run, reason=reason, blame=blame)
        backoff = POLICY.own if blame is Blame.WORK else POLICY.for_what_waits(blame)
        self.run_anew(job_key, run, reason, backoff.delay_s(before), blame=blame, detail=detail)

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
                _end(transaction, job_key, run, reason, detail)

    def fail(self, job_key: str, run: int, reason: str, detail: Detail | None = None) -> None:
        """Give up, unless the news are old."""
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                transaction.move_job(job_key, JobEvent.FAILED, reason=reason, run=run, **(detail or {}))
                _end(transaction, job_key, run, reason, detail)
        log.error("run_failed", job_key=job_key, run=run, reason=reason)


def _end(transaction: Transaction, job_key: str, run: int, reason: str, detail: Detail | None) -> None:
    end_run(transaction, job_key, run, exit_code=(detail or {}).get("exit_code"), sentence=reason)
