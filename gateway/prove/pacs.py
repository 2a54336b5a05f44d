"""The PACS under test, as the proof asks it: stored, looked for, fetched."""

import hashlib
import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE
from gateway.adapters.dicom.implementation import implementation_of
from gateway.adapters.dicom.peer import NothingAccepted, NotReached, Peer, association
from gateway.adapters.dicom.retrieval import NotAnswered, find, get, move
from gateway.adapters.errors import Retriable
from gateway.config.outputs import Form
from gateway.delivery.sending import Sent, send_files, taken_forms
from gateway.taken import Refusal, and_uncompressed

from .web import WebPacs

SETTLE_S: Final = 5.0
"""A PACS may answer a query from an index that is a little behind."""
LOOK_EVERY_S: Final = 0.25
SUCCESS: Final = 0x0000
_Way = Callable[[Dataset, Path], Sequence[Path]]
"""Fetches the series of what has such a header; raises NotAnswered where it gives nothing."""


@dataclass(frozen=True)
class Hello:
    """What a PACS says of itself when an association is made (PS3.8 D.1, PS3.7 D.3.3.2)."""

    implementation: str
    largest_pdu_bytes: int
    """It takes no larger one; 0: any."""
    offers_commitment: bool


@dataclass(frozen=True)
class Listening:
    """Where this process takes what C-MOVE sends: the PACS knows the AE title with this port."""

    ae_title: str
    port: int


