"""Runs in the ledger: one row for each time that a job was handed to a queue."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.adapters.queue import Lane

from .records import JobRow, RunRow, utc_now
from .run_cost import RunCost
from .states import AT_THE_QUEUE
from .store import Ledger
from .transaction import Transaction

Order = tuple[int, int, int]
"""Of news: (run, attempt, rank)."""


@dataclass(frozen=True)
class JobRun:
    """A run with its job."""

    job: JobRow
    run: RunRow

    @property
    def is_wanted(self) -> bool:
        """Whether the job waits for this run; one that nobody wants has to end."""
        return self.job.state in AT_THE_QUEUE and self.job.run == self.run.run


def open_runs(ledger: Ledger) -> list[JobRun]:
    """Every run that may live at a queue, those of the most urgent jobs first."""
    rows = ledger.read("SELECT * FROM runs INDEXED BY runs_open WHERE is_open = 1")
    found = _with_their_jobs(ledger, map(RunRow.of, rows))
    return sorted(found, key=lambda each: (-each.job.priority, each.job.created_at, each.run.run))


def _with_their_jobs(ledger: Ledger, runs: Iterable[RunRow]) -> list[JobRun]:
    runs = list(runs)
    keys = json.dumps(sorted({run.job_key for run in runs}))
    rows = ledger.read("SELECT * FROM jobs WHERE job_key IN (SELECT value FROM json_each(?))", (keys,))
    jobs = {job.job_key: job for job in map(JobRow.of, rows)}
    return [JobRun(jobs[run.job_key], run) for run in runs if run.job_key in jobs]


def open_runs_of(ledger: Ledger, job_key: str) -> set[int]:
    """The numbers of a job's runs that may live at a queue."""
    rows = ledger.read("SELECT run FROM runs WHERE job_key = ? AND is_open = 1", (job_key,))
    return {row["run"] for row in rows}


def jobs_at_the_queue(ledger: Ledger) -> set[str]:
    """The jobs that wait for a run."""
    rows = ledger.read(
        f"SELECT job_key FROM jobs WHERE state IN ({', '.join('?' for _ in AT_THE_QUEUE)})", (*AT_THE_QUEUE,)
    )
    return {row["job_key"] for row in rows}


def run_of(ledger: Ledger, job_key: str, run: int) -> RunRow | None:
    """One run of a job; None where the ledger has none of that number."""
    rows = ledger.read("SELECT * FROM runs WHERE job_key = ? AND run = ?", (job_key, run))
    return RunRow.of(rows[0]) if rows else None


def written_run(transaction: Transaction, job: JobRow, run: int) -> RunRow:
    """One run of a job; it is written down where a queue knows of more than a ledger that was restored."""
    sql, key = "SELECT * FROM runs WHERE job_key = ? AND run = ?", (job.job_key, run)
    row = transaction.one(sql, key)
    if row is None:
        begin_run(transaction, job.job_key, run, job.lane)
        row = transaction.one(sql, key)
    assert row is not None
    return RunRow.of(row)


def begin_run(
    transaction: Transaction,
    job_key: str,
    run: int,
    lane: Lane,
    followed: str = "",
    backend: str = "",
    *,
    region: str = "",
    has_copy: bool = False,
) -> None:
    """Write down a run before the queue hears of it.

    Parameters
    ----------
    backend
        The queue, as `queue.backend` names it; empty: not known.
    followed
        The other gateway whose run it is; empty: ours.
    region
        The region of AWS that it takes place in; empty: none.
    has_copy
        Whether a copy of the job folder is about to lie there.
    """
    now = utc_now()
    row = {"job_key": job_key, "run": run, "lane": lane, "followed": followed, "backend": backend}
    row |= {"region": region, "has_copy": int(has_copy)}
    transaction.insert("runs", {**row, "is_open": 1, "submitted_at": now, "waiting_since": now})


def end_run(
    transaction: Transaction,
    job_key: str,
    run: int,
    *,
    exit_code: int | None = None,
    sentence: str = "",
    lost_on: str = "",
) -> None:
    """Note that a run is over; of one that is over already it changes nothing.

    Parameters
    ----------
    lost_on
        By whose fault it has to be done again; see `lost_runs`.
    """
    transaction.execute(
        "UPDATE runs SET is_open = 0, ended_at = ?, exit_code = ?, sentence = ?, lost_on = ?"
        " WHERE job_key = ? AND run = ? AND is_open = 1",
        (utc_now(), exit_code, sentence, lost_on, job_key, run),
    )


