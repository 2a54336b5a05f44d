"""Every kind of destination has its carrier; the folder's, tried on real folders."""

import errno
import os
from pathlib import Path
from typing import IO, Any

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, SegmentationStorage
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE as LABEL_MAP
from gateway.adapters.errors import Away, CalledOff
from gateway.config import DESTINATION_KINDS, Config, Destination
from gateway.config.outputs import Form
from gateway.delivery.carriers.carrier import Outcome
from gateway.delivery.carriers.catalogue import CARRIERS, carriers_of
from gateway.delivery.carriers.dicom import DicomCarrier
from gateway.delivery.carriers.folder import FolderCarrier

PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def write_seg(path: Path, study_uid: str = "1.2.3", uid: str = "2.25.7") -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    seg.SOPClassUID, seg.SOPInstanceUID = SegmentationStorage, uid
    seg.StudyInstanceUID, seg.SeriesInstanceUID = study_uid, "1.2.3.9"
    seg.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def carrier(folder: Path) -> FolderCarrier:
    return FolderCarrier(Destination(name="share", folder=str(folder)))


@pytest.fixture
def seg(tmp_path: Path) -> Path:
    return write_seg(tmp_path / "seg.dcm")


def test_kind_of_the_configuration_has_a_carrier() -> None:
    assert set(CARRIERS) == set(DESTINATION_KINDS)


def test_destination_gets_the_carrier_of_its_keys(folder: Path) -> None:
    config = Config(
        destination=[
            {"name": "pacs", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": 4242},
            {"name": "share", "folder": str(folder)},
            {"name": "web", "stow": "https://pacs.example/dicom-web/"},
        ]
    )
    said = {destination.name: str(carrier) for destination, carrier in carriers_of(config)}
    assert said == {
        "pacs": "ORTHANC@127.0.0.1:4242",
        "share": f"the folder {folder}",
        "web": "STOW-RS at https://pacs.example/dicom-web",
    }


def test_folder_takes_what_any_reader_knows(carrier: FolderCarrier) -> None:
    known, unknown = Form(SegmentationStorage, RLELossless), Form(LABEL_MAP, ExplicitVRLittleEndian)
    assert carrier.takes([known, unknown]).forms == {known}


@pytest.mark.parametrize("accepted", [[Form(LABEL_MAP, RLELossless)], [Form(LABEL_MAP, PLAIN[1])], []])
def test_pacs_takes_what_it_accepts_by_negotiation(accepted: list[Form]) -> None:
    """One of the two plain transfer syntaxes stands for both: delivery offers both, too."""
    entity = AE("PACS")
    entity.add_supported_context(Verification)
    for form in accepted:
        entity.add_supported_context(*form)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    pacs = Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=server.server_address[1])
    asked = [Form(LABEL_MAP, RLELossless), Form(LABEL_MAP, PLAIN[0]), Form(SegmentationStorage, PLAIN[0])]
    try:
        taken = DicomCarrier(pacs, "IRIS").takes(asked).forms
    finally:
        server.shutdown()
    stands_for = {Form(LABEL_MAP, PLAIN[1]): asked[1]}
    assert taken == {stands_for.get(form, form) for form in accepted}


def test_pacs_that_is_away_cannot_be_asked_and_one_that_is_not_called_any_more_says_that() -> None:
    carrier = DicomCarrier(Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=1), "IRIS")
    with pytest.raises(Away) as away:
        carrier.takes([Form(LABEL_MAP, RLELossless)])
    assert not isinstance(away.value, CalledOff)
    carrier.interrupt()
    with pytest.raises(CalledOff):
        carrier.takes([Form(LABEL_MAP, RLELossless)])


def test_folder_has_the_object_under_its_uids(carrier: FolderCarrier, folder: Path, seg: Path) -> None:
    receipt = carrier.carry(seg)
    assert receipt.outcome is Outcome.ARRIVED
    [written] = [path for path in folder.rglob("*") if path.is_file()]
    assert written == folder / "1.2.3" / "1.2.3.9" / "2.25.7.dcm"
    assert written.read_bytes() == seg.read_bytes()


