"""Instances in the ledger: what was stored, what was put aside, which association touched which study."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.events import InstanceStored, ObjectQuarantined

from .corrections import expect_correction
from .records import InstanceRow, utc_now
from .rejected import why_rejected
from .removals import Gone, keep_file, plan_removal
from .states import StudyEvent, StudyState
from .store import Ledger
from .traits import Trait, note_trait
from .transaction import Transaction

_AFTER_SLASH = chr(ord("/") + 1)
"""Paths below a folder lie, in order, between it with a slash and with what comes after the slash."""

FOUND_AT_START: Final = "(found at start)"
"""The sender of files that lay here unknown: after a crash, or where the ledger was made anew."""
BACKFILLED: Final = "(backfilled)"
"""The sender of what `iris backfill` fetched: its jobs stay behind those of live studies."""


@dataclass(frozen=True)
class StudyHeader:
    """What is kept of a study's header, for the operator who looks for it."""

    study_uid: str
    study_key: str
    patient_id: str
    accession_number: str
    study_date: str
    study_description: str


@dataclass(frozen=True)
class ArrivedInstance:
    """One instance that came in and is durable under `path` (below data_dir)."""

    study: StudyHeader
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    series_number: int | None
    series_description: str
    path: str
    size_bytes: int
    header_sha256: str
    pixel_sha256: str
    geometry_sha256: str
    of_use: bool
    why_not: str
    sender: str
    identifying_sha256: str = ""
    """Of what says whose image it is, in whatever transfer syntax; empty: not known."""
    may_be_correction: bool = False
    """Whether it may be a result of ours that somebody edited: whoever looks at those will."""


@dataclass(frozen=True)
class RefusedObject:
    """One object that is kept in quarantine under `path`; `key` is the digest of its bytes."""

    key: str
    reason: str
    sentence: str
    path: str
    study_uid: str | None
    sop_instance_uid: str | None
    sender: str


def current_instance(ledger: Ledger, sop_instance_uid: str) -> InstanceRow | None:
    """The current revision of an instance, or None when it is not known."""
    rows = ledger.read(
        "SELECT * FROM instances WHERE sop_instance_uid = ? AND is_current = 1", (sop_instance_uid,)
    )
    return InstanceRow.of(rows[0]) if rows else None


def current_instances(ledger: Ledger, study_uid: str) -> list[InstanceRow]:
    """Every current instance of a study, in order of arrival."""
    rows = ledger.read(
        "SELECT * FROM instances WHERE study_uid = ? AND is_current = 1 ORDER BY received_at", (study_uid,)
    )
    return [InstanceRow.of(row) for row in rows]


def study_of_series(ledger: Ledger, series_uid: str) -> str | None:
    """The study that a series was first seen under, or None."""
    rows = ledger.read(
        "SELECT study_uid FROM instances WHERE series_uid = ? AND is_current = 1 LIMIT 1", (series_uid,)
    )
    return rows[0]["study_uid"] if rows else None


def result_of_ours(ledger: Ledger, sop_instance_uid: str) -> str | None:
    """Where that object lies, or lay, below data_dir, if this gateway made it; None where it did not."""
    rows = ledger.read("SELECT path FROM result_objects WHERE sop_instance_uid = ?", (sop_instance_uid,))
    return str(rows[0]["path"]) if rows else None


def names_of_known_files(ledger: Ledger, folder: str) -> set[str]:
    """The names of the files in one folder, below data_dir, that the ledger answers for or has removed."""
    begins, ends = f"{folder}/", f"{folder}{_AFTER_SLASH}"
    rows = ledger.read(
        "SELECT path FROM instances WHERE path > ? AND path < ?"
        " UNION SELECT name FROM removals WHERE kind = ? AND name > ? AND name < ?",
        (begins, ends, Gone.FILE, begins, ends),
    )
    return {row["path"].removeprefix(f"{folder}/") for row in rows}


