"""What happens to one object that came in, and what its sender is answered: the only place that decides it.

0x0000 follows: content fsync, rename, fsync of the directories, commit of the ledger. What cannot be taken is
put into quarantine in the same way; what cannot be made durable is answered 0xA700, and the sender keeps it.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from pydicom.uid import UID

from gateway.adapters.durable import file_digest
from gateway.files.locks import DataLocks
from gateway.ledger.corrections import SEGMENTATIONS
from gateway.ledger.instances import (
    FOUND_AT_START,
    ArrivedInstance,
    RefusedObject,
    StudyHeader,
    bring_back,
    current_instance,
    is_done,
    is_known_file,
    note_lost_file,
    note_our_own_result,
    note_same_instance,
    put_aside,
    renew_file,
    result_of_ours,
    store_instance,
    study_of_series,
)
from gateway.ledger.records import InstanceRow
from gateway.ledger.rejected import EXPIRED, why_no_slice, why_not
from gateway.ledger.rejections import Rejection, reject, use_again
from gateway.ledger.store import Ledger
from gateway.ledger.together import WritesTogether
from gateway.ledger.transaction import NotPossible, Transaction

from ..statuses import CANNOT_UNDERSTAND, KEPT_ASIDE, NOT_OF_THIS_STUDY, OUT_OF_RESOURCES, SUCCESS
from .again import Again, came_again, check_our_own
from .archive import Archive, content_digest, uid_part
from .attributes import identifying_digest, whole_number
from .header import ReadInstance
from .pixels import IMAGES_OF_USE
from .received import Received, found
from .refusals import Damaged, NotReadable
from .rejection import rejection_in

log = structlog.get_logger(__name__)

OTHER_UIDS = Damaged(
    "command_differs", "SOP class or instance UID of the request differ from those in the data set"
)
OTHER_STUDY = Damaged(
    "another_study", "the request was for another study than the data set says; correct the sender"
)


@dataclass(frozen=True)
class Sender:
    """Who sent an object, and on which association."""

    ae_title: str
    association: int


class _Releasing(Sender):
    """A person, for whoever sent an object that had been put aside."""


@dataclass(frozen=True)
class Taken:
    """What became of one object."""

    status: int
    """Of a C-STORE response."""
    study_uid: str | None = None
    """The study that it was filed under, if any."""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    """As it says itself, in its data set or else in its file meta information; empty where it does not."""
    is_again: bool = False
    """Whether it is known, and nothing of it is new."""


@dataclass(frozen=True)
class Said:
    """What a request says of the object that it brings; None: nothing."""

    sop_uids: tuple[str, str] | None = None
    """Affected SOP Class UID and Affected SOP Instance UID of a C-STORE request."""
    study_uid: str | None = None
    """The study that a STOW-RS request is for (PS3.18 10.5.1)."""


NOTHING_SAID = Said()

_THE_SAME = frozenset({Again.SAME, Again.RECODED})
_NOTHING_NEW = _THE_SAME | {Again.LOST}


@dataclass(frozen=True)
class _AsWhat:
    """What an object is that is kept: which known one, as what that came again, and what it rejects."""

    known: InstanceRow | None
    again: Again | None
    rejection: Rejection | None


FOUND = Sender(FOUND_AT_START, 0)
"""Of what lies in the archive without the ledger knowing it: nobody else has it to send it again."""


class Intake:
    """Takes objects that lie in an incoming file.

    Parameters
    ----------
    study_key_of
        Makes the opaque study key of a Study Instance UID.
    locks
        Those of whoever else moves or removes files here; None: nobody does.
    """

    def __init__(
        self,
        ledger: Ledger,
        archive: Archive,
        study_key_of: Callable[[str], str],
        locks: DataLocks | None = None,
    ) -> None:
        self._ledger = ledger
        self._writes = WritesTogether(ledger)
        self._archive = archive
        self._study_key_of = study_key_of
        # Two associations may send the same instance at once: one after the other, by the name of its file.
        # An association holds one at a time; who adopts a file under a strange name holds two.
        self._locks = locks or DataLocks()

    def file(self, received: Received, sender: Sender, said: Said = NOTHING_SAID) -> Taken:
        """File what was received; `said` is what its request says of it."""
        if received.is_durable:
            with structlog.contextvars.bound_contextvars(**self._about(received, sender)):
                try:
                    return self._take_file(received, sender, said)
                except (OSError, sqlite3.Error) as error:
                    number = getattr(error, "errno", None)
                    log.error("instance_not_durable", error=type(error).__name__, number=number)
                except Exception:
                    log.exception("intake_failed")
        return Taken(OUT_OF_RESOURCES, None, *received.sop_uids)

    def study_keys(self, study_uids: Iterable[str]) -> dict[str, str | list[str]]:
        """How a line of the log names studies: one by `study_key`, several by `study_keys`."""
        keys = [self._study_key_of(uid) for uid in study_uids]
        return {"study_key": keys[0]} if len(keys) == 1 else {"study_keys": keys}

    def _about(self, received: Received, sender: Sender) -> dict[str, str]:
        """What each line of the log says while an object is filed."""
        study_uid = received.read.text("StudyInstanceUID") if received.read is not None else ""
        named = {"study_key": self._study_key_of(study_uid)} if study_uid else {}
        return {"calling_ae_title": sender.ae_title, **named}

    def adopt(self, path: Path) -> bool:
        """File one file of the archive that the ledger does not know; False where it does by now.

        Nobody else writes to that name meanwhile: an association that stores the same instance waits.

        Raises
        ------
        OSError, sqlite3.Error
            It stays where it is.
        """
        name = str(path.relative_to(self._archive.data_dir))
        with self._locks.instances.of(path.name):
            if is_known_file(self._ledger, name) or not path.exists():
                return False
            self._take_file(found(path), FOUND, NOTHING_SAID)
            if path.exists() and not is_known_file(self._ledger, name):
                path.unlink()  # the same as a known one, whose own file is sound
            return True

    @property
    def data_dir(self) -> Path:
        """Below it the files lie."""
        return self._archive.data_dir

    def take_after_all(self, path: Path, ae_title: str) -> None:
        """File an object that had been put aside, under the name of who sent it, as what it says itself.

        The file may stay where it is: what is known already is not kept twice.

        Raises
        ------
        NotPossible
            It would be put aside again; the sentence says why.
        OSError, sqlite3.Error
        """
        self._take_file(found(path), _Releasing(ae_title, 0), NOTHING_SAID)

    def _take_file(self, received: Received, sender: Sender, said: Said) -> Taken:
        path, read, uids = received.path, received.read, received.sop_uids
        if received.why_not is not None:
            status = KEPT_ASIDE if isinstance(received.why_not, Damaged) else CANNOT_UNDERSTAND
            return Taken(self._refuse(path, received.why_not, sender, status), None, *uids)
        assert read is not None
        if said.sop_uids not in (None, uids):
            return Taken(self._refuse(path, OTHER_UIDS, sender, KEPT_ASIDE, read), None, *uids)
        if said.study_uid not in (None, read.text("StudyInstanceUID")):
            return Taken(self._refuse(path, OTHER_STUDY, sender, NOT_OF_THIS_STUDY, read), None, *uids)
        with self._locks.instances.of(uid_part(read.text("SOPInstanceUID"))):
            return self._file(path, read, sender, uids)

    def _file(self, path: Path, read: ReadInstance, sender: Sender, uids: tuple[str, str]) -> Taken:
        study_uid, sop_instance_uid = read.text("StudyInstanceUID"), read.text("SOPInstanceUID")
        ours = result_of_ours(self._ledger, sop_instance_uid)
        if ours is not None:
            return Taken(self._take_our_own(path, read, sender, self._archive.data_dir / ours), None, *uids)
        known = current_instance(self._ledger, sop_instance_uid)
        try:
            _check_series(read, study_of_series(self._ledger, read.text("SeriesInstanceUID")))
            rejection = rejection_in(self._ledger, path, read)
            again = came_again(self._archive, known, read, path) if known is not None else None
        except Damaged as contradiction:
            return Taken(self._refuse(path, contradiction, sender, KEPT_ASIDE, read), None, *uids)
        if again is Again.RECODED:
            self._writes.write(lambda to: note_same_instance(to, study_uid, read.transfer_syntax_uid))
        if again in _THE_SAME and known is not None and known.why_not == why_not(EXPIRED):
            again_here = self._arrived(read, known.path, sender, known.pixel_sha256)
            self._writes.write(lambda to: use_again(to, known, again_here, sender.association))
            return Taken(SUCCESS, study_uid, *uids)
        if again is Again.REMOVED and is_done(self._ledger, study_uid):
            return Taken(SUCCESS, study_uid, *uids, is_again=True)  # it did its part, and would do the same
        if again not in _THE_SAME:
            self._keep(path, read, sender, _AsWhat(known, again, rejection))
        return Taken(SUCCESS, study_uid, *uids, is_again=again in _NOTHING_NEW)

    def _take_our_own(self, path: Path, read: ReadInstance, sender: Sender, ours: Path) -> int:
        try:
            check_our_own(ours, read)
        except Damaged as contradiction:
            return self._refuse(path, contradiction, sender, KEPT_ASIDE, read)
        self._writes.write(lambda to: note_our_own_result(to, read.text("StudyInstanceUID")))
        return SUCCESS

    def _keep(self, path: Path, read: ReadInstance, sender: Sender, as_what: _AsWhat) -> None:
        """Move what came to its place, and write it down: as new, as a revision, or as what was lost."""
        known, again = as_what.known, as_what.again
        kept = self._archive.keep(
            path, read.text("StudyInstanceUID"), read.text("SOPInstanceUID"), content_digest(read)
        )
        # A correction has the pixels of what it corrects, whatever their bytes: its jobs stay the same.
        corrected = known if again is Again.CORRECTED else None
        arrived = self._arrived(
            read, kept, sender, corrected.pixel_sha256 if corrected else read.pixel_sha256
        )
        if note := as_what.rejection:
            arrived = replace(arrived, why_not=why_no_slice(note.code, len(note.instance_uids)))

        def write(transaction: Transaction) -> None:
            if known is not None and again in (Again.LOST, Again.REPLACED):
                note_lost_file(transaction, known)
            if known is not None and again is Again.REMOVED:
                bring_back(transaction, known, arrived, sender.association)
            elif known is not None and again is Again.LOST:
                renew_file(transaction, known, arrived, sender.association)
            else:
                store_instance(transaction, arrived, sender.association)
            if note is not None:
                reject(transaction, note)

        try:
            self._writes.write(write)
        except BaseException:
            # The sender is told to keep it: left here, it would be adopted over what comes instead.
            if sender is not FOUND and not is_known_file(self._ledger, kept):
                (self._archive.data_dir / kept).unlink(missing_ok=True)
            raise
        if known is not None and again in (Again.LOST, Again.REPLACED):
            log.warning("lost_file_kept_anew", study_key=arrived.study.study_key)

    def _refuse(
        self, path: Path, why: NotReadable, sender: Sender, status: int, read: ReadInstance | None = None
    ) -> int:
        if isinstance(sender, _Releasing):
            raise NotPossible(f"it cannot be taken in: {why.sentence}")
        key = file_digest(path)
        with self._locks.quarantine.of(key):
            kept = self._archive.put_aside(path, key)
            refused = RefusedObject(
                key=key,
                reason=why.code,
                sentence=why.sentence,
                path=kept,
                study_uid=read.text("StudyInstanceUID") if read else None,
                sop_instance_uid=read.text("SOPInstanceUID") if read else None,
                sender=sender.ae_title,
            )
            try:
                self._writes.write(lambda transaction: put_aside(transaction, refused))
            except BaseException:
                if sender is FOUND:  # nobody else would find it in the quarantine
                    (self._archive.data_dir / kept).replace(path)
                raise
        log.warning("object_quarantined", key=key[:16], reason=why.code)
        return status

    def _arrived(self, read: ReadInstance, kept: str, sender: Sender, pixel_sha256: str) -> ArrivedInstance:
        study_uid = read.text("StudyInstanceUID")
        of_use, why_not = _usefulness(read)
        return ArrivedInstance(
            study=StudyHeader(
                study_uid=study_uid,
                study_key=self._study_key_of(study_uid),
                patient_id=read.text("PatientID"),
                accession_number=read.text("AccessionNumber"),
                study_date=read.text("StudyDate"),
                study_description=read.text("StudyDescription"),
            ),
            series_uid=read.text("SeriesInstanceUID"),
            sop_instance_uid=read.text("SOPInstanceUID"),
            sop_class_uid=read.text("SOPClassUID"),
            transfer_syntax_uid=read.transfer_syntax_uid,
            modality=read.text("Modality"),
            series_number=whole_number(read.text("SeriesNumber")),
            series_description=read.text("SeriesDescription"),
            path=kept,
            size_bytes=read.size_bytes,
            header_sha256=read.header_sha256,
            pixel_sha256=pixel_sha256,
            geometry_sha256=read.geometry_sha256,
            of_use=of_use,
            why_not=why_not,
            sender=sender.ae_title,
            may_be_correction=read.text("SOPClassUID") in SEGMENTATIONS,
            identifying_sha256=identifying_digest(read.identifying),
        )


def _usefulness(read: ReadInstance) -> tuple[bool, str]:
    """Whether an instance can be a slice of a volume, and why not."""
    if read.is_our_own:
        return False, "a result of this software"
    sop_class = UID(read.text("SOPClassUID"))
    if sop_class not in IMAGES_OF_USE:
        return False, f"not a CT or MR image ({sop_class.name})"
    return True, ""


def _check_series(read: ReadInstance, filed_under: str | None) -> None:
    if filed_under is not None and filed_under != read.text("StudyInstanceUID"):
        raise Damaged(
            "series_in_two_studies",
            "its series is kept under another Study Instance UID; correct it at the sender and send it again",
        )
