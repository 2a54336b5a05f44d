"""Results that were delivered are sent again: there, or somewhere else as well."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final

from .lost import WITH_OBJECTS
from .records import DeliveryRow, JobRow
from .rejected import is_rejected, said_of
from .results import plan_delivery
from .states import DELIVERY_ARRIVED, DeliveryEvent, DeliveryState, JobState
from .transaction import NotPossible, Transaction

A_PERSON: Final = "a person asked for it"
_LATE: Final = "the result of this job is not what counts any more; send again what took its place"


def resend_delivery(transaction: Transaction, key: str, to: str = "", *, reason: str = A_PERSON) -> None:
    """Send once more what a destination got, or send it to another one, too.

    Parameters
    ----------
    to
        The name of a configured destination; empty: where it went.

    Raises
    ------
    NotPossible
        It is still to be sent there, is of no present result, or cannot be made any more.
    """
    row = transaction.delivery(key)
    require_result(transaction, transaction.job(row.job_key))
    sql = "SELECT 1 FROM result_objects WHERE sop_instance_uid = ? AND is_current = 1"
    if transaction.one(sql, (row.sop_instance_uid,)) is None:
        raise NotPossible("a newer object took the place of this one; send that again, or the whole job")
    _resend_object(transaction, row.job_key, row.sop_instance_uid, to or row.destination, reason)


def resend_job(transaction: Transaction, job_key: str, to: str = "") -> int:
    """Send the present result of a job again wherever it arrived, or to one destination.

    Parameters
    ----------
    to
        Gets of each output what one of the others got: a segmentation as BINARY where there is one.

    Returns
    -------
    The number of deliveries.

    Raises
    ------
    NotPossible
        It has no result, is on its way there already, went nowhere, or cannot be made any more.
    """
    require_result(transaction, transaction.job(job_key))
    deliveries = _present_deliveries(transaction, job_key)
    sent = [row for row in deliveries if not is_rejected(transaction, row.sop_instance_uid)]
    if deliveries and not sent:
        said = said_of(transaction, deliveries[0].sop_instance_uid)
        raise NotPossible(f"{said}; to send it all the same, give the key of the delivery")
    if to:
        wanted = [(uid, to) for uid in _one_set(transaction, job_key, sent)]
    else:
        wanted = [(row.sop_instance_uid, row.destination) for row in sent if row.state in DELIVERY_ARRIVED]
    if not wanted:
        raise NotPossible("nothing of this job arrived anywhere; retry what failed, or say to whom: --to")
    number = 0
    for uid, destination in wanted:
        if not _is_on_its_way(transaction, uid, destination):
            _resend_object(transaction, job_key, uid, destination, A_PERSON)
            number += 1
    if not number:
        raise NotPossible(f"all of it is on its way to {to} already; retry it there, or wait")
    return number


def require_result(transaction: Transaction, job: JobRow) -> None:
    """Refuse a job that has no result which could be sent.

    Raises
    ------
    NotPossible
    """
    if job.state not in WITH_OBJECTS:
        over = (JobState.SUPERSEDED, JobState.CANCELLED)
        why = _LATE if job.state in over else "it has nothing that could be sent again yet"
        raise NotPossible(f"this job is {job.state}; {why}")
    if not transaction.has_result(job.job_key):
        raise NotPossible("nothing was made of this job that could be sent")
    if job.results_removed_at is None:
        return
    removed_at = transaction.study(job.study_uid).images_removed_at
    if removed_at is not None:
        raise NotPossible(
            f"its results were removed here on {job.results_removed_at[:10]}, and its images on"
            f" {removed_at[:10]}: it cannot be made again; `iris forget` the study, then send it here anew"
        )


def _resend_object(
    transaction: Transaction, job_key: str, sop_instance_uid: str, destination: str, reason: str
) -> None:
    sql = "SELECT * FROM deliveries WHERE sop_instance_uid = ? AND destination = ?"
    found = transaction.one(sql, (sop_instance_uid, destination))
    row = DeliveryRow.of(found) if found is not None else None
    if row is not None and row.state in DELIVERY_ARRIVED:
        transaction.move_delivery(row.key, DeliveryEvent.RESENT, said=reason)
    elif row is not None and row.state in (DeliveryState.PENDING, DeliveryState.FAILED):
        raise NotPossible(f"this delivery to {destination} is {row.state}; retry it")
    else:
        plan_delivery(transaction, transaction.job(job_key), sop_instance_uid, destination)


def _is_on_its_way(transaction: Transaction, sop_instance_uid: str, destination: str) -> bool:
    sql = "SELECT state FROM deliveries WHERE sop_instance_uid = ? AND destination = ?"
    row = transaction.one(sql, (sop_instance_uid, destination))
    return row is not None and row["state"] in (DeliveryState.PENDING, DeliveryState.FAILED)


def _present_deliveries(transaction: Transaction, job_key: str) -> list[DeliveryRow]:
    rows = transaction.execute(
        "SELECT d.* FROM deliveries d JOIN result_objects o USING (job_key, sop_instance_uid)"
        " WHERE d.job_key = ? AND o.is_current = 1 ORDER BY d.created_at, d.rowid",
        (job_key,),
    )
    return [DeliveryRow.of(row) for row in rows]


def _one_set(transaction: Transaction, job_key: str, sent: Collection[DeliveryRow]) -> list[str]:
    """The objects of a result for a further destination: of each output what one destination got of it.

    Of several forms of a segmentation that of the older SOP class, which more know (PS3.6 A: BINARY before
    LABELMAP).
    """
    names = defaultdict[str, list[str]](list)
    for row in sent:
        names[row.sop_instance_uid].append(row.destination)
    rows = transaction.execute(
        "SELECT output, sop_class_uid, sop_instance_uid FROM result_objects"
        " WHERE job_key = ? AND is_current = 1 ORDER BY output, sop_class_uid, sop_instance_uid",
        (job_key,),
    )
    sets: dict[str, dict[str, list[tuple[str, str]]]] = {}  # output -> destination -> SOP class and UID
    for output, sop_class_uid, uid in rows:
        if is_rejected(transaction, uid):
            continue
        for name in names[uid] or [""]:  # of some it never went anywhere
            sets.setdefault(output, {}).setdefault(name, []).append((sop_class_uid, uid))
    chosen = [min(found.items(), key=lambda one: (one[1][0][0], one[0]))[1] for found in sets.values()]
    return [uid for one in chosen for _, uid in one]
