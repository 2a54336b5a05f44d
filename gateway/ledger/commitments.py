"""Storage commitment requests that are not reported yet: what of them is here, and what became of each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .named import drop_where_useless
from .store import Ledger
from .transaction import Transaction


@dataclass(frozen=True)
class CommitmentRow:
    """One request.

    Parameters
    ----------
    failures
        SOP Instance UIDs that are not committed, each with its Failure Reason (PS3.3 C.14.1.1); None: it is
        not decided yet.
    """

    key: int
    sender: str
    address: str
    transaction_uid: str
    requested_at: str
    failures: Mapping[str, int] | None


@dataclass(frozen=True)
class AskedFor:
    """One instance of a request.

    Parameters
    ----------
    sop_class_uid
        As the requester says.
    class_here, study_uid, series_uid
        As it is here; empty where it did not come.
    result_path
        Where the file of a result of ours lies, or lay, below data_dir, that knows its series; else empty.
    """

    sop_instance_uid: str
    sop_class_uid: str
    class_here: str
    study_uid: str
    series_uid: str
    result_path: str = ""


def open_commitments(ledger: Ledger) -> list[CommitmentRow]:
    """Every request that is to be reported, the oldest first."""
    rows = ledger.read(
        "SELECT * FROM named_lists INDEXED BY named_lists_to_report"
        " WHERE transaction_uid IS NOT NULL ORDER BY key"
    )
    return [
        CommitmentRow(
            row["key"],
            row["sender"],
            row["address"],
            row["transaction_uid"],
            row["named_at"],
            None if row["failures"] is None else json.loads(row["failures"]),
        )
        for row in rows
    ]


def asked_for(ledger: Ledger, key: int) -> list[AskedFor]:
    """The instances of a request: what came, and results that were made here and routed back."""
    rows = ledger.read(
        "SELECT n.sop_instance_uid, n.sop_class_uid,"
        " coalesce(i.sop_class_uid, r.sop_class_uid) AS class_here,"
        " coalesce(i.study_uid, j.study_uid) AS study_uid, i.series_uid, r.path"
        " FROM named_instances n"
        " LEFT JOIN instances i ON i.sop_instance_uid = n.sop_instance_uid AND i.is_current = 1"
        " LEFT JOIN result_objects r ON r.sop_instance_uid = n.sop_instance_uid"
        " LEFT JOIN jobs j ON j.job_key = r.job_key WHERE n.list = ?",
        (key,),
    )
    return [AskedFor(*(value or "" for value in row)) for row in rows]


def decide(transaction: Transaction, key: int, failures: Mapping[str, int]) -> None:
    """Write down what is to be reported, before it is."""
    transaction.update("named_lists", "key", key, {"failures": dict(failures)})


def is_reported(transaction: Transaction, key: int, studies: Mapping[str, tuple[int, int]]) -> None:
    """The requester knows, or is given up.

    Parameters
    ----------
    studies
        Those of which something was asked for: how many instances are committed, and how many are not.
    """
    transaction.update("named_lists", "key", key, {"transaction_uid": None})
    drop_where_useless(transaction, key)
    for study_uid, (committed, failed) in studies.items():
        transaction.note("study.commitment_reported", study_uid=study_uid, committed=committed, failed=failed)
