"""What was put aside: why, what to do about it, and how a person ends the waiting.

Nothing that its sender was answered for is removed here but by age (`retention.quarantine_days`): what is
dismissed stays where it lies, and nobody is asked about it any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.events import ObjectDismissed

from .records import QuarantineRow, utc_now
from .removals import Gone, plan_removal
from .store import Ledger
from .transaction import NotPossible, Transaction

HELD: Final = "held"
"""The reason of a job that waits for a person; the others are of objects."""


@dataclass(frozen=True)
class Reason:
    """What a code means, in two sentences for a person."""

    what: str
    to_do: str
    may_be_taken_in: bool = False
    """Whether the object itself may be sound: then it can be taken in after all."""


_SEND_AGAIN: Final = "Send the study again from where it is whole, then dismiss this."
_REPAIR: Final = "Have it corrected where it was made, and send it again; then dismiss this."
_SAME_UID: Final = (
    "Find out at the sender which of the two is right. If it is this one, forget the study here and send it "
    "again; else dismiss this."
)

REASONS: Final[Mapping[str, Reason]] = {
    HELD: Reason(
        "A job is held before its result goes out.",
        "Look at its study. Release lets the job go on; Cancel ends it, and nothing of it is sent.",
        may_be_taken_in=True,
    ),
    "not_dicom": Reason("What came cannot be parsed as DICOM.", _REPAIR),
    "empty": Reason("The object has no attributes at all.", _SEND_AGAIN),
    "cut_short": Reason("The object ends in the middle.", _SEND_AGAIN),
    "pixels_cut_short": Reason("The image has less pixel data than it says.", _SEND_AGAIN),
    "no_pixels": Reason("The image has no pixel data.", _SEND_AGAIN),
    "no_uids": Reason("A UID is missing by which the object would be filed.", _REPAIR),
    "invalid_uid": Reason("A UID of the object is none (PS3.5 9.1).", _REPAIR),
    "unknown_vr": Reason("An element has a value representation that DICOM does not know.", _REPAIR),
    "unreadable_geometry": Reason("Where its pixels lie cannot be read.", _REPAIR),
    "unreadable_sequence": Reason("A sequence of the object cannot be parsed.", _REPAIR),
    "nested_too_deep": Reason("Its sequences lie deeper in each other than anybody needs.", _REPAIR),
    "too_many_elements": Reason("Its header has more elements than can be held in memory.", _REPAIR),
    "unknown_transfer_syntax": Reason(
        "Its transfer syntax is not one of DICOM's.",
        "Let the sender use another transfer syntax, and send the study again; then dismiss this.",
    ),
    "inflates_too_far": Reason(
        "The deflated object is too long once it is inflated.",
        "Let the sender use another transfer syntax, and send the study again; then dismiss this.",
    ),
    "command_differs": Reason(
        "The request named another object than the one that came with it.",
        "Look at its header. Release takes it in as what it says itself; correct the sender, which mixes up"
        " objects.",
        may_be_taken_in=True,
    ),
    "another_study": Reason(
        "It was sent to the address of another study than its own.",
        "Look at its header. Release files it under the study that it names itself; correct the sender.",
        may_be_taken_in=True,
    ),
    "series_in_two_studies": Reason(
        "Its series is known here as one of another study.",
        "Correct it at the sender and send it again, then dismiss this. If the other study was wrong and is"
        " forgotten by now, Release takes it in.",
        may_be_taken_in=True,
    ),
    "same_uid_elsewhere": Reason("The same instance is kept under another study or series.", _SAME_UID),
    "same_uid_other_geometry": Reason("The same instance is kept with another geometry.", _SAME_UID),
    "same_uid_other_pixels": Reason("The same instance is kept with other pixels.", _SAME_UID),
    "our_result_other_pixels": Reason(
        "It has the UID of a result that was made here, and other pixels: somebody edited it in place.",
        "Save the edited one as a new object and send that; then dismiss this.",
    ),
    "rejection_not_understood": Reason("The rejection note cannot be understood.", _REPAIR),
    "rejection_of_another_study": Reason(
        "The note rejects instances of another study than its own.", _REPAIR
    ),
    "rejection_of_another_patient": Reason("The note rejects images of another patient.", _REPAIR),
    "found_again": Reason(
        "It lay in quarantine when the ledger was made anew; why is not known any more.",
        "Look at its header. Release takes it in if it is sound, and says why where it is not.",
        may_be_taken_in=True,
    ),
}
"""By code. A test finds every code with which something is put aside."""

_OTHERWISE: Final = Reason(
    "It was put aside by another version of this gateway.",
    "Look at its header, then send it again, or dismiss it.",
)


def reason_of(code: str) -> Reason:
    """What a code means."""
    return REASONS.get(code, _OTHERWISE)


def put_aside_row(ledger: Ledger, key: str) -> QuarantineRow | None:
    """What is known of an object that was put aside, dismissed or not; None where there is none."""
    rows = ledger.read("SELECT * FROM quarantine WHERE key = ?", (key,))
    return QuarantineRow.of(rows[0]) if rows else None


def dismiss(transaction: Transaction, key: str) -> None:
    """Say that nobody has to look at an object any more; its file stays until it is old.

    Raises
    ------
    NotPossible
        It is gone, or was dismissed before.
    """
    row = _row(transaction, key)
    if row.dismissed_at is not None:
        raise NotPossible(f"this object was dismissed before, on {row.dismissed_at[:10]}")
    transaction.update(
        "quarantine", "key", key, {"dismissed_at": utc_now(), "dismissed_by": transaction.author}
    )
    _note(transaction, "instance.dismissed", row)


def took_in(transaction: Transaction, key: str) -> None:
    """Take an object out of the quarantine that was filed after all.

    Raises
    ------
    NotPossible
        It is gone.
    """
    row = _row(transaction, key)
    transaction.execute("DELETE FROM quarantine WHERE key = ?", (key,))
    plan_removal(transaction, Gone.FILE, [row.path])  # the object lies in the archive by now
    _note(transaction, "instance.released", row)


def _row(transaction: Transaction, key: str) -> QuarantineRow:
    found = transaction.one("SELECT * FROM quarantine WHERE key = ?", (key,))
    if found is None:
        raise NotPossible("this object is gone meanwhile")
    return QuarantineRow.of(found)


def _note(transaction: Transaction, event: str, row: QuarantineRow) -> None:
    known = transaction.one("SELECT 1 FROM studies WHERE study_uid = ?", (row.study_uid,))
    transaction.transitions.append(event)
    transaction.note(event, study_uid=row.study_uid if known else None, key=row.key, reason=row.sentence)
    transaction.publish(ObjectDismissed(row.key, row.reason))
