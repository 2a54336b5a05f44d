"""The PACS of the demo, both kinds: echo, store, find, get."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from gateway.adapters.dicom.peer import NotReached, Peer, echo
from gateway.delivery.sending import send_files
from gateway.demo.children import DemoError
from gateway.demo.pacs import Pacs, choose_pacs
from gateway.demo.retrieval import find, get

CALLING = "IRIS-DEMO"
KINDS = ["builtin", pytest.param("orthanc", marks=pytest.mark.peer("orthanc"))]


@pytest.fixture(params=KINDS)
def fresh_pacs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pacs]:
    """A running PACS of each kind, of one test's own."""
    chosen = choose_pacs(request.param, tmp_path / "pacs")
    chosen.start()
    try:
        yield chosen
    finally:
        chosen.stop()


@pytest.fixture(params=KINDS, scope="module")
def pacs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A running PACS of each kind; tests that share it ask for different objects."""
    chosen = choose_pacs(request.param, tmp_path_factory.mktemp("pacs"))
    chosen.start()
    try:
        yield chosen
    finally:
        chosen.stop()


def test_pacs_after_start_answers_echo_on_loopback(pacs: Pacs) -> None:
    echo(pacs.peer, CALLING)
    assert pacs.peer.host == "127.0.0.1"


def test_pacs_after_stop_is_gone(fresh_pacs: Pacs) -> None:
    peer = fresh_pacs.peer
    fresh_pacs.stop()
    with pytest.raises(NotReached):
        echo(peer, CALLING)


def test_pacs_with_stored_study_finds_it_at_every_level(pacs: Pacs, demo_study: Path) -> None:
    files = sorted(demo_study.glob("*.dcm"))
    header = dcmread(files[0], stop_before_pixels=True)
    sent = send_files(files, pacs.peer, CALLING)
    assert [one.status for one in sent] == [0x0000] * 20

    studies = find(
        pacs.peer, CALLING, "STUDY", StudyInstanceUID="", PatientID=header.PatientID, AccessionNumber=""
    )
    assert [(s.StudyInstanceUID, s.AccessionNumber) for s in studies] == [
        (header.StudyInstanceUID, header.AccessionNumber)
    ]
    series = find(
        pacs.peer, CALLING, "SERIES",
        StudyInstanceUID=header.StudyInstanceUID, SeriesInstanceUID="", Modality="CT",
    )  # fmt: skip
    assert [s.SeriesInstanceUID for s in series] == [header.SeriesInstanceUID]
    images = find(
        pacs.peer, CALLING, "IMAGE",
        StudyInstanceUID=header.StudyInstanceUID,
        SeriesInstanceUID=header.SeriesInstanceUID,
        SOPInstanceUID="",
    )  # fmt: skip
    assert {i.SOPInstanceUID for i in images} == {
        dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in files
    }


@pytest.mark.parametrize(
    "keys", [{"PatientID": "SOMEBODY-ELSE"}, {"StudyDate": "19990101-20001231"}, {"PatientName": "Nobody*"}]
)
def test_pacs_asked_for_another_study_finds_nothing(
    pacs: Pacs, demo_study: Path, keys: dict[str, str]
) -> None:
    send_files(sorted(demo_study.glob("*.dcm"))[:1], pacs.peer, CALLING)
    assert find(pacs.peer, CALLING, "STUDY", StudyInstanceUID="", **keys) == []


def test_pacs_with_stored_series_gives_it_back_with_the_same_pixels(
    pacs: Pacs, small_study: Path, tmp_path: Path
) -> None:
    files = sorted(small_study.glob("*.dcm"))
    send_files(files, pacs.peer, CALLING)
    headers = {str(one.SOPInstanceUID): one for one in map(dcmread, files)}
    first = next(iter(headers.values()))
    fetched = get(
        pacs.peer, CALLING, tmp_path / "fetched",
        sop_class_uids=[CTImageStorage],
        study_uid=first.StudyInstanceUID,
        series_uid=first.SeriesInstanceUID,
    )  # fmt: skip
    back = {str(one.SOPInstanceUID): one for one in map(dcmread, fetched)}
    assert back.keys() == headers.keys()
    assert all(back[uid].PixelData == headers[uid].PixelData for uid in headers)


def test_pacs_without_the_series_says_that_nothing_came(pacs: Pacs, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="C-GET"):
        get(
            pacs.peer, CALLING, tmp_path,
            sop_class_uids=[CTImageStorage], study_uid="2.25.1", series_uid="2.25.2",
        )  # fmt: skip


def test_builtin_pacs_sent_the_same_object_again_keeps_the_first(tmp_path: Path, small_study: Path) -> None:
    first, *_ = sorted(small_study.glob("*.dcm"))
    other = dcmread(first)
    other.PatientID = "ANOTHER"
    other.save_as(tmp_path / "other.dcm")
    pacs = choose_pacs("builtin", tmp_path / "pacs")
    pacs.start()
    try:
        sent = send_files([first, tmp_path / "other.dcm"], pacs.peer, CALLING)
        assert [one.status for one in sent] == [0x0000, 0x0000]
        found = find(pacs.peer, CALLING, "STUDY", StudyInstanceUID="", PatientID="")
        assert [study.PatientID for study in found] == ["SMALL-1"]
    finally:
        pacs.stop()


@pytest.mark.peer("orthanc")
def test_orthanc_refuses_a_caller_that_it_does_not_know(tmp_path: Path, small_study: Path) -> None:
    pacs = choose_pacs("orthanc", tmp_path / "pacs")
    pacs.start()
    try:
        with pytest.raises(NotReached):
            send_files(sorted(small_study.glob("*.dcm")), pacs.peer, "STRANGER")
    finally:
        pacs.stop()


def test_choose_pacs_of_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="auto, orthanc or builtin"):
        choose_pacs("dcm4chee", tmp_path)


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("study", ["demo_study", "small_study"])
def test_storescu_sends_a_study_as_stored(
    study: str, request: pytest.FixtureRequest, tmp_path: Path, storescu
) -> None:
    files = sorted(request.getfixturevalue(study).glob("*.dcm"))
    pacs = choose_pacs("builtin", tmp_path / "pacs")
    pacs.start()
    try:
        done = storescu(files, Peer(pacs.peer.ae_title, pacs.peer.host, pacs.peer.port))
        assert done.returncode == 0, done.stderr
        images = find(
            pacs.peer, CALLING, "IMAGE",
            StudyInstanceUID=dcmread(files[0], stop_before_pixels=True).StudyInstanceUID, SOPInstanceUID="",
        )  # fmt: skip
        assert len(images) == len(files)
    finally:
        pacs.stop()