class Pacs:
    """One PACS.

    Parameters
    ----------
    calling_ae_title
        As whom it is called.
    listening
        Where it may send to by C-MOVE; None: nowhere.
    web
        The same PACS by DICOMweb; None: that is not known.
    """

    def __init__(
        self, peer: Peer, calling_ae_title: str, listening: Listening | None, web: WebPacs | None = None
    ) -> None:
        self.peer, self.calling_ae_title = peer, calling_ae_title
        self._listening, self._web = listening, web
        self._ways: list[tuple[str, _Way]] = [("C-GET", self._got)]
        if listening is not None:
            self._ways.append(("C-MOVE", self._moved))
        if web is not None:
            self._ways.append(("WADO-RS", self._from_web))
        self.fetches_by = "C-GET"
        """The service by which an object came last, or is asked for first."""
        self.has_find = True

    def hello(self) -> Hello:
        """C-ECHO, and what is negotiated by the way.

        Raises
        ------
        NotReached
        """
        contexts = [build_context(Verification), build_context(StorageCommitmentPushModel)]
        with association(self.peer, self.calling_ae_title, contexts) as opened:
            if opened.send_c_echo().get("Status") != SUCCESS:
                raise NotReached(f"{self.peer} did not answer C-ECHO with success; look at its log")
            accepted = {context.abstract_syntax for context in opened.accepted_contexts}
            return Hello(
                str(implementation_of(opened)),
                int(opened.acceptor.maximum_length or 0),
                StorageCommitmentPushModel in accepted,
            )

    def store(self, paths: Sequence[Path]) -> list[Sent]:
        """C-STORE of files on one association: one for each up to the first without an answer.

        Raises
        ------
        NotReached, NotSendable, OSError
        """
        return send_files(paths, self.peer, self.calling_ae_title)

    def refusal(self, form: Form) -> Refusal | None:
        """What it does not take of a form when an association is negotiated; None: it takes it.

        Raises
        ------
        NotReached
        """
        taken = taken_forms(and_uncompressed([form]), self.peer, self.calling_ae_title)
        return None if form in taken.forms else taken.refusal(form)

    def shown(self, study_uid: str, series_uid: str, wanted: int) -> set[str] | None:
        """SOP Instance UIDs that it shows of a series by C-FIND, or by a search; None: it cannot be asked.

        Parameters
        ----------
        wanted
            So many are waited for, for a moment.

        Raises
        ------
        NotReached
        """
        give_up_at = time.monotonic() + SETTLE_S
        while (uids := self._shown_now(study_uid, series_uid)) is not None:
            if len(uids) >= wanted or time.monotonic() > give_up_at:
                return uids
            time.sleep(LOOK_EVERY_S)
        return None

    def _shown_now(self, study_uid: str, series_uid: str) -> set[str] | None:
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
        if self.has_find:
            try:
                answers = find(self.peer, self.calling_ae_title, "IMAGE", keys)
            except (NotAnswered, NothingAccepted):
                self.has_find = False
            else:
                ours = [one for one in answers if str(one.get("SeriesInstanceUID", series_uid)) == series_uid]
                return {str(one.get("SOPInstanceUID", "")) for one in ours}
        try:
            return None if self._web is None else self._web.shown(study_uid, series_uid)
        except Retriable:
            return None

    def series_of(self, study_uid: str) -> set[str] | None:
        """Series Instance UIDs of a study; None where it cannot be asked.

        Raises
        ------
        NotReached
        """
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": ""}
        try:
            answers = find(self.peer, self.calling_ae_title, "SERIES", keys)
        except (NotAnswered, NothingAccepted):
            return None
        return {str(each.get("SeriesInstanceUID", "")) for each in answers}

    def delete(self, study_uid: str) -> None:
        """Have a study deleted where that can be asked for; whether it is gone is another question."""
        if self._web is not None:
            with suppress(Retriable):
                self._web.delete(study_uid)

    def fetch(self, made: Path, folder: Path) -> Path | None:
        """Fetch the object that a file was stored from; None where its series comes without it.

        Raises
        ------
        NotReached, NotAnswered
            By none of the ways that there are: what the first of them said.
        """
        header = dcmread(made, stop_before_pixels=True)
        refusal = None
        for name, way in list(self._ways):
            try:
                paths = way(header, folder)
            except NotAnswered as error:
                refusal = refusal or error
                continue
            self.fetches_by = name
            self._ways.sort(key=lambda each: each[0] != self.fetches_by)
            return next((path for path in paths if _uid_of(path) == header.SOPInstanceUID), None)
        assert refusal is not None  # there is a first way
        raise refusal

    def _got(self, header: Dataset, folder: Path) -> Sequence[Path]:
        return get(
            self.peer,
            self.calling_ae_title,
            folder,
            sop_class_uids=[str(header.SOPClassUID)],
            study_uid=str(header.StudyInstanceUID),
            series_uid=str(header.SeriesInstanceUID),
        )

    def _moved(self, header: Dataset, folder: Path) -> Sequence[Path]:
        assert self._listening is not None
        folder.mkdir(parents=True, exist_ok=True)
        with _receiving(self._listening, folder, self.peer) as arrived:
            move(
                self.peer,
                self.calling_ae_title,
                self._listening.ae_title,
                study_uid=str(header.StudyInstanceUID),
                series_uid=str(header.SeriesInstanceUID),
            )
        return arrived

    def _from_web(self, header: Dataset, folder: Path) -> Sequence[Path]:
        assert self._web is not None
        try:
            found = self._web.fetch(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), folder)
        except Retriable as error:
            raise NotAnswered(str(error)) from None
        if not found:
            raise NotAnswered(f"{self.peer} gives nothing by WADO-RS; look at its log")
        return found


def _uid_of(path: Path) -> str:
    return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


@contextmanager
def _receiving(listening: Listening, folder: Path, peer: Peer) -> Iterator[list[Path]]:
    """Take what is sent to our port, into a folder, while the block lasts."""
    arrived: list[Path] = []

    def take(event: Event) -> int:
        uid = str(event.file_meta.MediaStorageSOPInstanceUID)
        target = folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:16]}.dcm"
        target.write_bytes(event.encoded_dataset())
        arrived.append(target)
        return SUCCESS

    entity = AE(listening.ae_title)
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(LABEL_MAP_SEGMENTATION_STORAGE)
    server = entity.start_server(
        (_own_side_of(peer), listening.port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    assert server is not None  # it is None only for a server that blocks
    try:
        yield arrived
    finally:
        server.shutdown()


def _own_side_of(peer: Peer) -> str:
    """The address to listen at: this machine's own where the PACS is on it, else every one."""
    try:
        is_here = ipaddress.ip_address(peer.host).is_loopback
    except ValueError:
        is_here = peer.host == "localhost"
    return "127.0.0.1" if is_here else ""
