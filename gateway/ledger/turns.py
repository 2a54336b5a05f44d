"""Jobs that wait for their turn to run (`queue.max_jobs_per_hour`): which they are, and that they say so.

One that waits so has that reason, and a time of its next try. One with the reason and without the time was
tried now by a person: it waits for no turn any more.
"""

from collections.abc import Sequence
from typing import Final

from .records import JobRow, utc_in, utc_now
from .states import JobState
from .store import Ledger
from .work import wait_with_job

_AT_ONCE: Final = 100
"""So many are told in one transaction: nobody else who writes should wait for long."""


def counted_runs(ledger: Ledger, urgent_priority: int, number: int) -> dict[int, str]:
    """So many runs that began last, of jobs that are not urgent, each with when it was handed over.

    What another gateway runs is not counted, nor what the queue could not be reached for. They are in the
    order in which they were written down: times are a clock's, which may be set.
    """
    rows = ledger.read(
        "SELECT r.id, r.submitted_at FROM runs r JOIN jobs j ON j.job_key = r.job_key"
        " WHERE j.priority < ? AND r.followed = '' AND NOT (r.lost_on = 'outside' AND r.queue_id = '')"
        " ORDER BY r.id DESC LIMIT ?",
        (urgent_priority, number),
    )
    return {row["id"]: row["submitted_at"] for row in rows}


def jobs_without_a_turn(ledger: Ledger, urgent_priority: int, reason: str) -> list[JobRow]:
    """The staged jobs that are not urgent, and do not wait for their turn: not told yet, or tried now."""
    rows = ledger.read(
        "SELECT * FROM jobs WHERE state = 'staged' AND priority < ? AND (not_before IS NULL OR reason <> ?)"
        " ORDER BY priority DESC, created_at",
        (urgent_priority, reason),
    )
    return [JobRow.of(row) for row in rows]


def tell_of_turns(ledger: Ledger, job_keys: Sequence[str], reason: str, next_in_s: float) -> None:
    """Let these jobs say that they wait for their turn, and all who do when the next one comes."""
    for begin in range(0, len(job_keys), _AT_ONCE):
        with ledger.transaction() as transaction:
            for job_key in job_keys[begin : begin + _AT_ONCE]:
                if transaction.job(job_key).state is JobState.STAGED:
                    wait_with_job(transaction, job_key, delay_s=next_in_s, reason=reason, on="turn")
    now = utc_now()
    if ledger.read(
        "SELECT 1 FROM jobs WHERE state = 'staged' AND not_before < ? AND reason = ? LIMIT 1", (now, reason)
    ):
        with ledger.transaction() as transaction:
            transaction.execute(
                "UPDATE jobs SET not_before = ? WHERE state = 'staged' AND not_before < ? AND reason = ?",
                (utc_in(next_in_s), now, reason),
            )
