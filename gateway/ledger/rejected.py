"""What was rejected by a note, and why (IHE RAD TF-1 35, Imaging Object Change Management)."""

from collections.abc import Mapping
from typing import Final

from .transaction import Transaction

QUALITY: Final = "113001"
PATIENT_SAFETY: Final = "113037"
EXPIRED: Final = "113039"
MEANINGS: Final[Mapping[str, str]] = {
    QUALITY: "rejected for quality reasons",
    PATIENT_SAFETY: "rejected for patient safety reasons",
    "113038": "incorrect modality worklist entry",
    EXPIRED: "data retention policy expired",
}
"""The document titles of rejection notes (PS3.16 CID 7011), of the coding scheme DCM."""


def why_not(code: str) -> str:
    """Why a rejected instance is of no use."""
    return f"the PACS rejected it ({code}, {MEANINGS[code]})"


def why_no_slice(code: str, objects: int) -> str:
    """Why a rejection note about so many objects is no slice of a volume."""
    return f"a rejection note about {objects} object{'s' if objects > 1 else ''} ({code}, {MEANINGS[code]})"


def why_rejected(
    transaction: Transaction, sop_instance_uid: str, study_uid: str, patient_id: str
) -> str | None:
    """Why an instance that comes is of no use, where a note named it before; None where none did.

    What comes after its retention period had expired is wanted again: that does not count any more.
    """
    transaction.execute(
        "DELETE FROM rejections WHERE sop_instance_uid = ? AND study_uid = ? AND code = ?",
        (sop_instance_uid, study_uid, EXPIRED),
    )
    row = transaction.one(
        "SELECT code FROM rejections WHERE sop_instance_uid = ? AND study_uid = ?"
        " AND (patient_id = '' OR ? = '' OR patient_id = ?) LIMIT 1",
        (sop_instance_uid, study_uid, patient_id, patient_id),
    )
    return why_not(row["code"]) if row is not None else None


def is_rejected(transaction: Transaction, sop_instance_uid: str) -> bool:
    """Whether a note named an object: it is not sent again by itself."""
    sql = "SELECT 1 FROM rejections WHERE sop_instance_uid = ? LIMIT 1"
    return transaction.one(sql, (sop_instance_uid,)) is not None


def said_of(transaction: Transaction, sop_instance_uid: str) -> str:
    """That an object was rejected, and as what; empty where no note named it."""
    sql = "SELECT code FROM rejections WHERE sop_instance_uid = ? LIMIT 1"
    row = transaction.one(sql, (sop_instance_uid,))
    return why_not(row["code"]) if row is not None else ""