def is_known_file(ledger: Ledger, path: str) -> bool:
    """Whether the ledger answers for this file of an instance, below data_dir, or has it removed."""
    sql = (
        "SELECT 1 FROM instances WHERE path = ? UNION ALL SELECT 1 FROM removals WHERE kind = ? AND name = ?"
    )
    return bool(ledger.read(sql, (path, Gone.FILE, path)))


def is_done(ledger: Ledger, study_uid: str) -> bool:
    """Whether a study is done."""
    rows = ledger.read("SELECT state FROM studies WHERE study_uid = ?", (study_uid,))
    return bool(rows) and rows[0]["state"] == StudyState.DONE


def store_instance(transaction: Transaction, arrived: ArrivedInstance, association: int) -> None:
    """Record a new instance, or a new revision of a known one; its study is receiving from now on."""
    now = utc_now()
    study_uid = arrived.study.study_uid
    previous = transaction.one(
        "SELECT max(revision) AS revision FROM instances WHERE sop_instance_uid = ?",
        (arrived.sop_instance_uid,),
    )
    revision = 1 + ((previous["revision"] if previous else None) or 0)
    uid, patient_id = arrived.sop_instance_uid, arrived.study.patient_id
    rejected = why_rejected(transaction, uid, study_uid, patient_id)
    _study_is_receiving(transaction, arrived, now, is_new=revision == 1)
    if revision > 1:
        transaction.execute(
            "UPDATE instances SET is_current = 0 WHERE sop_instance_uid = ?", (arrived.sop_instance_uid,)
        )
        transaction.note("instance.corrected", study_uid=study_uid, revision=revision)
    transaction.insert(
        "instances",
        {
            "sop_instance_uid": arrived.sop_instance_uid,
            "revision": revision,
            "is_current": 1,
            "study_uid": study_uid,
            "series_uid": arrived.series_uid,
            "sop_class_uid": arrived.sop_class_uid,
            "transfer_syntax_uid": arrived.transfer_syntax_uid,
            "modality": arrived.modality,
            "series_number": arrived.series_number,
            "series_description": arrived.series_description,
            "path": arrived.path,
            "size_bytes": arrived.size_bytes,
            "header_sha256": arrived.header_sha256,
            "pixel_sha256": arrived.pixel_sha256,
            "geometry_sha256": arrived.geometry_sha256,
            "of_use": int(arrived.of_use and rejected is None),
            "why_not": rejected or arrived.why_not,
            "sender": arrived.sender,
            "received_at": now,
            "identifying_sha256": arrived.identifying_sha256,
        },
    )
    note_trait(transaction, study_uid, Trait.SENDER, arrived.sender)
    if arrived.modality:
        note_trait(transaction, study_uid, Trait.MODALITY, arrived.modality)
    keep_file(transaction, arrived.path)
    _images_are_back(transaction, study_uid)
    if arrived.may_be_correction:
        expect_correction(transaction, arrived.sop_instance_uid, study_uid)
    transaction.publish(InstanceStored(study_uid, association))


def note_lost_file(transaction: Transaction, known: InstanceRow) -> None:
    """Record that the file of a known instance is lost or damaged, and that what came takes its place."""
    transaction.note("instance.file_lost", study_uid=known.study_uid, revision=known.revision)


def renew_file(
    transaction: Transaction, known: InstanceRow, arrived: ArrivedInstance, association: int
) -> None:
    """Record where a known instance lies now that came again because its file was lost.

    It is the same instance: no revision, no other identity, and a study that is complete stays so. One that
    still waits for it is looked at again.
    """
    if _is_removed(transaction, known):  # since the caller looked
        bring_back(transaction, known, arrived, association)
        return
    transaction.execute(
        "UPDATE instances SET path = ?, size_bytes = ? WHERE path = ?",
        (arrived.path, arrived.size_bytes, known.path),
    )
    keep_file(transaction, arrived.path)
    look_again(transaction, known, association)


