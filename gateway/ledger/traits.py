"""What stands in a study by which it is found in a list: modalities, senders, rules, destinations, flags.

Triggers keep those of jobs, deliveries and flags; with each image they would cost too much, so that what
stands in images is noted by whoever stores them.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

from .store import Ledger
from .transaction import Transaction


class Trait(StrEnum):
    """Of what kind it is."""

    MODALITY = "modality"
    SENDER = "sender"
    RULE = "rule"
    DESTINATION = "destination"
    FLAG = "flag"


def note_trait(transaction: Transaction, study_uid: str, trait: Trait, value: str) -> None:
    """Let a study be found by this; nearly always it is already."""
    transaction.execute(
        "INSERT OR IGNORE INTO study_traits"
        " SELECT ?, ?, received_at, study_key FROM studies WHERE study_uid = ?",
        (trait, value, study_uid),
    )


def traits_of_studies(ledger: Ledger, study_keys: Sequence[str]) -> Mapping[str, Mapping[Trait, list[str]]]:
    """What stands in each of these studies, by its key and by what it is, in alphabetical order."""
    rows = ledger.read(
        "SELECT t.study_key, t.trait, t.value FROM json_each(?)"
        " CROSS JOIN study_traits t ON t.study_key = json_each.value",
        (json.dumps(list(study_keys)),),
    )
    found = defaultdict[str, defaultdict[Trait, list[str]]](lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["value"]):
        found[row["study_key"]][Trait(row["trait"])].append(row["value"])
    return found


def known_values(ledger: Ledger) -> dict[str, list[str]]:
    """Everything that some study can be found by; one entry of the index is read for each."""
    return {trait.value: _values_of(ledger, trait) for trait in Trait}


def _values_of(ledger: Ledger, trait: Trait) -> list[str]:
    values: list[str] = []
    while rows := ledger.read(
        "SELECT value FROM study_traits WHERE trait = ? AND value > ? ORDER BY value LIMIT 1",
        (trait, values[-1] if values else ""),
    ):
        values.append(rows[0]["value"])
    return values
