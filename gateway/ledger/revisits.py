"""Studies that came again in full, and whom to ask whether their results are still there.

A study that was deleted in a PACS and sent there again comes here again, too, and changes nothing here: its
results are known, and were sent. Whoever got them may have lost them with the study.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.events import StudyCameAgain

from .holding import ask_again_whose
from .records import DeliveryRow, ResultObjectRow, RevisitRow, utc_in, utc_now
from .states import DELIVERY_ARRIVED, DeliveryState, JobState
from .store import Ledger
from .transaction import Transaction


@dataclass(frozen=True)
class Delivered:
    """An object of a present result that a destination got, or is to get again."""

    delivery: DeliveryRow
    made: ResultObjectRow


def note_came_again(transaction: Transaction, study_uid: str, came: Collection[str]) -> bool:
    """Note that instances of a study came again, where those are all that a result was made of.

    Who got one that was delivered is asked whether it is still there; who was not sent one that is held for
    another patient's is asked whose it is now.

    Parameters
    ----------
    came
        SOP Instance UIDs.

    Returns
    -------
    Whether that is so, and somebody is to be asked.
    """
    jobs = transaction.execute("SELECT job_key, state FROM jobs WHERE study_uid = ?", (study_uid,)).fetchall()
    held = [job["job_key"] for job in jobs if job["state"] == JobState.QUARANTINED]
    asked = [key for key in held if _is_all(transaction, key, came) and ask_again_whose(transaction, key)]
    delivered = [job["job_key"] for job in jobs if job["state"] == JobState.DELIVERED]
    whole = [job_key for job_key in delivered if _is_all(transaction, job_key, came)]
    now, new = utc_now(), 0
    for job_key in whole:
        new += transaction.execute(
            "INSERT OR IGNORE INTO revisits (study_uid, destination, noted_at)"
            " SELECT DISTINCT ?, d.destination, ? FROM deliveries d"
            " JOIN result_objects o USING (job_key, sop_instance_uid)"
            " WHERE d.job_key = ? AND o.is_current = 1 AND d.state IN (?, ?)",
            (study_uid, now, job_key, *DELIVERY_ARRIVED),
        ).rowcount
    if new:
        transaction.publish(StudyCameAgain(study_uid))
    return bool(whole or asked)


def _is_all(transaction: Transaction, job_key: str, came: Collection[str]) -> bool:
    rows = transaction.execute("SELECT name FROM job_images WHERE job_key = ?", (job_key,))
    images = {row["name"].partition("#")[0] for row in rows}
    return bool(images) and images <= set(came)


def revisits_of(ledger: Ledger, destination: str, limit: int) -> list[RevisitRow]:
    """Whom to ask about there: what was not put off first, then as its time comes."""
    rows = ledger.read(
        "SELECT * FROM revisits INDEXED BY revisits_by_destination WHERE destination = ?"
        " ORDER BY not_before LIMIT ?",
        (destination, limit),
    )
    return [RevisitRow.of(row) for row in rows]


def revisited_destinations(ledger: Ledger) -> list[str]:
    """The names of whom there is something to ask, configured or not."""
    names: list[str] = []
    while True:  # from name to name, not from row to row
        rows = ledger.read(
            "SELECT destination FROM revisits INDEXED BY revisits_by_destination WHERE destination > ?"
            " ORDER BY destination LIMIT 1",
            (names[-1] if names else "",),
        )
        if not rows:
            return names
        names.append(rows[0]["destination"])


def tried_revisits(ledger: Ledger, destination: str) -> list[RevisitRow]:
    """Those of which something was sent there again, and nobody knows yet whether it is shown."""
    rows = ledger.read(
        "SELECT * FROM revisits INDEXED BY revisits_tried WHERE destination = ? AND resent <> '[]'"
        " ORDER BY not_before",
        (destination,),
    )
    return [RevisitRow.of(row) for row in rows]


def delivered_there(ledger: Ledger, study_uid: str, destination: str) -> list[Delivered]:
    """What of the present results of a study is at a destination, or on its way there, and not rejected."""
    of = (study_uid, destination, *DELIVERY_ARRIVED, DeliveryState.PENDING)
    rows = ledger.read(
        "SELECT d.* FROM deliveries d JOIN result_objects o USING (job_key, sop_instance_uid)"
        " WHERE d.study_uid = ? AND d.destination = ? AND o.is_current = 1 AND d.state IN (?, ?, ?)"
        " AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.sop_instance_uid = d.sop_instance_uid)",
        of,
    )
    deliveries = [DeliveryRow.of(row) for row in rows]
    rows = ledger.read(
        "SELECT o.* FROM deliveries d JOIN result_objects o USING (job_key, sop_instance_uid)"
        " WHERE d.study_uid = ? AND d.destination = ? AND o.is_current = 1 AND d.state IN (?, ?, ?)"
        " AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.sop_instance_uid = d.sop_instance_uid)",
        of,
    )
    made = {row["sop_instance_uid"]: ResultObjectRow.of(row) for row in rows}
    return [Delivered(one, made[one.sop_instance_uid]) for one in deliveries if one.sop_instance_uid in made]


def ask_again(transaction: Transaction, revisit: RevisitRow, delay_s: float) -> None:
    """Ask a destination about a study again later, since it did not say what was hoped for."""
    transaction.execute(
        "UPDATE revisits SET not_before = ?, asked = asked + 1 WHERE study_uid = ? AND destination = ?",
        (utc_in(delay_s), revisit.study_uid, revisit.destination),
    )


def look_later(
    transaction: Transaction, revisit: RevisitRow, delay_s: float, resent: Sequence[str] = ()
) -> None:
    """Ask when what is on its way there may have arrived.

    Parameters
    ----------
    resent
        What was sent again, by the keys of deliveries; none: as before.
    """
    transaction.execute(
        "UPDATE revisits SET not_before = ?, resent = ? WHERE study_uid = ? AND destination = ?",
        (utc_in(delay_s), json.dumps(resent or revisit.resent), revisit.study_uid, revisit.destination),
    )


def settle(transaction: Transaction, revisit: RevisitRow, event: str = "", **detail: Any) -> None:
    """Ask no more about a study, and say in its timeline what came of it, where there is an event."""
    transaction.execute(
        "DELETE FROM revisits WHERE study_uid = ? AND destination = ?",
        (revisit.study_uid, revisit.destination),
    )
    if event:
        transaction.note(event, study_uid=revisit.study_uid, destination=revisit.destination, **detail)


def forget_revisits(transaction: Transaction, destination: str) -> None:
    """Ask nothing of who can say nothing."""
    transaction.execute("DELETE FROM revisits WHERE destination = ?", (destination,))
