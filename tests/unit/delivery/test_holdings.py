"""Looking in a PACS for earlier results: what a PACS may answer, and that nobody waits for it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import Comprehensive3DSRStorage, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from gateway.adapters.dicom.peer import Calls, Peer
from gateway.adapters.errors import Away, CalledOff
from gateway.adapters.holdings import Sought
from gateway.delivery.holdings import Looking

SOUGHT = Sought("P-1", "HOSPITAL", "20260601", frozenset({"1.2.9"}))
STUDY = {"PatientID": "P-1", "StudyInstanceUID": "1.2.3", "StudyDate": "20260301", "ModalitiesInStudy": "SR"}
SERIES = {"SeriesInstanceUID": "1.2.3.4", "Modality": "SR", "Manufacturer": "IRIS Gateway"}
PENDING = 0xFF00
Answers = Iterator[tuple[int, Dataset | None]]


def dataset(said: dict[str, str]) -> Dataset:
    made = Dataset()
    for keyword, value in said.items():
        setattr(made, keyword, value)
    return made


def report(uid: str = "1.2.3.4.5") -> Dataset:
    made = dataset({"SOPClassUID": Comprehensive3DSRStorage, "SOPInstanceUID": uid, "PatientID": "P-1"})
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


class Pacs:
    """Answers as it is told; what it is asked at which level is counted."""

    def __init__(self) -> None:
        self.studies: list[dict[str, str]] = [STUDY]
        self.series: list[dict[str, str]] = [SERIES]
        self.find: Callable[[Event], Answers] = self.say
        self.get: Callable[[Event], Iterator[Any]] = self.give
        self.asked: list[str] = []
        self.over = threading.Event()

    def say(self, event: Event) -> Answers:
        level = str(event.identifier.QueryRetrieveLevel)
        self.asked.append(level)
        for said in {"STUDY": self.studies, "SERIES": self.series}.get(level, []):
            yield PENDING, dataset(said)

    def give(self, event: Event) -> Iterator[Any]:
        self.asked.append("GET")
        yield 1
        yield PENDING, report()

    @contextmanager
    def serve(self, *, can_retrieve: bool = True) -> Iterator[Peer]:
        entity = AE("PACS")
        entity.add_supported_context(Verification)
        if can_retrieve:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
            entity.add_supported_context(Comprehensive3DSRStorage, scu_role=True, scp_role=True)
            entity.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_C_FIND, lambda e: self.find(e)), (evt.EVT_C_GET, lambda e: self.get(e))]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert server is not None
        try:
            yield Peer("PACS", "127.0.0.1", server.server_address[1])
        finally:
            self.over.set()
            server.shutdown()


@pytest.fixture
def pacs() -> Pacs:
    return Pacs()


def look(peer: Peer, folder: Path, limit_s: float = 3.0, sought: Sought = SOUGHT) -> list[tuple[str, int]]:
    looking = Looking(peer, "IRIS", Calls(), limit_s)
    return [(held.study_uid, len(held.paths)) for held in looking(sought, folder)]


def test_reports_are_fetched_a_study_after_the_other_the_latest_first(pacs: Pacs, tmp_path: Path) -> None:
    older = {**STUDY, "StudyInstanceUID": "1.2.2", "StudyDate": "20250101"}
    pacs.studies = [older, STUDY]
    with pacs.serve() as peer:
        assert look(peer, tmp_path) == [("1.2.3", 1), ("1.2.2", 1)]


@pytest.mark.parametrize(
    "said",
    [
        {"PatientID": "P-2"},
        {"IssuerOfPatientID": "ELSEWHERE"},
        {"StudyDate": "20260602"},
        {"StudyInstanceUID": "1.2.9"},
        {"StudyInstanceUID": "../../etc"},
        {"ModalitiesInStudy": "CT"},
    ],
    ids=lambda said: "-".join(said.values()),
)
def test_study_that_was_not_asked_for_is_left_out(pacs: Pacs, tmp_path: Path, said: dict[str, str]) -> None:
    pacs.studies = [{**STUDY, **said}]
    with pacs.serve() as peer:
        assert look(peer, tmp_path) == []
    assert pacs.asked == ["STUDY"]


@pytest.mark.parametrize(
    "said", [{"Modality": "CT"}, {"Manufacturer": "Other"}, {"NumberOfSeriesRelatedInstances": "40"}]
)
def test_series_that_cannot_be_ours_is_not_fetched(pacs: Pacs, tmp_path: Path, said: dict[str, str]) -> None:
    pacs.series = [{**SERIES, **said}]
    with pacs.serve() as peer:
        assert look(peer, tmp_path) == []
    assert "GET" not in pacs.asked


def test_patient_id_with_a_wild_card_is_not_asked_for(pacs: Pacs, tmp_path: Path) -> None:
    with pacs.serve() as peer:
        assert look(peer, tmp_path, sought=Sought("P*", "H", "20260601", frozenset())) == []
    assert pacs.asked == []


def refuse(_: Event) -> Answers:
    yield 0xA700, None


def fail_to_give(_: Event) -> Iterator[Any]:
    yield 2
    yield PENDING, report()
    yield 0xA702, None


def give_nothing(_: Event) -> Iterator[Any]:
    yield 0


@pytest.mark.parametrize(
    ("find", "get", "why"),
    [
        (refuse, None, "C-FIND with status 0xA700"),
        (None, fail_to_give, "C-GET with status"),
        (None, give_nothing, "sent nothing"),
    ],
    ids=["find refused", "partly given", "nothing given"],
)
def test_pacs_that_does_not_do_it_is_said_to(
    pacs: Pacs, tmp_path: Path, find: Any, get: Any, why: str
) -> None:
    pacs.find, pacs.get = find or pacs.find, get or pacs.get
    with pacs.serve() as peer, pytest.raises(Away, match=why):
        look(peer, tmp_path)


def test_pacs_without_query_and_retrieve_and_one_that_is_away_are_told(pacs: Pacs, tmp_path: Path) -> None:
    with pacs.serve(can_retrieve=False) as peer, pytest.raises(Away, match="accepts none"):
        look(peer, tmp_path)
    with pytest.raises(Away, match="cannot be reached"):
        look(peer, tmp_path)


def test_nobody_waits_for_a_pacs_that_is_silent_or_never_ends(pacs: Pacs, tmp_path: Path) -> None:
    def say_nothing(_: Event) -> Answers:
        pacs.over.wait(120)
        yield 0x0000, None

    def go_on(_: Event) -> Answers:
        while not pacs.over.wait(0.02):
            yield PENDING, dataset(STUDY)

    for never in (say_nothing, go_on):
        pacs.find, pacs.over = never, threading.Event()
        with pacs.serve() as peer:
            begun = time.monotonic()
            with pytest.raises(Away, match="did not answer within 0"):
                look(peer, tmp_path, 0.4)
            assert time.monotonic() - begun < 60


def test_search_ends_when_the_gateway_stops(pacs: Pacs, tmp_path: Path) -> None:
    calls = Calls()

    def stop(_: Event) -> Answers:
        calls.end()
        pacs.over.wait(120)
        yield 0x0000, None

    pacs.find = stop
    with pacs.serve() as peer, pytest.raises(CalledOff):
        list(Looking(peer, "IRIS", calls)(SOUGHT, tmp_path))