def last_runs_with_copy(ledger: Ledger, region: str) -> list[JobRun]:
    """Of every job of which a copy lies in this region its last run that brought it there."""
    rows = ledger.read(
        "SELECT * FROM runs INDEXED BY runs_with_copy WHERE has_copy = 1 AND region = ? ORDER BY run",
        (region,),
    )
    runs = {run.job_key: run for run in map(RunRow.of, rows)}
    return _with_their_jobs(ledger, runs.values())


def copy_is_gone(transaction: Transaction, run: RunRow) -> None:
    """Write down that no copy of a job that a run up to this one brought there is in its region any more."""
    transaction.execute(
        "UPDATE runs SET has_copy = 0 WHERE job_key = ? AND region = ? AND run <= ?",
        (run.job_key, run.region, run.run),
    )


def was_in_lane(ledger: Ledger, job: JobRow, lane: Lane) -> bool:
    """Whether a run of a job was in this lane since it was last asked for anew."""
    return any(run.lane == lane for run in runs_of(ledger, job.job_key, job.counted_after))


def last_held_until(ledger: Ledger, instance: str, before: str) -> str | None:
    """When the last run on this machine gave it back that did so before a time; None: none is known."""
    rows = ledger.read(
        "SELECT held_until FROM runs WHERE instance = ? AND instance != '' AND held_until < ?"
        " ORDER BY held_until DESC LIMIT 1",
        (instance, before),
    )
    return rows[0]["held_until"] if rows else None


def taken_away_s(ledger: Ledger, job_key: str) -> float:
    """Seconds that attempts at a job held machines which Spot took away, since it gave a result last."""
    rows = ledger.read(
        "SELECT total(json_extract(detail, '$.seconds')) AS seconds FROM events WHERE job_key = ?"
        " AND json_extract(detail, '$.interruption') = 'spot' AND seq > (SELECT coalesce(max(seq), 0)"
        " FROM events WHERE job_key = ? AND event = 'job.segmented')",
        (job_key, job_key),
    )
    return round(float(rows[0]["seconds"]), 2)


def note_cost(
    transaction: Transaction, job: JobRow, cost: RunCost, instance: str, held_until: str | None
) -> None:
    """Write down what a job's present run cost, and until when it held which machine."""
    row = {"cost": cost.model_dump_json(), "instance": instance, "held_until": held_until}
    transaction.update("runs", "id", written_run(transaction, job, job.run).id, row)


def newer_run(job: JobRow, run: int) -> bool:
    """Whether news of `run` still matters: late or repeated news of an older run changes nothing."""
    return job.state in AT_THE_QUEUE and run >= job.run


def is_next(job: JobRow, known: RunRow | None, order: Order) -> bool:
    """Whether news come after the last that were taken in.

    Parameters
    ----------
    known
        The run that they are of, as far as the ledger has it.
    """
    run, attempt, rank = order
    before = (known.attempt, known.rank) if known is not None else (0, 0)
    return newer_run(job, run) and (run > job.run or (attempt, rank) > before)


def runs_of(ledger: Ledger, job_key: str, after: int = 0) -> list[RunRow]:
    """The runs of a job after one of this number, the first one first."""
    rows = ledger.read("SELECT * FROM runs WHERE job_key = ? AND run > ? ORDER BY run", (job_key, after))
    return [RunRow.of(row) for row in rows]


def lost_runs(ledger: Ledger, job_key: str, on: str = "work") -> list[RunRow]:
    """The runs of a job that were lost since it was last asked for anew, the first one first.

    Parameters
    ----------
    on
        By whose fault: "work", its own; "machine"; "outside", where also that the queue took one begins anew.
    """
    rows = ledger.read(
        "SELECT r.* FROM jobs j JOIN runs r ON r.job_key = j.job_key AND r.run > j.counted_after"
        " WHERE j.job_key = ? ORDER BY r.run",
        (job_key,),
    )
    runs = [RunRow.of(row) for row in rows]
    if on == "outside":
        taken = max((run.run for run in runs if run.queue_id), default=0)
        runs = [run for run in runs if run.run > taken]
    return [run for run in runs if run.lost_on == on]
