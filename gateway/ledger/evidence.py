"""What came of a study, and what of a list of instances that somebody named did not.

A PACS names instances when it is asked; who else does (a storage commitment request, an Instance Availability
Notification) names them the same way.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from enum import StrEnum

from gateway.adapters.contents import NoAnswer

from .store import Ledger
from .transaction import Transaction


class Finding(StrEnum):
    """What a comparison shows; stands in the timeline, as the codes of `NoAnswer` do."""

    ALL_HERE = "all_here"
    MORE_THERE = "more_there"
    FEWER_THERE = "fewer_there"  # it lacks some of what came: no witness


def instances_by_series(ledger: Ledger, study_uid: str) -> Mapping[str, frozenset[str]]:
    """SOP Instance UIDs of every current instance of a study that was not rejected, by series."""
    rows = ledger.read(
        "SELECT series_uid, sop_instance_uid FROM instances i WHERE study_uid = ? AND is_current = 1"
        " AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.sop_instance_uid = i.sop_instance_uid)",
        (study_uid,),
    )
    found = defaultdict[str, set[str]](set)
    for row in rows:
        found[row["series_uid"]].add(row["sop_instance_uid"])
    return {series_uid: frozenset(uids) for series_uid, uids in found.items()}


def not_to_be_waited_for(ledger: Ledger, study_uid: str, instance_uids: Collection[str]) -> set[str]:
    """Which of these, that are no instances of a study, are our own results, in quarantine or rejected."""
    ours = ledger.read(
        "SELECT sop_instance_uid FROM result_objects"
        " WHERE sop_instance_uid IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(instance_uids)),),
    )
    rejected = ledger.read(
        "SELECT r.sop_instance_uid FROM json_each(?) CROSS JOIN rejections r"
        " ON r.sop_instance_uid = value AND r.study_uid = ?",
        (json.dumps(sorted(instance_uids)), study_uid),
    )
    aside = ledger.read(
        "SELECT q.sop_instance_uid FROM events e"
        " CROSS JOIN quarantine q ON q.key = json_extract(e.detail, '$.key')"
        " WHERE e.study_uid = ? AND e.event = 'instance.quarantined'",
        (study_uid,),
    )
    return {row["sop_instance_uid"] for row in (*ours, *aside, *rejected)} & set(instance_uids)


def note_answer(
    transaction: Transaction,
    study_uid: str,
    answer: Finding | NoAnswer,
    *,
    here: int,
    there: int,
    missing: int,
) -> None:
    """Record what a PACS said that was asked what it holds.

    Parameters
    ----------
    here, there
        Instances of the series that came, here and as the PACS says.
    missing
        How many of those there did not come.
    """
    transaction.note(
        "study.pacs_answered", study_uid=study_uid, answer=answer, here=here, there=there, missing=missing
    )