def bring_back(
    transaction: Transaction, known: InstanceRow, arrived: ArrivedInstance, association: int
) -> bool:
    """Record that a file that was removed for its age is here again, where its study waits for it.

    Returns
    -------
    False where its study is done: nobody waits for it, and what came goes again.
    """
    study = transaction.study(known.study_uid)
    if study.state is StudyState.DONE:
        plan_removal(transaction, Gone.FILE, [arrived.path])
        return False
    transaction.execute(
        "UPDATE instances SET path = ?, size_bytes = ?, transfer_syntax_uid = ?, header_sha256 = ?,"
        " removed_at = NULL WHERE sop_instance_uid = ? AND revision = ?",
        (
            arrived.path,
            arrived.size_bytes,
            arrived.transfer_syntax_uid,  # its pixels' digest stays: it is the same image in another one
            arrived.header_sha256,
            known.sop_instance_uid,
            known.revision,
        ),
    )
    keep_file(transaction, arrived.path)
    _images_are_back(transaction, known.study_uid)
    if study.state is not StudyState.RECEIVING:
        transaction.move_study(known.study_uid, StudyEvent.INSTANCE_STORED, sender=arrived.sender)
    look_again(transaction, known, association)
    return True


def _is_removed(transaction: Transaction, known: InstanceRow) -> bool:
    row = transaction.one(
        "SELECT removed_at FROM instances WHERE sop_instance_uid = ? AND revision = ?",
        (known.sop_instance_uid, known.revision),
    )
    return row is not None and row["removed_at"] is not None


def _images_are_back(transaction: Transaction, study_uid: str) -> None:
    """Forget that images were removed when all that count are here again."""
    missing = transaction.one(
        "SELECT 1 FROM instances WHERE study_uid = ? AND removed_at IS NOT NULL AND is_current = 1 LIMIT 1",
        (study_uid,),
    )
    if missing is None:
        transaction.execute(
            "UPDATE studies SET images_removed_at = NULL"
            " WHERE study_uid = ? AND images_removed_at IS NOT NULL",
            (study_uid,),
        )


def look_again(transaction: Transaction, known: InstanceRow, association: int) -> None:
    """Let a study that is receiving wait for its sender anew."""
    now = utc_now()
    cursor = transaction.execute(
        "UPDATE studies SET last_instance_at = ?, updated_at = ?,"
        " evidence = CASE evidence WHEN 'aborted' THEN evidence END,"  # taken back by its sender only
        " evidence_at = CASE evidence WHEN 'aborted' THEN evidence_at END,"
        " generation = generation + 1 WHERE study_uid = ? AND state = ?",
        (now, now, known.study_uid, StudyState.RECEIVING),
    )
    if cursor.rowcount:
        transaction.publish(InstanceStored(known.study_uid, association))


def _study_is_receiving(
    transaction: Transaction, arrived: ArrivedInstance, now: str, *, is_new: bool
) -> None:
    header = arrived.study
    called = {
        "patient_id": header.patient_id,
        "accession_number": header.accession_number,
        "study_date": header.study_date,
        "study_description": header.study_description,
    }
    row = transaction.one("SELECT * FROM studies WHERE study_uid = ?", (header.study_uid,))
    if row is None:
        transaction.insert(
            "studies",
            {
                "study_uid": header.study_uid,
                "study_key": header.study_key,
                "state": StudyState.RECEIVING,
                "received_at": now,
                "last_instance_at": now,
                "updated_at": now,
                **called,
            },
        )
    elif arrived.of_use and any(row[name] != value for name, value in called.items()):
        # A report or an edited segmentation may say less, or belong to somebody else.
        transaction.update("studies", "study_uid", header.study_uid, called)
    was_receiving = row is not None and row["state"] == StudyState.RECEIVING
    if not was_receiving:
        transaction.move_study(header.study_uid, StudyEvent.INSTANCE_STORED, sender=arrived.sender)
    transaction.execute(
        "UPDATE studies SET last_instance_at = ?, updated_at = ?,"
        " evidence = CASE WHEN evidence = 'aborted' AND ? THEN evidence END,"  # by its sender only
        " evidence_at = CASE WHEN evidence = 'aborted' AND ? THEN evidence_at END,"
        " generation = generation + 1, images = images + ? WHERE study_uid = ?",
        (
            now,
            now,
            was_receiving,
            was_receiving,
            int(is_new),
            header.study_uid,
        ),
    )