def test_object_that_lies_in_the_folder_already_is_replaced_by_the_same(
    carrier: FolderCarrier, folder: Path, seg: Path
) -> None:
    for _ in range(2):
        assert carrier.carry(seg).outcome is Outcome.ARRIVED
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_file_and_every_folder_of_it_are_synced_before_the_object_has_arrived(
    carrier: FolderCarrier, folder: Path, seg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    carrier.carry(seg)
    series = folder / "1.2.3" / "1.2.3.9"
    assert {folder, folder / "1.2.3", series} <= set(synced)
    assert any(path.parent == series and path.name.endswith(".part") for path in synced)
    assert synced[-1] == series


def test_what_a_kill_left_of_an_object_goes_with_the_next_try(
    carrier: FolderCarrier, folder: Path, seg: Path
) -> None:
    series = folder / "1.2.3" / "1.2.3.9"
    series.mkdir(parents=True)
    (series / ".2.25.7.dcm.0123abcd.part").write_bytes(b"half of it")
    (series / ".2.25.71.dcm.0123abcd.part").write_bytes(b"of another, which may be under way")
    carrier.carry(seg)
    assert sorted(path.name for path in series.iterdir()) == [".2.25.71.dcm.0123abcd.part", "2.25.7.dcm"]


@pytest.mark.parametrize(("number", "arrives"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_share_whose_folders_cannot_be_synced_is_written_but_one_that_fails_is_not_taken_for_it(
    carrier: FolderCarrier, seg: Path, monkeypatch: pytest.MonkeyPatch, number: int, arrives: bool
) -> None:
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    if arrives:
        assert carrier.carry(seg).outcome is Outcome.ARRIVED
    else:
        with pytest.raises(Away, match="cannot be written"):
            carrier.carry(seg)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_study_uid_that_leads_elsewhere_stays_in_the_folder(
    carrier: FolderCarrier, folder: Path, tmp_path: Path
) -> None:
    carrier.carry(write_seg(tmp_path / "evil.dcm", study_uid="../../etc"))
    [written] = tmp_path.rglob("2.25.7.dcm")
    assert written.is_relative_to(folder)
    assert dcmread(written).SOPInstanceUID == "2.25.7"


def test_folder_that_is_not_there_is_waited_for_and_never_made(
    carrier: FolderCarrier, folder: Path, seg: Path
) -> None:
    folder.rmdir()
    for call in (carrier.check, lambda: carrier.carry(seg)):
        with pytest.raises(Away, match="is not there; make it, or mount"):
            call()
    assert not folder.exists()


class Failing:
    """A stream that fails in the middle."""

    def __init__(self, stream: IO[bytes], number: int) -> None:
        self._stream, self._number = stream, number

    def write(self, _: bytes) -> int:
        raise OSError(self._number, os.strerror(self._number))

    def read(self, _: int) -> bytes:
        raise OSError(self._number, os.strerror(self._number))

    def __enter__(self) -> "Failing":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def fail_on_opening(monkeypatch: pytest.MonkeyPatch, mode: str, number: int) -> None:
    """Let what is opened in this mode from now on fail on use."""
    really = Path.open

    def opened(path: Path, how: str = "r", *more: Any, **kinds: Any) -> Any:
        stream = really(path, how, *more, **kinds)
        return Failing(stream, number) if how == mode else stream

    monkeypatch.setattr(Path, "open", opened)


def test_folder_without_room_is_waited_for_and_keeps_no_half_object(
    carrier: FolderCarrier, folder: Path, seg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on_opening(monkeypatch, "wb", errno.ENOSPC)
    with pytest.raises(Away, match=r"cannot be written \(No space left on device\)"):
        carrier.carry(seg)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_object_of_ours_that_cannot_be_read_is_not_the_folders_fault(
    carrier: FolderCarrier, folder: Path, seg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on_opening(monkeypatch, "rb", errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as raised:
        carrier.carry(seg)
    assert raised.value.errno == errno.EIO
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_file_that_is_no_dicom_is_refused(carrier: FolderCarrier, tmp_path: Path) -> None:
    path = tmp_path / "notes.dcm"
    path.write_text("not DICOM")
    assert carrier.carry(path).outcome is Outcome.REFUSED


def test_check_of_a_folder_leaves_nothing_in_it(carrier: FolderCarrier, folder: Path) -> None:
    assert carrier.check() == "can be written"
    assert list(folder.iterdir()) == []
