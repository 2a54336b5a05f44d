"""Deliveries under way: what may have arrived already is never taken for what was not sent.

Before the first byte of an object goes out the ledger has `begun_at` of its delivery. It is cleared when the
destination has the object, or is known to have got nothing of it. Where the answer stays unknown (the gateway
was killed, the line broke) it stays, whatever later transfers are answered: then the delivery is carried to
its end although a newer object takes its place, and where a person calls it off it says so.
"""

from collections.abc import Collection
from typing import Final

from gateway.config.outputs import NOTE
from gateway.events import DeliveryChanged

from .records import DeliveryRow, utc_now
from .states import JOB_OPEN, DeliveryEvent, DeliveryState, JobState
from .transaction import StaleRow, Transaction

MAY_BE_THERE: Final = "it may be there from an earlier transfer"
FINISHED_FIRST: Final = f"a newer object takes its place, but {MAY_BE_THERE}, so it is sent to its end"
GAVE_WAY: Final = "a newer object takes its place"
_WITHOUT_PRESENT_OBJECTS: Final = (JOB_OPEN - {JobState.ENCODED}) | {
    JobState.SUPERSEDED,
    JobState.CANCELLED,
}


def begin(transaction: Transaction, keys: Collection[str]) -> set[str]:
    """Write down that bytes of these go out from now on.

    Returns
    -------
    Those of which none has before, as far as the ledger knows.

    Raises
    ------
    StaleRow
        One of them is not to be sent any more.
    """
    now, new = utc_now(), set()
    for key in keys:
        row = transaction.delivery(key)
        if row.state is not DeliveryState.PENDING:
            raise StaleRow(f"the delivery is {row.state}")
        if row.begun_at is None:
            transaction.update("deliveries", "key", key, {"begun_at": now})
            new.add(key)
    transaction.transitions.append("delivery.begun")
    return new


def left_nothing(transaction: Transaction, key: str) -> bool:
    """Note that nothing of an object is there, since its only transfer did not succeed.

    Returns
    -------
    Whether it is still to be sent: what was called off meanwhile is not, and what gave way gives way now.
    """
    row = transaction.delivery(key)
    reason = row.reason.removesuffix(MAY_BE_THERE).removesuffix("; ")
    transaction.update("deliveries", "key", key, {"begun_at": None, "reason": reason})
    if row.state is DeliveryState.PENDING and not is_wanted(transaction, row):
        transaction.move_delivery(key, DeliveryEvent.SUPERSEDED, reason=GAVE_WAY)
        return False
    return row.state is DeliveryState.PENDING


def fail(transaction: Transaction, key: str, reason: str) -> None:
    """Give a delivery up.

    Raises
    ------
    StaleRow
        It does not wait any more.
    """
    reason = _with_doubt(transaction.delivery(key), reason)
    transaction.move_delivery(key, DeliveryEvent.FAILED, expect=DeliveryState.PENDING, reason=reason)


def call_off(transaction: Transaction, key: str, reason: str) -> None:
    """Send it no more, since a person wants that; what the transfer at hand brings about is still noted."""
    reason = _with_doubt(transaction.delivery(key), reason)
    transaction.move_delivery(key, DeliveryEvent.CANCELLED, reason=reason)


def give_way(transaction: Transaction, key: str) -> None:
    """Let a newer object take the place of one that has not arrived."""
    row = transaction.delivery(key)
    if row.begun_at is None:
        transaction.move_delivery(key, DeliveryEvent.SUPERSEDED, reason=GAVE_WAY)
        return
    if row.state is DeliveryState.FAILED:
        transaction.move_delivery(key, DeliveryEvent.RETRIED, reason=FINISHED_FIRST)
        return
    transaction.update("deliveries", "key", key, {"reason": FINISHED_FIRST, "updated_at": utc_now()})
    transaction.note(
        "delivery.finished_first",
        study_uid=row.study_uid,
        job_key=row.job_key,
        delivery_key=key,
        destination=row.destination,
        reason=FINISHED_FIRST,
    )
    transaction.publish(DeliveryChanged(key, row.study_uid, "finished_first", row.state))
    transaction.settle_later(row.study_uid)


def _with_doubt(row: DeliveryRow, reason: str) -> str:
    return "; ".join(filter(None, (reason, MAY_BE_THERE))) if row.begun_at is not None else reason


def is_wanted(transaction: Transaction, row: DeliveryRow) -> bool:
    """Whether an object is one of its job's present ones, and that was not called off, or a note."""
    made = transaction.one(
        "SELECT is_current, output FROM result_objects WHERE sop_instance_uid = ?", (row.sop_instance_uid,)
    )
    if made is not None and made["output"] == NOTE:
        return True
    is_current = made is not None and bool(made["is_current"])
    return is_current and transaction.job(row.job_key).state not in _WITHOUT_PRESENT_OBJECTS
