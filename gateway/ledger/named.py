"""Lists of instances that somebody named: what is missing of them is waited for, until their study is closed.

A storage commitment request does not say of which study its instances are. It is about every study that has
one of them, so that a list may stand here before anything of it has come.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.events import InstancesNamed

from .evidence import instances_by_series, not_to_be_waited_for
from .records import utc_in, utc_now
from .store import Ledger
from .transaction import Transaction

KEPT_S: Final = 3 * 86_400.0
"""So long a list is waited for, and a requester who is away."""


class AlreadyNamed(Exception):
    """A requester uses a Transaction UID for another list while the first one is not reported yet."""


@dataclass(frozen=True)
class NamedList:
    """What somebody named.

    Parameters
    ----------
    instances
        SOP Instance UIDs, each with its SOP Class UID.
    study_uid
        The study that they are of; None: it is not said.
    transaction_uid
        Of the storage commitment that is asked for; None: none is.
    """

    sender: str
    address: str
    instances: Mapping[str, str]
    study_uid: str | None = None
    transaction_uid: str | None = None


@dataclass(frozen=True)
class NamedStanding:
    """How a study stands to the lists about it.

    Parameters
    ----------
    missing
        How many named instances did not come.
    are_all_named
        Whether everything that came is named.
    """

    missing: int
    are_all_named: bool


def name_instances(transaction: Transaction, named: NamedList) -> int:
    """Write down a list; its key. What came again as it was is the list that stands here.

    Raises
    ------
    AlreadyNamed
    """
    _forget_the_old(transaction)
    key = _key_of_the_same(transaction, named)
    if key is None:
        key = _insert(transaction, named)
    studies = _studies_of(transaction, key)
    for study_uid in studies:
        transaction.note(
            "study.instances_named",
            study_uid=study_uid,
            sender=named.sender,
            named=len(named.instances),
            commitment=named.transaction_uid is not None,
        )
    transaction.publish(InstancesNamed(frozenset(studies)))
    return key


def _key_of_the_same(transaction: Transaction, named: NamedList) -> int | None:
    if named.transaction_uid is None:
        return None
    row = transaction.one(
        "SELECT key FROM named_lists WHERE sender = ? AND transaction_uid = ?",
        (named.sender, named.transaction_uid),
    )
    if row is None:
        return None
    if instances_named(transaction, row["key"]) != named.instances:
        raise AlreadyNamed
    transaction.update("named_lists", "key", row["key"], {"address": named.address})
    return int(row["key"])


def _insert(transaction: Transaction, named: NamedList) -> int:
    cursor = transaction.execute(
        "INSERT INTO named_lists (study_uid, sender, address, transaction_uid, named_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (named.study_uid, named.sender, named.address, named.transaction_uid, utc_now()),
    )
    assert cursor.lastrowid is not None
    transaction.execute(
        "INSERT INTO named_instances (list, sop_instance_uid, sop_class_uid)"
        " SELECT ?, key, value FROM json_each(?)",
        (cursor.lastrowid, json.dumps(dict(named.instances))),
    )
    return cursor.lastrowid


def instances_named(transaction: Transaction, key: int) -> dict[str, str]:
    """SOP Instance UIDs of a list, each with its SOP Class UID."""
    rows = transaction.execute(
        "SELECT sop_instance_uid, sop_class_uid FROM named_instances WHERE list = ?", (key,)
    )
    return {row["sop_instance_uid"]: row["sop_class_uid"] for row in rows}


def _studies_of(transaction: Transaction, key: int) -> list[str]:
    """The studies here that a list is about."""
    rows = transaction.execute(
        "SELECT s.study_uid FROM named_lists l JOIN studies s USING (study_uid) WHERE l.key = ?"
        " UNION SELECT i.study_uid FROM named_instances n"
        " CROSS JOIN instances i ON i.sop_instance_uid = n.sop_instance_uid AND i.is_current = 1"
        " WHERE n.list = ?",
        (key, key),
    )
    return [row["study_uid"] for row in rows]


def _forget_the_old(transaction: Transaction) -> None:
    """Lists of which nothing came; what is to be reported is given up by who reports it."""
    transaction.execute(
        "DELETE FROM named_lists WHERE named_at < ? AND transaction_uid IS NULL", (utc_in(-KEPT_S),)
    )


def standing_of(ledger: Ledger, study_uid: str) -> NamedStanding | None:
    """How a study that is receiving stands to what was named; None where nothing was."""
    if not ledger.read("SELECT 1 FROM named_lists LIMIT 1"):
        return None
    lists = [row["list"] for row in ledger.read(_LISTS_ABOUT, (study_uid, study_uid))]
    if not lists:
        return None
    named = {
        row["sop_instance_uid"]
        for key in lists
        for row in ledger.read(
            "SELECT sop_instance_uid FROM named_instances WHERE list = ? AND is_awaited = 1", (key,)
        )
    }
    came = frozenset[str]().union(*instances_by_series(ledger, study_uid).values())
    missing = named - came
    if missing:
        missing -= not_to_be_waited_for(ledger, study_uid, missing)
        missing -= _in_any_study(ledger, missing)
    return NamedStanding(len(missing), are_all_named=came <= named)


_LISTS_ABOUT: Final = (
    "SELECT l.key AS list FROM named_lists l WHERE l.study_uid = ?"
    " UNION SELECT n.list FROM instances i"
    " CROSS JOIN named_instances n ON n.sop_instance_uid = i.sop_instance_uid AND n.is_awaited = 1"
    " WHERE i.study_uid = ? AND i.is_current = 1"
)


def _in_any_study(ledger: Ledger, instance_uids: set[str]) -> set[str]:
    rows = ledger.read(
        "SELECT sop_instance_uid FROM instances"
        " WHERE sop_instance_uid IN (SELECT value FROM json_each(?)) AND is_current = 1",
        (json.dumps(sorted(instance_uids)),),
    )
    return {row["sop_instance_uid"] for row in rows}


def nothing_is_awaited_of(transaction: Transaction, study_uid: str) -> None:
    """A study was closed: what was named of it has done its service; others of its lists may follow."""
    if transaction.one("SELECT 1 FROM named_lists LIMIT 1") is None:
        return
    lists = [row["list"] for row in transaction.execute(_LISTS_ABOUT, (study_uid, study_uid)).fetchall()]
    for key in lists:
        transaction.execute(
            "UPDATE named_instances SET is_awaited = 0 WHERE list = ? AND ("
            " EXISTS (SELECT 1 FROM named_lists l WHERE l.key = list AND l.study_uid = ?)"
            " OR EXISTS (SELECT 1 FROM instances i WHERE i.sop_instance_uid ="
            " named_instances.sop_instance_uid AND i.study_uid = ? AND i.is_current = 1))",
            (key, study_uid, study_uid),
        )
        transaction.publish(InstancesNamed(frozenset(_studies_of(transaction, key)) - {study_uid}))
        drop_where_useless(transaction, key)


def drop_where_useless(transaction: Transaction, key: int) -> None:
    """Remove a list that nobody waits for and that is not to be reported."""
    transaction.execute(
        "DELETE FROM named_lists WHERE key = ? AND transaction_uid IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM named_instances n WHERE n.list = named_lists.key AND n.is_awaited = 1)",
        (key,),
    )


def erase_lists_about(transaction: Transaction, study_uid: str) -> None:
    """A study is gone from the ledger: so is every list that names something of it."""
    transaction.execute(
        "DELETE FROM named_lists WHERE study_uid = ? OR key IN (SELECT n.list FROM instances i"
        " CROSS JOIN named_instances n ON n.sop_instance_uid = i.sop_instance_uid"
        " WHERE i.study_uid = ?)",
        (study_uid, study_uid),
    )