def note_same_instance(transaction: Transaction, study_uid: str, transfer_syntax_uid: str) -> None:
    """Record that a known instance came again in another transfer syntax; the first is kept."""
    transaction.note("instance.again", study_uid=study_uid, transfer_syntax_uid=transfer_syntax_uid)


def note_our_own_result(transaction: Transaction, study_uid: str) -> None:
    """Record that a result of ours came back; it is never an input."""
    known = transaction.one("SELECT 1 FROM studies WHERE study_uid = ?", (study_uid,))
    transaction.note("instance.our_own_result", study_uid=study_uid if known else None)


def put_aside(transaction: Transaction, refused: RefusedObject) -> None:
    """Record an object in quarantine; the same bytes again only count up (a sender may try for ever)."""
    now = utc_now()
    keep_file(transaction, refused.path)
    row = transaction.one(
        "INSERT INTO quarantine (key, reason, sentence, path, study_uid, sop_instance_uid, sender,"
        " first_at, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET times = times + 1, last_at = excluded.last_at RETURNING times",
        (
            refused.key,
            refused.reason,
            refused.sentence,
            refused.path,
            refused.study_uid,
            refused.sop_instance_uid,
            refused.sender,
            now,
            now,
        ),
    )
    if row is not None and row["times"] > 1:
        return
    known = transaction.one("SELECT 1 FROM studies WHERE study_uid = ?", (refused.study_uid,))
    transaction.note(
        "instance.quarantined",
        study_uid=refused.study_uid if known else None,
        key=refused.key,
        reason=refused.sentence,
    )
    transaction.publish(ObjectQuarantined(refused.key, refused.reason))


def association_closed(
    transaction: Transaction, study_uids: Iterable[str], *, released: bool, sender: str, opened_at: str = ""
) -> None:
    """Record how the association that touched these studies ended.

    A release is evidence that the sender had no more to say; an abort is none, and stays so until the same
    sender released an association that it opened afterwards: what was broken off is still to come, whatever
    other associations and senders say.
    """
    now = utc_now()
    for study_uid in study_uids:
        row = transaction.one("SELECT images, state, evidence FROM studies WHERE study_uid = ?", (study_uid,))
        transaction.note(
            "association.released" if released else "association.aborted",
            study_uid=study_uid,
            sender=sender,
            instances=row["images"] if row else 0,
            **({"opened_at": opened_at} if opened_at else {}),
        )
        if row is None or row["state"] != StudyState.RECEIVING:
            continue
        if released and row["evidence"] == "aborted" and _is_broken_off(transaction, study_uid):
            continue
        transaction.execute(
            "UPDATE studies SET evidence = ?, evidence_at = ? WHERE study_uid = ?",
            ("released" if released else "aborted", now, study_uid),
        )


def _is_broken_off(transaction: Transaction, study_uid: str) -> bool:
    """Whether a sender aborted since the study was last complete, and did not come back and release."""
    rows = transaction.execute(
        "SELECT at, event, detail FROM events WHERE study_uid = ? AND event IN"
        " ('association.aborted', 'association.released', 'study.completed') ORDER BY seq",
        (study_uid,),
    )
    broken_off: dict[str, str] = {}  # sender -> when
    for row in rows:
        if row["event"] == "study.completed":
            broken_off.clear()
            continue
        detail = json.loads(row["detail"])
        sender = detail["sender"]
        if row["event"] == "association.aborted":
            broken_off[sender] = row["at"]
        elif broken_off.get(sender, "") <= detail.get("opened_at", ""):
            broken_off.pop(sender, None)
    return bool(broken_off)
