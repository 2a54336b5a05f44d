"""What a key stands for that a listing prints, or its beginning: study, job, delivery, object put aside."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .store import Ledger

MOST_NAMED: Final = 5
"""So many of each kind are told apart."""


class Kind(StrEnum):
    """What has a key."""

    STUDY = "study"
    JOB = "job"
    DELIVERY = "delivery"
    OBJECT = "object"  # in quarantine


@dataclass(frozen=True)
class Named:
    """One thing by its whole key; of a study that is its study_key."""

    kind: Kind
    key: str
    study_uid: str
    """Empty of an object that does not say its study."""

    def __str__(self) -> str:
        return f"{self.kind} {self.study_uid if self.kind is Kind.STUDY else self.key[:16]}"


_BEGINNING: Final = {
    Kind.STUDY: (
        "SELECT study_key AS key, study_uid FROM studies WHERE study_key >= ? AND study_key < ? LIMIT ?",
        "SELECT study_key AS key, study_uid FROM studies WHERE study_uid >= ? AND study_uid < ? LIMIT ?",
    ),
    Kind.JOB: ("SELECT job_key AS key, study_uid FROM jobs WHERE job_key >= ? AND job_key < ? LIMIT ?",),
    Kind.DELIVERY: ("SELECT key, study_uid FROM deliveries WHERE key >= ? AND key < ? LIMIT ?",),
    Kind.OBJECT: (
        "SELECT key, coalesce(study_uid, '') AS study_uid FROM quarantine WHERE key >= ? AND key < ? LIMIT ?",
    ),
}
OF_STUDIES: Final = (Kind.STUDY, Kind.JOB, Kind.DELIVERY)
"""What belongs to a study."""


def beginning_with(ledger: Ledger, key: str, kinds: Collection[Kind] = OF_STUDIES) -> list[Named]:
    """What may be meant; one where it is clear, whose key is exactly that or who alone begins so.

    Parameters
    ----------
    key
        The whole or the beginning of a key, or of a Study Instance UID; an empty one means nothing.
    """
    if not key:
        return []
    found: dict[Named, None] = {}
    for kind in kinds:
        for sql in _BEGINNING[kind]:
            for row in ledger.read(sql, (key, f"{key}\U0010ffff", MOST_NAMED)):
                one = Named(kind, row["key"], row["study_uid"])
                if key == row["key"] or (kind is Kind.STUDY and key == row["study_uid"]):
                    return [one]
                found[one] = None
    return list(found)
