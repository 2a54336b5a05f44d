"""A small PACS for machines without Orthanc: C-ECHO, C-STORE, C-FIND and C-GET over a folder.

It is a process of its own (`python -m gateway.demo.storage_scp FOLDER`), since pynetdicom's way of receiving
is a setting of the whole process. For demos and tests: it knows no users and forgets its index at its end.
"""

import fnmatch
import hashlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from gateway.adapters.durable import write_durably

from .loopback import LOOPBACK, PACS_AE_TITLE

PORT_NAME = "dicom-port"

SUCCESS, PENDING = 0x0000, 0xFF00
IDENTIFIER_DOES_NOT_MATCH = 0xA900
"""PS3.4 C.4.1.1.4 and C.4.3.1.4: the identifier does not fit the SOP class."""
CANNOT_UNDERSTAND = 0xC000
"""PS3.4 B.2.3."""

LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_NOT_KEYS = ("QueryRetrieveLevel", "SpecificCharacterSet")


@dataclass(frozen=True)
class _Held:
    """One object in the folder."""

    path: Path
    header: Dataset


class Index:
    """What the folder holds, by SOP Instance UID."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def add(self, path: Path, header: Dataset) -> None:
        """Remember one object; the first under a UID stays."""
        with self._lock:
            self._held.setdefault(str(header.SOPInstanceUID), _Held(path, header))

    def holds(self, sop_instance_uid: str) -> bool:
        """Whether an object with this UID is there."""
        with self._lock:
            return sop_instance_uid in self._held

    def objects(self, identifier: Dataset) -> list[_Held]:
        """The objects that match all unique keys of an identifier."""
        keys = Dataset()
        for keyword in LEVELS.values():
            if keyword in identifier:
                keys[keyword] = identifier[keyword]
        with self._lock:
            held = list(self._held.values())
        return [one for one in held if _matches(one.header, keys)]

    def answers(self, identifier: Dataset, level: str) -> Iterator[Dataset]:
        """One data set for each study, series or image that matches, with the keys that were asked for."""
        with self._lock:
            held = list(self._held.values())
        groups: dict[str, list[Dataset]] = {}
        for one in held:
            groups.setdefault(str(one.header.get(LEVELS[level])), []).append(one.header)
        for headers in groups.values():
            described = _describe(headers)
            if _matches(described, identifier):
                yield _asked_for(described, identifier, level)


def _describe(headers: list[Dataset]) -> Dataset:
    """The first header of a group, with what is counted over all of it (PS3.4 C.3.4)."""
    described = Dataset()
    described.update(headers[0])
    described.ModalitiesInStudy = sorted({str(h.get("Modality", "")) for h in headers})
    described.NumberOfStudyRelatedSeries = len({h.get("SeriesInstanceUID") for h in headers})
    described.NumberOfStudyRelatedInstances = len(headers)
    described.NumberOfSeriesRelatedInstances = len(headers)
    return described


def _matches(header: Dataset, identifier: Dataset) -> bool:
    return all(_element_matches(header, key) for key in identifier if key.keyword not in _NOT_KEYS)


def _element_matches(header: Dataset, key: DataElement) -> bool:
    """Universal, single value, list of UIDs, wild card and range matching (PS3.4 C.2.2.2)."""
    wanted = _texts(key)
    if not any(wanted):
        return True
    values = _texts(header[key.tag]) if key.tag in header else [""]
    if key.VR in ("DA", "TM") and "-" in wanted[0]:
        first, _, last = wanted[0].partition("-")
        return any(first <= value and (not last or value <= last) for value in values if value)
    return any(fnmatch.fnmatchcase(value, pattern) for value in values for pattern in wanted)


def _texts(element: DataElement) -> list[str]:
    value = element.value
    if value is None:
        return [""]
    return [str(item) for item in value] if isinstance(value, MultiValue | list) else [str(value)]


def _asked_for(described: Dataset, identifier: Dataset, level: str) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = level
    answer.RetrieveAETitle = PACS_AE_TITLE
    if "SpecificCharacterSet" in described:
        answer.SpecificCharacterSet = described.SpecificCharacterSet
    for key in identifier:
        if key.keyword not in _NOT_KEYS:
            answer[key.tag] = (
                described[key.tag] if key.tag in described else DataElement(key.tag, key.VR, None)
            )
    return answer


class StorageScp:
    """The server.

    Parameters
    ----------
    folder
        Where objects are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = Index()
        folder.mkdir(parents=True, exist_ok=True)

    def serve(self, stop: threading.Event) -> None:
        """Listen on a free port of the loopback address, say in the folder which, and serve until told."""
        _config.UNRESTRICTED_STORAGE_SERVICE = True  # private storage classes too
        entity = AE(PACS_AE_TITLE)
        entity.add_supported_context(Verification)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(
                str(context.abstract_syntax), list(AllTransferSyntaxes), scu_role=True, scp_role=True
            )
        server = entity.start_server(
            (LOOPBACK, 0),
            block=False,
            evt_handlers=[
                (evt.EVT_C_ECHO, lambda event: SUCCESS),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_C_FIND, self._on_find),
                (evt.EVT_C_GET, self._on_get),
            ],
        )
        assert server is not None  # it is None only for a server that blocks
        write_durably(self._folder / PORT_NAME, str(server.server_address[1]).encode())
        stop.wait()
        entity.shutdown()  # with open associations, whose threads would keep the process

    def _on_store(self, event: Event) -> int:
        uid = str(event.file_meta.MediaStorageSOPInstanceUID)
        if self._index.holds(uid):
            return SUCCESS
        target = self._folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:32]}.dcm"
        write_durably(target, event.encoded_dataset())
        header = dcmread(target, stop_before_pixels=True)
        if any(keyword not in header for keyword in LEVELS.values()):
            target.unlink()
            return CANNOT_UNDERSTAND
        self._index.add(target, header)
        return SUCCESS

    def _on_find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        if level not in LEVELS:
            yield IDENTIFIER_DOES_NOT_MATCH, None
            return
        for answer in self._index.answers(identifier, level):
            yield PENDING, answer

    def _on_get(self, event: Event) -> Iterator[int | tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        if level not in LEVELS or LEVELS[level] not in identifier:
            yield 1  # pynetdicom wants a number before it takes a refusal
            yield IDENTIFIER_DOES_NOT_MATCH, None
            return
        objects = self._index.objects(identifier)
        yield len(objects)
        for one in objects:
            yield PENDING, dcmread(one.path)


def main() -> None:
    """Serve the folder named on the command line until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    StorageScp(Path(sys.argv[1])).serve(stop)


if __name__ == "__main__":
    main()
