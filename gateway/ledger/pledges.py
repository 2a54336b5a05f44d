"""Pledges: what destinations are asked to keep for good (storage commitment, PS3.4 J), and what they say.

What others ask of this gateway is in `commitments`. A delivery waits for the word that it is kept from the
transaction on that makes it sent. It is asked for with all that its job sent to the same destination, under a
Transaction UID that is written down before; each time anew, and a report on any of them counts as long as the
object was not sent again since.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.adapters.pledge_report import (
    CLASS_CONFLICT,
    CLASS_NOT_SUPPORTED,
    NO_SUCH_INSTANCE,
    PledgeReport,
    meaning_of_failure,
)
from gateway.events import DeliveryChanged

from .deliveries import drop_delivery
from .records import DeliveryRow, utc_in, utc_now
from .rejected import is_rejected, said_of
from .states import DeliveryEvent, DeliveryState, JobState
from .store import Ledger
from .transaction import Transaction
from .under_way import call_off, give_way, is_wanted

MOST_GROUPS: Final = 500
"""Jobs that are looked at; others have their turn when some of these are kept."""
TIMES_LOST: Final = 5
"""So often in a row is an object sent again that a destination took and did not keep."""
FIRST_AGAIN_S: Final = 5.0
"""When it is sent again after the first time; twice as long after each further one."""
NO_LONGER_ASKED: Final = "its destination is not asked to commit itself any more"


class UnknownPledge(Exception):
    """A report is about a transaction that nobody here began, or that is of no matter any more."""


class ForeignPledge(Exception):
    """A report came from another than was asked."""


@dataclass(frozen=True)
class Unkept:
    """What was sent of a job to a destination and waits for the word that it is kept.

    Parameters
    ----------
    since
        When the first of it was sent.
    until
        When it is asked for; empty: at once.
    """

    job_key: str
    since: str
    until: str


# -- asking -------------------------------------------------------------------------------------------------


def unkept(ledger: Ledger, destination: str) -> list[Unkept]:
    """Each job of which everything for a destination was sent, and not everything is kept."""
    rows = ledger.read(
        "SELECT d.job_key, min(d.unkept_since) AS since, min(coalesce(d.not_before, '')) AS until"
        " FROM deliveries d INDEXED BY deliveries_unkept WHERE d.unkept_since IS NOT NULL"
        " AND d.destination = ? GROUP BY d.job_key HAVING NOT EXISTS (SELECT 1 FROM deliveries p"
        " WHERE p.job_key = d.job_key AND p.destination = ? AND p.state = 'pending') LIMIT ?",
        (destination, destination, MOST_GROUPS),
    )
    return [Unkept(**dict(row)) for row in rows]


def begin_asking(
    transaction: Transaction, job_key: str, destination: str, transaction_uid: str
) -> dict[str, str]:
    """Write down what is asked for by a transaction.

    Returns
    -------
    SOP Instance UIDs, each with its SOP Class UID; none where nothing waits any more.
    """
    rows = _unkept_of(transaction, job_key, destination)
    transaction.execute(
        "INSERT INTO pledges (transaction_uid, delivery_key) SELECT ?, value FROM json_each(?)",
        (transaction_uid, json.dumps([row.key for row in rows])),
    )
    transaction.transitions.append("delivery.commitment_begun")
    classes = transaction.execute(
        "SELECT sop_instance_uid, sop_class_uid FROM result_objects WHERE job_key = ?", (job_key,)
    )
    known = {row["sop_instance_uid"]: row["sop_class_uid"] for row in classes}
    uids = [row.sop_instance_uid for row in rows]
    return {uid: known[uid] for uid in uids if uid in known}


def say_why_unkept(
    transaction: Transaction, group: Unkept, destination: str, reason: str, *, delay_s: float
) -> None:
    """Show why it is not kept yet, and ask again after a time."""
    rows = _unkept_of(transaction, group.job_key, destination)
    _set(transaction, rows, {"reason": reason, "not_before": utc_in(delay_s)})
    if any(row.reason != reason for row in rows):
        _tell(transaction, "commitment_awaited", rows, reason)


def end_waiting(transaction: Transaction, job_key: str, destination: str, reason: str) -> None:
    """Leave what was sent of a job as sent: its destination does not commit itself to anything."""
    rows = _unkept_of(transaction, job_key, destination)
    _set(transaction, rows, {"reason": reason, "not_before": None, "unkept_since": None})
    if rows:
        _tell(transaction, "commitment_not_offered", rows, reason)


def give_up(transaction: Transaction, job_key: str, destination: str, reason: str) -> None:
    """Fail what was sent of a job and whose destination has not said for too long that it keeps it."""
    for row in _unkept_of(transaction, job_key, destination):
        _fail(transaction, row, reason)


def ask_no_more(transaction: Transaction, destination: str) -> None:
    """Leave all that was sent to a destination as sent: it is not asked any more."""
    jobs = transaction.execute(
        "SELECT DISTINCT job_key FROM deliveries INDEXED BY deliveries_unkept"
        " WHERE unkept_since IS NOT NULL AND destination = ?",
        (destination,),
    )
    for row in jobs.fetchall():
        end_waiting(transaction, row["job_key"], destination, NO_LONGER_ASKED)


def destinations_awaited(ledger: Ledger) -> list[str]:
    """The names of those whose word something waits for, be they asked or not."""
    names: list[str] = []
    while True:  # from name to name, not from row to row
        rows = ledger.read(
            "SELECT destination FROM deliveries INDEXED BY deliveries_unkept WHERE unkept_since IS NOT NULL"
            " AND destination > ? ORDER BY destination LIMIT 1",
            (names[-1] if names else "",),
        )
        if not rows:
            return names
        names.append(rows[0]["destination"])


# -- what is said -------------------------------------------------------------------------------------------


def take_report(transaction: Transaction, report: PledgeReport, destinations: Collection[str]) -> int:
    """Write down what a destination says; how many objects it keeps by that.

    Parameters
    ----------
    destinations
        The names of those that have the AE title of who reports.

    Raises
    ------
    UnknownPledge, ForeignPledge
    """
    rows = transaction.execute(
        "SELECT d.* FROM pledges p CROSS JOIN deliveries d ON d.key = p.delivery_key"
        " WHERE p.transaction_uid = ?",
        (report.transaction_uid,),
    ).fetchall()
    deliveries = [DeliveryRow.of(row) for row in rows]
    if not deliveries:
        raise UnknownPledge
    if any(row.destination not in destinations for row in deliveries):
        raise ForeignPledge
    kept = 0
    for row in deliveries:
        if row.state is not DeliveryState.SENT:  # said before, or called off
            continue
        if row.sop_instance_uid in report.failures:
            _refused(transaction, row, report.failures[row.sop_instance_uid])
        elif row.sop_instance_uid in report.kept:
            rejected = said_of(transaction, row.sop_instance_uid)
            transaction.move_delivery(row.key, DeliveryEvent.COMMITTED, reason=rejected)
            kept += 1
    return kept


def _refused(transaction: Transaction, row: DeliveryRow, reason: int) -> None:
    why = f"{row.destination} does not commit itself to keep it ({meaning_of_failure(reason)})"
    if reason == NO_SUCH_INSTANCE:
        _lost(transaction, row, why)
    elif reason == CLASS_CONFLICT:
        _fail(transaction, row, why)
    elif reason == CLASS_NOT_SUPPORTED:
        _set(transaction, [row], {"reason": why, "not_before": None, "unkept_since": None})
        _tell(transaction, "commitment_not_offered", [row], why)
    elif row.unkept_since is not None:
        _set(transaction, [row], {"reason": f"{why}; it is asked again", "not_before": row.not_before})
        _tell(transaction, "commitment_awaited", [row], why)


def _lost(transaction: Transaction, row: DeliveryRow, why: str) -> None:
    """Send again what a destination does not have after all, unless that is not wanted any more."""
    times = 1 + _times_lost(transaction, row)
    if times >= TIMES_LOST and is_wanted(transaction, row):
        reason = f"{why}; {times} times it took it and did not keep it: look at its log, then retry"
        transaction.move_delivery(row.key, DeliveryEvent.FAILED, reason=reason, columns={"begun_at": None})
        return
    transaction.move_delivery(
        row.key,
        DeliveryEvent.COMMITMENT_REFUSED,
        reason=f"{why}; it is sent again",
        columns={"begun_at": None, "not_before": utc_in(FIRST_AGAIN_S * 2 ** (times - 1))},
    )
    if transaction.job(row.job_key).state is JobState.CANCELLED:
        call_off(transaction, row.key, f"{why}, and its job was cancelled")
    elif is_rejected(transaction, row.sop_instance_uid):
        drop_delivery(transaction, row.key, reason=f"{why}, and it was rejected there")
    elif not is_wanted(transaction, row):
        give_way(transaction, row.key)


def _times_lost(transaction: Transaction, row: DeliveryRow) -> int:
    found = transaction.one(
        "SELECT count(*) AS times FROM events WHERE job_key = ? AND delivery_key = ?"
        " AND event = 'delivery.commitment_refused' AND seq > (SELECT coalesce(max(seq), 0) FROM events"
        " WHERE job_key = ? AND delivery_key = ? AND event IN ('delivery.retried', 'delivery.resent'))",
        (row.job_key, row.key, row.job_key, row.key),
    )
    return int(found["times"]) if found is not None else 0


def _fail(transaction: Transaction, row: DeliveryRow, reason: str) -> None:
    """A person has to look, unless a newer object took its place."""
    if is_wanted(transaction, row):
        transaction.move_delivery(row.key, DeliveryEvent.FAILED, reason=reason)
        return
    _set(transaction, [row], {"reason": reason, "not_before": None, "unkept_since": None})
    _tell(transaction, "commitment_not_offered", [row], reason)


def _unkept_of(transaction: Transaction, job_key: str, destination: str) -> list[DeliveryRow]:
    rows = transaction.execute(
        "SELECT * FROM deliveries WHERE job_key = ? AND destination = ? AND unkept_since IS NOT NULL"
        " ORDER BY rowid",
        (job_key, destination),
    )
    return [DeliveryRow.of(row) for row in rows]


def _set(transaction: Transaction, rows: Collection[DeliveryRow], values: Mapping[str, str | None]) -> None:
    for row in rows:
        transaction.update("deliveries", "key", row.key, {**values, "updated_at": utc_now()})
        transaction.settle_later(row.study_uid)


def _tell(transaction: Transaction, what: str, rows: Collection[DeliveryRow], reason: str) -> None:
    """Note something of what goes together by one line."""
    first = next(iter(rows))
    transaction.note(
        f"delivery.{what}",
        study_uid=first.study_uid,
        job_key=first.job_key,
        destination=first.destination,
        objects=len(rows),
        reason=reason,
    )
    transaction.publish(DeliveryChanged(first.key, first.study_uid, what, first.state))
