"""How a run can end for its job: its result is taken, another run is planned, or the job failed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from batch_job.contract import LABELS_NAME, Manifest
from gateway.adapters.queue import Detail
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow, utc_text
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.work import newer_run, runs_lost_in_a_row, runs_refused_in_a_row

log = structlog.get_logger(__name__)

RUNS_ALLOWED = 3
FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 300.0


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
                    "run_open": 0,
                },
                engine=f"{manifest.engine.name} {manifest.engine.version}",
                peak_rss_mb=manifest.peak_rss_mb,
                **{**detail, **self._cost(manifest, detail)},
                stages_s=dict(manifest.seconds),
            )

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
        blameless: bool = False,
        detail: Detail | None = None,
    ) -> None:
        """Plan another run, or give up after several.

        Parameters
        ----------
        blameless
            Whether it was no fault of the run's: it does not count.
        """
        lost = runs_lost_in_a_row(self._ledger, job_key) + (not blameless)
        if lost >= RUNS_ALLOWED:
            self.fail(job_key, run, f"{reason} ({lost} runs were lost; retry when it is settled)", detail)
            return
        log.warning("run_lost", job_key=job_key, run=run, reason=reason)
        said = {**(detail or {}), **({"blameless": True} if blameless else {})}
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                again_at = datetime.now(UTC) + timedelta(seconds=self._delay_s(job_key, lost, blameless))
                columns = {"not_before": utc_text(again_at), "run_open": 0}
                transaction.move_job(
                    job_key, JobEvent.RUN_LOST, reason=reason, columns=columns, run=run, **said
                )

    def _delay_s(self, job_key: str, lost: int, blameless: bool) -> float:
        """How long until the next run: the longer, the more often it came to nothing."""
        if not blameless:
            return FIRST_DELAY_S * 4.0 ** (lost - 1)
        refused = min(runs_refused_in_a_row(self._ledger, job_key), 10)
        return min(FIRST_DELAY_S * 2.0**refused, LONGEST_DELAY_S)

    def fail(self, job_key: str, run: int, reason: str, detail: Detail | None = None) -> None:
        """Give up, unless the news are old."""
        log.error("run_failed", job_key=job_key, run=run, reason=reason)
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                transaction.move_job(
                    job_key,
                    JobEvent.FAILED,
                    reason=reason,
                    columns={"run_open": 0},
                    run=run,
                    **(detail or {}),
                )
