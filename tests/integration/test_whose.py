"""Whose a study is, and what of our results is there, asked of real peers."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import SegmentationStorage
from pynetdicom import AE

from gateway.adapters.contents import NoAnswer, NotTold
from gateway.adapters.dicom.peer import NotReached, Peer, echo
from gateway.config import Destination
from gateway.delivery.carriers.carrier import KnowsWhose, NotAskable, ShowsResults
from gateway.delivery.carriers.dicom import DicomCarrier
from gateway.delivery.carriers.stow import StowCarrier
from gateway.delivery.sending import send_files
from gateway.delivery.whose import Whose
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.conftest import find_dicomweb
from tests.unit.delivery.test_carriers import write_seg

DEADLINE_S = 120.0


def dicom_carrier(peer: Peer) -> DicomCarrier:
    to = Destination(name="pacs", ae_title=peer.ae_title, host=peer.host, port=peer.port)
    return DicomCarrier(to, "IRIS")


def asked_before_and_after(
    carrier: KnowsWhose, peer: Peer, small_study: Path, folder: Path
) -> list[list[Whose]]:
    """Its answers while it knows nothing, while it has a result only, and with an image."""
    image = next(small_study.glob("*.dcm"))
    source = dcmread(image, stop_before_pixels=True)
    study_uid = str(source.StudyInstanceUID)
    result = dcmread(write_seg(folder / "seg.dcm", study_uid, "1.2.9.9"))
    result.Modality, result.PatientID = "SEG", source.PatientID
    result.AccessionNumber = source.AccessionNumber  # both keep what the first object says
    result.save_as(folder / "seg.dcm")
    said = [list(carrier.whose(study_uid))]
    for path in (folder / "seg.dcm", image):
        (sent,) = send_files([path], peer, "IRIS")
        assert sent.status == 0
        said.append(list(carrier.whose(study_uid)))
    return said


def require_that_it_tells_what_is_missing(carrier: ShowsResults, seg: Path) -> None:
    """Of a study that it has a result of, and of one that it does not have."""
    made = dcmread(seg, stop_before_pixels=True)
    study, series, uid = made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID
    assert carrier.missing(study, {series: [uid]}) == frozenset()
    assert carrier.missing(study, {series: [uid, "1.2.9.10"], "1.2.8": ["1.2.8.1"]}) == {
        "1.2.9.10",
        "1.2.8.1",
    }
    assert carrier.missing("1.2.77", {series: [uid]}) == {uid}


def of_images(small_study: Path) -> list[Whose]:
    header = dcmread(next(small_study.glob("*.dcm")), stop_before_pixels=True)
    return [Whose.of(header)]


@pytest.mark.peer("orthanc", "orthanc-dicomweb")
def test_orthanc_says_by_both_ways_whose_images_it_has(small_study: Path, tmp_path: Path) -> None:
    program, plugin = find_orthanc(), find_dicomweb()
    assert program
    orthanc = Orthanc(tmp_path / "orthanc", program, configuration={"Plugins": [plugin]})
    orthanc.start()
    try:
        address, (user, password) = orthanc.rest
        (tmp_path / "password").write_text(password)
        to = Destination(
            name="web", stow=f"{address}/dicom-web", user=user, password_file=str(tmp_path / "password")
        )
        web, by_find = StowCarrier(to), dicom_carrier(orthanc.peer)
        said = asked_before_and_after(web, orthanc.peer, small_study, tmp_path)
        assert said == [[], [], of_images(small_study)]
        study_uid = dcmread(next(small_study.glob("*.dcm")), stop_before_pixels=True).StudyInstanceUID
        assert by_find.whose(study_uid) == of_images(small_study)
        for carrier in (web, by_find):
            require_that_it_tells_what_is_missing(carrier, tmp_path / "seg.dcm")
    finally:
        orthanc.stop()


@contextmanager
def dcmqrscp(folder: Path, port: int) -> Iterator[Peer]:
    """An archive of dcmtk."""
    (folder / "archive").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 8\nHostTable BEGIN\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
        f"QRSCP {folder / 'archive'} RW (99, 1024mb) ANY\nAETable END\n"
    )
    command = ["dcmqrscp", "-c", str(folder / "dcmqrscp.cfg")]
    peer = Peer("QRSCP", "127.0.0.1", port)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as archive:
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not _answers(peer):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield peer
        finally:
            archive.terminate()


def _answers(peer: Peer) -> bool:
    try:
        echo(peer, "IRIS")
    except NotReached:
        return False
    return True


@pytest.mark.peer("dcmtk")
def test_dcmqrscp_says_whose_images_it_has(
    small_study: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with dcmqrscp(tmp_path, free_port()) as peer:
        said = asked_before_and_after(dicom_carrier(peer), peer, small_study, tmp_path)
        require_that_it_tells_what_is_missing(dicom_carrier(peer), tmp_path / "seg.dcm")
    (ours,) = of_images(small_study)
    assert said[:2] == [[], []]
    assert [(one.patient_id, one.accession_number) for one in said[2]] == [
        (ours.patient_id, ours.accession_number)
    ]


def test_peer_that_takes_objects_only_cannot_be_asked() -> None:
    entity = AE("STORAGE")
    entity.add_supported_context(SegmentationStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    try:
        with pytest.raises(NotAskable, match="takes no C-FIND"):
            dicom_carrier(Peer("STORAGE", "127.0.0.1", server.server_address[1])).whose("1.2.3")
        with pytest.raises(NotTold) as raised:
            dicom_carrier(Peer("STORAGE", "127.0.0.1", server.server_address[1])).missing("1.2.3", {})
        assert raised.value.code is NoAnswer.REFUSED
    finally:
        server.shutdown()
