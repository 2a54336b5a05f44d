"""What a sender is answered, and what is kept: every line of the design's table, over the network."""

import copy
import errno
import io
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SegmentationStorage,
    generate_uid,
)
from pynetdicom.dsutils import encode

from gateway.config import AllowedSender
from gateway.events import InstanceStored, ObjectQuarantined
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.results import record_result
from gateway.ledger.states import JobEvent
from gateway.listener.door.admission import Admission
from gateway.listener.intake.coming import ComingInstance
from gateway.listener.intake.elements import DEEPEST
from gateway.listener.intake.header import parse
from gateway.listener.intake.incoming import IncomingFile
from gateway.listener.statuses import CANNOT_UNDERSTAND, KEPT_ASIDE, OUT_OF_RESOURCES, SUCCESS
from gateway.listener.visits import Visit
from tests.mutations import deflated
from tests.results import result_of_one

REJECTED_PERMANENT, REJECTED_TRANSIENT = 1, 2


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    """Eight uncompressed CT slices."""
    return [dcmread(path) for path in sorted(small_study.iterdir())]


@pytest.fixture
def ct(slices: list[Dataset]) -> Dataset:
    return slices[0]


@pytest.fixture
def jpeg2000(demo_study: Path) -> Dataset:
    return dcmread(sorted(demo_study.iterdir())[0])


def _encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set alone, without file meta."""
    uid = UID(syntax)
    plain = Dataset({element.tag: element for element in dataset})
    content = encode(plain, uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)
    assert content is not None
    return content


def _send_encoded(gate, dataset: Dataset, content: bytes, syntax: str = ExplicitVRLittleEndian) -> int:
    return gate.send_bytes(content, dataset.SOPClassUID, dataset.SOPInstanceUID, syntax)


def _changed(dataset: Dataset, **values: Any) -> Dataset:
    """A copy with other values; the command and the file meta follow the data set."""
    changed = copy.deepcopy(dataset)
    for keyword, value in values.items():
        setattr(changed, keyword, value)
    changed.file_meta.MediaStorageSOPInstanceUID = changed.SOPInstanceUID
    return changed


def _brighter(dataset: Dataset) -> Dataset:
    return _changed(dataset, PixelData=(dataset.pixel_array + 1).astype(np.int16).tobytes())


def _report(study_uid: str) -> Dataset:
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.SOPClassUID, report.SOPInstanceUID = BasicTextSRStorage, generate_uid()
    report.StudyInstanceUID, report.SeriesInstanceUID = study_uid, generate_uid()
    report.Modality, report.PatientID = "SR", "SMALL-1"
    return report


def _dataset_bytes(path: Path) -> bytes:
    """What follows the file meta of a kept file."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


# -- stored -----------------------------------------------------------------------------------------------


def test_instance_that_is_stored_lies_in_the_archive_as_it_was_sent(gate, ct: Dataset) -> None:
    content = _encoded(ct)
    assert _send_encoded(gate, ct, content) == SUCCESS
    (kept,) = gate.files("instances")
    assert _dataset_bytes(kept) == content
    (row,) = gate.instances()
    assert gate.data_dir / row.path == kept
    assert (row.sop_instance_uid, row.revision, row.is_current) == (ct.SOPInstanceUID, 1, 1)
    assert (row.modality, row.of_use, row.sender) == ("CT", 1, "PACS")
    (study,) = gate.studies()
    assert (study.state, study.patient_id) == ("receiving", "SMALL-1")
    assert gate.files("incoming") == []
    assert [e.study_uid for e in gate.heard if isinstance(e, InstanceStored)] == [ct.StudyInstanceUID]


def test_instance_is_synced_before_it_is_moved_and_its_folder_before_the_ledger_knows(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.suffix == ".part" or path.parent.name == "instances":
            order.append("file" if path.suffix == ".part" else "folder")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> Path:
        order.append("move")
        return replace(source, target)

    def noted_event(_: object) -> None:
        order.append("committed")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    gate.ledger.bus.subscribe(noted_event)
    with gate.association((CTImageStorage, ExplicitVRLittleEndian)) as association:
        assert association.send_c_store(ct).Status == SUCCESS
        assert order[:4] == ["file", "move", "folder", "committed"]


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        pytest.param(ExplicitVRBigEndian, id="big endian"),
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_instance_in_each_plain_transfer_syntax_is_stored(gate, ct: Dataset, syntax: UID) -> None:
    if syntax == ExplicitVRBigEndian:
        ct.PixelData = ct.pixel_array.astype(">i2").tobytes()
    content = _encoded(ct, syntax)
    assert _send_encoded(gate, ct, content, syntax) == SUCCESS
    (row,) = gate.instances()
    assert (row.transfer_syntax_uid, row.of_use) == (syntax, 1)
    kept = dcmread(gate.data_dir / row.path)
    assert kept.SOPInstanceUID == ct.SOPInstanceUID
    assert kept.Rows == 64


@pytest.mark.parametrize("name", ["compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle"])
def test_instance_in_each_compressed_transfer_syntax_is_stored(gate, data: Path, name: str) -> None:
    slices = [dcmread(path) for path in sorted((data / "oddities" / name).rglob("*.dcm"))]
    assert gate.send(*slices) == [SUCCESS] * len(slices)
    assert {row.transfer_syntax_uid for row in gate.instances()} == {slices[0].file_meta.TransferSyntaxUID}


def test_jpeg_2000_is_kept_byte_for_byte(gate, demo_study: Path) -> None:
    path = sorted(demo_study.iterdir())[0]
    dataset, content = dcmread(path), _dataset_bytes(path)
    assert _send_encoded(gate, dataset, content, JPEG2000Lossless) == SUCCESS
    (kept,) = gate.files("instances")
    assert _dataset_bytes(kept) == content
    assert dcmread(kept).file_meta.TransferSyntaxUID == JPEG2000Lossless


@pytest.mark.peer("dcmtk")
def test_demo_study_from_storescu_is_stored(gate, demo_study: Path, storescu: Callable[..., Any]) -> None:
    from gateway.adapters.dicom.peer import Peer  # the fixture wants one

    sent = storescu(sorted(demo_study.iterdir()), Peer("IRIS", *gate.address), calling_ae_title="STORESCU")
    assert sent.returncode == 0, sent.stderr
    assert len(gate.instances()) == 20
    assert {(row.transfer_syntax_uid, row.sender) for row in gate.instances()} == {
        (JPEG2000Lossless, "STORESCU")
    }


def test_header_with_umlauts_is_read_in_its_character_set(gate, ct: Dataset) -> None:
    ct.SpecificCharacterSet, ct.StudyDescription = "ISO_IR 100", "Übersicht Schädel"
    assert gate.send(ct) == [SUCCESS]
    assert gate.studies()[0].study_description == "Übersicht Schädel"


# -- the same again ---------------------------------------------------------------------------------------


def test_same_bytes_again_change_nothing(gate, slices: list[Dataset]) -> None:
    gate.send(*slices)
    before = gate.instances(), gate.files("instances"), gate.studies()[0].generation
    assert gate.send(*slices) == [SUCCESS] * 8
    assert (gate.instances(), gate.files("instances"), gate.studies()[0].generation) == before
    assert gate.files("incoming") == []
    came = {str(one.SOPInstanceUID) for one in slices}
    assert gate.listener.endings.again.of([slices[0].StudyInstanceUID]) == {slices[0].StudyInstanceUID: came}


def test_corrected_header_becomes_a_new_revision_with_the_same_pixels(gate, ct: Dataset) -> None:
    gate.send(ct)
    assert gate.send(_changed(ct, PatientName="Right^Name", PatientID="P-2")) == [SUCCESS]
    first, second = gate.instances()
    assert (first.is_current, second.is_current, second.revision) == (0, 1, 2)
    assert first.pixel_sha256 == second.pixel_sha256
    assert first.geometry_sha256 == second.geometry_sha256
    assert len(gate.files("instances")) == 2
    assert gate.studies()[0].patient_id == "P-2"


def test_corrected_header_of_a_deflated_data_set_is_a_revision_with_the_same_pixels(
    gate, ct: Dataset
) -> None:
    for name in ("Wrong^Name", "Right^Name"):
        content = _encoded(_changed(ct, PatientName=name), DeflatedExplicitVRLittleEndian)
        assert _send_encoded(gate, ct, content, DeflatedExplicitVRLittleEndian) == SUCCESS
    first, second = gate.instances()
    assert (second.revision, second.pixel_sha256) == (2, first.pixel_sha256)


def test_correction_that_is_taken_back_is_a_third_revision(gate, ct: Dataset) -> None:
    gate.send(ct)
    gate.send(_changed(ct, PatientName="Wrong^Name"))
    assert gate.send(ct) == [SUCCESS]
    assert [(row.revision, row.is_current) for row in gate.instances()] == [(1, 0), (2, 0), (3, 1)]
    assert all((gate.data_dir / row.path).is_file() for row in gate.instances())


def test_same_instance_in_another_transfer_syntax_is_noted_and_the_first_kept(
    gate, jpeg2000: Dataset
) -> None:
    gate.send(jpeg2000)
    plain = copy.deepcopy(jpeg2000)
    plain.decompress(generate_instance_uid=False)
    assert gate.send(plain) == [SUCCESS]
    (row,) = gate.instances()
    assert row.transfer_syntax_uid == JPEG2000Lossless
    assert len(gate.files("instances")) == 1
    (noted,) = [line for line in gate.timeline() if line.event == "instance.again"]
    assert noted.detail["transfer_syntax_uid"] == ExplicitVRLittleEndian


def test_correction_in_another_transfer_syntax_is_a_revision_with_the_same_pixels(
    gate, jpeg2000: Dataset
) -> None:
    gate.send(jpeg2000)
    plain = _changed(jpeg2000, PatientName="Right^Name")
    plain.decompress(generate_instance_uid=False)
    assert gate.send(plain) == [SUCCESS]
    first, second = gate.instances()
    assert (second.transfer_syntax_uid, second.is_current) == (ExplicitVRLittleEndian, 1)
    assert second.pixel_sha256 == first.pixel_sha256  # a job's identity: no new run
    assert gate.send(plain) == [SUCCESS]
    assert len(gate.instances()) == 2


def test_same_pixels_compressed_otherwise_are_the_same_instance(gate, data: Path) -> None:
    path = next((data / "oddities" / "compressed_rle").rglob("*.dcm"))
    rle = dcmread(path)
    gate.send(rle)
    again = copy.deepcopy(rle)
    again.decompress(generate_instance_uid=False)
    again.compress(RLELossless, generate_instance_uid=False)
    assert again.PixelData != rle.PixelData, "the encoder should differ from the file's"
    assert gate.send(_changed(again, PatientName="Right^Name")) == [SUCCESS]
    assert {row.pixel_sha256 for row in gate.instances()} == {gate.instances()[0].pixel_sha256}


def test_image_whose_codec_takes_all_memory_is_kept_aside_and_ends_nobody(gate, jpeg2000: Dataset) -> None:
    gate.send(jpeg2000)
    again = _changed(jpeg2000, PatientName="Other^Patient")
    size = again.PixelData.index(b"\xff\x51") + 6  # of the codestream (ISO/IEC 15444-1 A.5.1)
    enormous = again.PixelData[:size] + (1 << 17).to_bytes(4, "big") * 2 + again.PixelData[size + 8 :]
    assert gate.send(_changed(again, PixelData=enormous)) == [KEPT_ASIDE]
    assert [row.reason for row in gate.quarantine()] == ["same_uid_other_pixels"]


def test_two_senders_of_one_instance_at_once_store_it_once(gate, ct: Dataset) -> None:
    def send(_: int) -> int:
        association = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
        status = association.send_c_store(ct).Status
        association.release()
        return int(status)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(send, range(8))) == [SUCCESS] * 8
    assert len(gate.instances()) == 1
    gate.wait_for(lambda: not gate.files("incoming"))


# -- contradictions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_brighter, "same_uid_other_pixels"),
        (lambda ct: _changed(ct, ImagePositionPatient=[0, 0, 99]), "same_uid_other_geometry"),
        (lambda ct: _changed(ct, RescaleIntercept="-1000"), "same_uid_other_geometry"),
        (lambda ct: _changed(ct, SeriesInstanceUID="1.2.9"), "same_uid_elsewhere"),
        (
            lambda ct: _changed(ct, StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1"),
            "same_uid_elsewhere",
        ),
        (lambda ct: _changed(ct, StudyInstanceUID="1.2.9"), "series_in_two_studies"),
        (
            lambda ct: _changed(ct, StudyInstanceUID="1.2.9", SOPInstanceUID="1.2.9.2"),
            "series_in_two_studies",
        ),
    ],
)
def test_contradiction_is_kept_aside_and_the_first_stays(
    gate, ct: Dataset, change: Callable[[Dataset], Dataset], reason: str
) -> None:
    gate.send(ct)
    before = gate.instances()
    assert gate.send(change(ct)) == [KEPT_ASIDE]
    (row,) = gate.quarantine()
    assert row.reason == reason
    assert row.sop_instance_uid is not None
    assert dcmread(gate.data_dir / row.path).SOPClassUID == CTImageStorage
    assert gate.instances() == before
    assert (gate.data_dir / before[0].path).is_file()


def test_other_pixels_in_another_transfer_syntax_under_another_name_are_kept_aside(
    gate, jpeg2000: Dataset
) -> None:
    gate.send(jpeg2000)
    plain = _changed(jpeg2000, PatientName="Other^Patient")
    plain.decompress(generate_instance_uid=False)
    assert gate.send(_brighter(plain)) == [KEPT_ASIDE]
    assert [row.reason for row in gate.quarantine()] == ["same_uid_other_pixels"]


def test_command_that_differs_from_the_data_set_is_kept_aside(gate, ct: Dataset) -> None:
    assert gate.send_bytes(_encoded(ct), CTImageStorage, "1.2.3.4") == KEPT_ASIDE
    (row,) = gate.quarantine()
    assert (row.reason, row.sop_instance_uid) == ("command_differs", ct.SOPInstanceUID)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_uid_that_is_a_path_is_kept_aside_within_the_data_directory(gate, ct: Dataset, keyword: str) -> None:
    setattr(ct, keyword, "../../../escaped")
    assert _send_encoded(gate, ct, _encoded(ct)) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["invalid_uid"]
    assert not list(gate.data_dir.parent.rglob("*escaped*"))
    assert len(gate.files("quarantine")) == 1


# -- damaged ----------------------------------------------------------------------------------------------


def _cut(dataset: Dataset) -> bytes:
    return _encoded(dataset)[:-100]


def _too_few_pixels(dataset: Dataset) -> bytes:
    return _encoded(_changed(dataset, PixelData=dataset.PixelData[:-100]))


def _without_pixels(dataset: Dataset) -> bytes:
    del dataset.PixelData
    return _encoded(dataset)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cut, "pixels_cut_short"),
        (_too_few_pixels, "pixels_cut_short"),
        (_without_pixels, "no_pixels"),
    ],
)
def test_damaged_image_is_kept_aside(
    gate, ct: Dataset, damage: Callable[[Dataset], bytes], reason: str
) -> None:
    uid = ct.SOPInstanceUID
    assert gate.send_bytes(damage(ct), CTImageStorage, uid) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == [reason]
    assert gate.instances() == []


@pytest.mark.parametrize(
    ("sound", "malformed", "reason"),
    [
        (
            b"\x28\x00\x10\x00US\x02\x00\x40\x00",
            b"\x28\x00\x10\x00US\x03\x00\x40\x00\x00",
            "unreadable_geometry",
        ),
        (b"\x20\x00\x32\x00DS", b"\x20\x00\x32\x00FD", "unreadable_geometry"),
        (b"\x28\x00\x30\x00DS", b"\x28\x00\x30\x00ZZ", "unknown_vr"),
    ],
    ids=["rows of three bytes", "a position in another representation", "an unknown representation"],
)
def test_image_with_an_unreadable_geometry_is_kept_aside(
    gate, ct: Dataset, sound: bytes, malformed: bytes, reason: str
) -> None:
    content = _encoded(ct)
    assert content.count(sound) == 1
    assert _send_encoded(gate, ct, content.replace(sound, malformed)) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == [reason]


def test_image_whose_other_attributes_are_unreadable_is_stored(gate, ct: Dataset) -> None:
    ct.PatientID = "SMALL1"
    content = _encoded(ct).replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00FD")  # of six bytes
    assert _send_encoded(gate, ct, content) == SUCCESS
    assert gate.studies()[0].patient_id == ""


@pytest.mark.parametrize(
    "tag", [b"\x10\x00\x20\x00LO", b"\x08\x00\x70\x00LO"], ids=["patient ID", "manufacturer"]
)
def test_image_with_an_unknown_representation_is_kept_aside(gate, ct: Dataset, tag: bytes) -> None:
    ct.Manufacturer = "ACME"
    content = _encoded(ct).replace(tag, tag[:4] + b"ZZ")
    assert _send_encoded(gate, ct, content) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["unknown_vr"]


def _nested(inner: Dataset, levels: int) -> Dataset:
    """A data set in a sequence in a sequence and so on."""
    for _ in range(levels):
        outer = Dataset()
        outer.ReferencedImageSequence = [inner]
        inner = outer
    return inner


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("has_lengths", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_image_with_an_unknown_representation_in_a_sequence_is_kept_aside(
    gate, ct: Dataset, syntax: UID, has_lengths: bool, levels: int
) -> None:
    inner = Dataset()
    inner.StationName = "ACME"
    ct.update(_nested(inner, levels))
    content = _encoded(ct) if has_lengths else _without_lengths(ct)
    content = content.replace(b"\x08\x00\x10\x10SH", b"\x08\x00\x10\x10ZZ")
    assert b"ZZ" in content
    if syntax == DeflatedExplicitVRLittleEndian:
        content = deflated(content)
    assert _send_encoded(gate, ct, content, syntax) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["unknown_vr"]


def _without_lengths(dataset: Dataset) -> bytes:
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
    return _encoded(dataset)


def test_image_whose_sequences_lie_too_deep_is_kept_aside(gate, ct: Dataset) -> None:
    inner = Dataset()
    inner.StationName = "ACME"
    ct.update(_nested(inner, DEEPEST + 1))
    assert gate.send(ct) == [KEPT_ASIDE]
    assert [row.reason for row in gate.quarantine()] == ["nested_too_deep"]


def test_report_whose_sequences_lie_deep_is_stored(gate, ct: Dataset) -> None:
    report = _report(ct.StudyInstanceUID)
    report.update(_nested(Dataset(), 2 * DEEPEST))
    assert gate.send(report) == [SUCCESS]


def test_image_with_a_sequence_that_cannot_be_parsed_is_kept_aside(gate, ct: Dataset) -> None:
    ct.ReferencedImageSequence = []
    empty = b"\x08\x00\x40\x11SQ" + bytes(6)
    half_an_item = empty[:-4] + b"\x06\0\0\0" + b"\xfe\xff\x00\xe0\x08\0"
    content = _encoded(ct)
    assert empty in content
    assert _send_encoded(gate, ct, content.replace(empty, half_an_item)) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["unreadable_sequence"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["1..2.3", "1.2.03", "1.2.3.", ".1.2", "1"])
def test_uid_against_the_standard_is_kept_aside(gate, ct: Dataset, uid: str) -> None:
    ct.SeriesInstanceUID = uid
    assert _send_encoded(gate, ct, _encoded(ct)) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["invalid_uid"]


def test_deflated_object_that_inflates_too_far_is_kept_aside(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.listener.intake.header.INFLATED_LIMIT_BYTES", 1_000)
    content = _encoded(ct, DeflatedExplicitVRLittleEndian)
    assert _send_encoded(gate, ct, content, DeflatedExplicitVRLittleEndian) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["inflates_too_far"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda ct: _encoded(ct, DeflatedExplicitVRLittleEndian)[:-100], "cut_short"),
        (lambda ct: deflated(_encoded(ct)[:-100]), "pixels_cut_short"),
        (lambda ct: deflated(_without_pixels(ct)), "no_pixels"),
    ],
)
def test_deflated_image_that_is_not_whole_is_kept_aside(
    gate, ct: Dataset, damage: Callable[[Dataset], bytes], reason: str
) -> None:
    assert _send_encoded(gate, ct, damage(ct), DeflatedExplicitVRLittleEndian) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == [reason]


def test_long_private_value_is_left_in_the_file(gate, ct: Dataset) -> None:
    ct.add_new(0x00090010, "LO", "ACME")
    ct.add_new(0x00091001, "OB", bytes(3_000_000))
    assert gate.send(ct) == [SUCCESS]
    (kept,) = gate.files("instances")
    with kept.open("rb") as stream:
        assert parse(stream).header.get_item(0x00091001, keep_deferred=True).value is None


def test_room_that_ends_in_the_middle_of_an_object_leaves_it_to_its_sender(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.listener.intake.incoming.ROOM_IS_ASKED_EVERY_BYTES", 1_000)
    monkeypatch.setattr(Visit, "has_room", lambda _: False)
    assert gate.send(ct) == [OUT_OF_RESOURCES]
    assert gate.files("incoming") == gate.files("instances") == []


def test_disk_that_cannot_be_asked_for_room_leaves_the_object_to_its_sender(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with gate.association((CTImageStorage, ExplicitVRLittleEndian)) as association:
        with monkeypatch.context() as patch:
            patch.setattr("gateway.listener.door.admission.shutil.disk_usage", cannot)
            patch.setattr(Path, "unlink", lambda *_, **__: cannot(None))
            assert association.send_c_store(ct).Status == OUT_OF_RESOURCES
        assert association.send_c_store(ct).Status == SUCCESS


def test_object_that_is_larger_than_any_may_be_is_left_to_its_sender(gate, ct: Dataset) -> None:
    gate.listener._folder.max_object_bytes = 1_000
    assert gate.send(ct) == [OUT_OF_RESOURCES]
    assert gate.files("incoming") == gate.files("instances") == []


def test_called_ae_title_is_checked_where_it_is_asked_for(make_gate: Callable[..., Any]) -> None:
    gate = make_gate(check_called_ae_title=True)
    contexts = [(CTImageStorage, ExplicitVRLittleEndian)]
    other = gate.associate(contexts, called="OTHER")
    assert other.is_rejected
    assert other.acceptor.primitive.result == REJECTED_PERMANENT
    with gate.association(*contexts) as association:
        assert association.is_established


def test_object_that_ends_in_the_middle_of_an_attribute_is_kept_aside(gate) -> None:
    report = _report("1.2.3")
    report.TextValue = "a long sentence that is cut"
    assert _send_encoded(gate, report, _encoded(report)[:-6]) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["cut_short"]


@pytest.mark.parametrize("missing", [8, 9, 200])
def test_compressed_image_that_is_cut_short_is_kept_aside(gate, demo_study: Path, missing: int) -> None:
    path = sorted(demo_study.iterdir())[0]
    content = _dataset_bytes(path)
    cut = content[: content.rindex(b"\xfe\xff\xdd\xe0") + 8 - missing]
    assert _send_encoded(gate, dcmread(path), cut, JPEG2000Lossless) == KEPT_ASIDE
    assert [row.reason for row in gate.quarantine()] == ["pixels_cut_short"]


def test_compressed_image_with_padding_after_its_pixels_is_stored(gate, demo_study: Path) -> None:
    path = sorted(demo_study.iterdir())[0]
    padding = b"\xfc\xff\xfc\xffOB\x00\x00" + (64).to_bytes(4, "little") + bytes(64)  # PS3.10 7.2
    content = _dataset_bytes(path) + padding
    assert _send_encoded(gate, dcmread(path), content, JPEG2000Lossless) == SUCCESS


# -- not understood ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"\x08\x00", "empty"), (b"no DICOM at all, " * 50, "no_uids")],
)
def test_object_that_cannot_be_parsed_is_refused_and_a_copy_kept(gate, content: bytes, reason: str) -> None:
    assert gate.send_bytes(content, CTImageStorage, "1.2.3.4") == CANNOT_UNDERSTAND
    (row,) = gate.quarantine()
    assert row.reason == reason
    assert (gate.data_dir / row.path).read_bytes().endswith(content)
    assert ObjectQuarantined(row.key, row.reason) in gate.heard


def test_request_without_a_data_set_is_refused(gate) -> None:
    assert gate.send_bytes(None, CTImageStorage, "1.2.3.4") == CANNOT_UNDERSTAND
    assert gate.quarantine() == []


def test_object_without_uids_is_refused_and_a_copy_kept(gate, data: Path) -> None:
    path = sorted((data / "oddities" / "uids_blanked").rglob("CT*"))[0]
    syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    content = _dataset_bytes(path)
    assert gate.send_bytes(content, CTImageStorage, "1.2.3.4", syntax) == CANNOT_UNDERSTAND
    (row,) = gate.quarantine()
    assert (row.reason, row.study_uid) == ("no_uids", None)
    assert _dataset_bytes(gate.data_dir / row.path) == content


def test_same_refused_object_many_times_is_kept_once(gate, data: Path) -> None:
    for _ in range(3):
        assert gate.send_bytes(b"no DICOM at all", CTImageStorage, "1.2.3.4") == CANNOT_UNDERSTAND
    assert [row.times for row in gate.quarantine()] == [3]
    assert len(gate.files("quarantine")) == 1
    assert gate.files("incoming") == []


def test_refusal_says_nothing_about_the_patient(
    gate, ct: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    gate.send(ct)
    gate.send(_brighter(ct))
    gate.send_bytes(_cut(ct), CTImageStorage, ct.SOPInstanceUID)
    said = capsys.readouterr()
    assert "object_quarantined" in said.out
    texts = [said.out, said.err, *(row.sentence for row in gate.quarantine())]
    for secret in ("Small", "SMALL-1", ct.SOPInstanceUID, ct.StudyInstanceUID):
        assert not any(secret in text for text in texts)


# -- of no use --------------------------------------------------------------------------------------------


def test_report_is_kept_with_the_reason_why_it_is_no_input(gate, ct: Dataset) -> None:
    assert gate.send(ct, _report(ct.StudyInstanceUID)) == [SUCCESS, SUCCESS]
    _, report = gate.instances()
    assert (report.of_use, report.why_not) == (0, "not a CT or MR image (Basic Text SR Storage)")
    assert (gate.data_dir / report.path).is_file()


def test_result_of_ours_that_comes_back_is_acknowledged_and_not_stored(gate, ct: Dataset) -> None:
    gate.send(ct)
    result = _report(ct.StudyInstanceUID)
    _pretend_to_have_made(gate, ct.StudyInstanceUID, result.SOPInstanceUID)
    assert gate.send(result) == [SUCCESS]
    assert len(gate.instances()) == 1
    assert gate.timeline()[-1].event == "instance.our_own_result"
    assert gate.studies()[0].state == "done"  # it did not begin to receive again


def test_result_of_ours_that_comes_back_with_other_pixels_is_kept_aside(gate, ct: Dataset) -> None:
    result = _changed(
        ct, SOPClassUID=SegmentationStorage, SeriesInstanceUID="1.2.7", SOPInstanceUID="1.2.7.1"
    )
    gate.send(ct)
    _pretend_to_have_made(gate, ct.StudyInstanceUID, result.SOPInstanceUID)
    (gate.data_dir / "results").mkdir(exist_ok=True)
    result.save_as(gate.data_dir / "results" / "x", enforce_file_format=True)
    assert gate.send(result, _changed(result, PatientName="As^A^PACS^Has^It")) == [SUCCESS, SUCCESS]
    assert gate.send(_brighter(result)) == [KEPT_ASIDE]
    assert [row.reason for row in gate.quarantine()] == ["our_result_other_pixels"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC])
def test_result_of_ours_that_cannot_be_compared_at_the_moment_stays_with_its_sender(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    result = _report(ct.StudyInstanceUID)
    gate.send(ct)
    _pretend_to_have_made(gate, ct.StudyInstanceUID, result.SOPInstanceUID)

    def cannot(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("gateway.listener.intake.again.read_instance", cannot)
        assert gate.send(result) == [OUT_OF_RESOURCES]
    assert gate.send(result) == [SUCCESS]


@pytest.mark.parametrize("code", [64 + errno.EMFILE, -signal.SIGKILL])
def test_recoded_instance_that_cannot_be_compared_at_the_moment_stays_with_its_sender(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    gate.send(ct)
    recoded = _changed(ct, PatientName="Right^Name")  # only then are the pixels compared
    recoded.compress(RLELossless, generate_instance_uid=False)

    ended = subprocess.CompletedProcess([], code)
    monkeypatch.setattr("gateway.listener.intake.same_pixels.subprocess.run", lambda *_, **__: ended)
    assert gate.send(recoded) == [OUT_OF_RESOURCES]
    assert gate.quarantine() == []


def test_result_of_another_gateway_is_kept_and_never_an_input(gate, ct: Dataset) -> None:
    from converter.results.settings import MANUFACTURER, MODEL_NAME

    result = _report(ct.StudyInstanceUID)
    result.SOPClassUID = SegmentationStorage
    result.Manufacturer, result.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    assert gate.send(result) == [SUCCESS]
    (row,) = gate.instances()
    assert (row.of_use, row.why_not) == (0, "a result of this software")


def _pretend_to_have_made(gate, study_uid: str, sop_instance_uid: str) -> None:
    planned = PlannedJob("k", "s", "slot", "ct", "tissue", {}, "threshold", 0, (), (), ("seg",), "header")
    result = result_of_one("results/x", sop_instance_uid, "header")
    with gate.ledger.transaction() as transaction:
        plan = StudyPlan(study_uid, transaction.study(study_uid).generation, (planned,), ())
        complete_study(transaction, plan, evidence="released")
        transaction.move_job("k", JobEvent.SEGMENTED)
        record_result(transaction, transaction.job("k"), result, lambda _: ())


# -- no room ----------------------------------------------------------------------------------------------


class _FullDisk(io.BytesIO):
    """Takes the header, then is full."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 2000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_disk_that_runs_full_in_the_middle_leaves_the_object_to_its_sender(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    with gate.association((CTImageStorage, ExplicitVRLittleEndian)) as association:
        assert association.send_c_store(slices[0]).Status == SUCCESS
        with monkeypatch.context() as patch:
            patch.setattr(IncomingFile, "__init__", _open_on_a_full_disk)
            assert association.send_c_store(slices[1]).Status == OUT_OF_RESOURCES
        assert association.send_c_store(slices[2]).Status == SUCCESS
    assert [row.sop_instance_uid for row in gate.instances()] == [
        slices[0].SOPInstanceUID,
        slices[2].SOPInstanceUID,
    ]
    assert gate.files("incoming") == []
    assert gate.quarantine() == []


def _open_on_a_full_disk(
    incoming: IncomingFile, folder: Path, has_room: Callable[[], bool], *_: object
) -> None:
    incoming.path = folder / "full.part"
    incoming._coming = ComingInstance()
    incoming.path.touch()
    incoming.name, incoming.error, incoming._stream = str(incoming.path), None, _FullDisk()
    incoming._has_room, incoming._unasked_bytes, incoming._left_bytes = has_room, 0, 1 << 40


def test_folder_that_takes_no_file_leaves_the_object_to_its_sender(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.listener._folder, "folder", gate.data_dir / "gone")
    assert gate.send(ct) == [OUT_OF_RESOURCES]
    assert gate.instances() == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), sqlite3.OperationalError("full")])
def test_instance_that_the_ledger_cannot_take_is_left_to_its_sender_without_a_trace(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("gateway.listener.intake.filing.store_instance", fail)
        assert gate.send(ct) == [OUT_OF_RESOURCES]
    assert (gate.instances(), gate.files("instances"), gate.files("incoming")) == ([], [], [])
    assert gate.send(ct) == [SUCCESS]


def test_room_under_the_low_water_mark_rejects_new_associations_for_now(
    make_gate: Callable[..., Any],
) -> None:
    gate = make_gate(low_water_mb=10**9)
    association = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
    assert association.is_rejected
    assert association.acceptor.primitive.result == REJECTED_TRANSIENT


def test_room_that_falls_under_the_low_water_mark_refuses_the_next_object(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    with gate.association((CTImageStorage, ExplicitVRLittleEndian)) as association:
        assert association.send_c_store(slices[0]).Status == SUCCESS
        monkeypatch.setattr(Admission, "has_room", lambda _: False)
        assert association.send_c_store(slices[1]).Status == OUT_OF_RESOURCES
    assert len(gate.instances()) == 1
    assert gate.files("incoming") == []


def test_damage_to_the_ledger_rejects_new_associations_for_now_and_stores_nothing_more(
    gate, slices: list[Dataset]
) -> None:
    with gate.association((CTImageStorage, ExplicitVRLittleEndian)) as association:
        assert association.send_c_store(slices[0]).Status == SUCCESS
        gate.ledger.note_damage("page 7 is none")
        assert association.send_c_store(slices[1]).Status == OUT_OF_RESOURCES
        second = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
        assert second.is_rejected
        assert second.acceptor.primitive.result == REJECTED_TRANSIENT
    assert len(gate.instances()) == 1
    assert (len(gate.files("instances")), gate.files("incoming")) == (1, [])


# -- who may send -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ae_title", "address"), [("PACS", "10.0.0.0/8"), ("OTHER", "127.0.0.0/8"), ("PAC", "127.0.0.1")]
)
def test_stranger_is_rejected_for_good(make_gate: Callable[..., Any], ae_title: str, address: str) -> None:
    gate = make_gate(allow=[AllowedSender(ae_title=ae_title, address=address)])
    association = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
    assert association.is_rejected
    assert association.acceptor.primitive.result == REJECTED_PERMANENT


def test_sender_that_is_allowed_may_send(make_gate: Callable[..., Any], ct: Dataset) -> None:
    gate = make_gate(
        allow=[
            AllowedSender(ae_title="OTHER", address="10.0.0.0/8"),
            AllowedSender(ae_title="PACS", address="127.0.0.1/32"),
        ]
    )
    assert gate.send(ct) == [SUCCESS]


def test_one_association_too_many_is_rejected_for_now(make_gate: Callable[..., Any]) -> None:
    gate = make_gate(max_associations=1)
    with gate.association((CTImageStorage, ExplicitVRLittleEndian)):
        second = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
        assert second.is_rejected
        assert second.acceptor.primitive.result == REJECTED_TRANSIENT


def test_sender_that_released_an_association_finds_its_place_free_at_once(
    make_gate: Callable[..., Any], ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = make_gate(max_associations=1)
    is_asked_again, told = threading.Event(), gate.listener.endings.tell

    def tell_late(ending: object) -> None:
        assert is_asked_again.wait(30)  # a ledger that is slow holds up nobody else
        told(ending)

    monkeypatch.setattr(gate.listener.endings, "tell", tell_late)
    contexts = [(CTImageStorage, ExplicitVRLittleEndian)]
    first = gate.associate(contexts)
    assert first.send_c_store(ct).Status == SUCCESS
    first.release()
    next_one = gate.associate(contexts)
    is_asked_again.set()
    assert next_one.is_established
    next_one.release()
    gate.wait_for(lambda: gate.listener.state()["associations"] == 0)


def test_object_that_comes_for_longer_than_a_silence_may_last_is_not_broken_off(
    make_gate: Callable[..., Any], ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.listener.wire.associations.NETWORK_TIMEOUT_S", 0.5)
    gate, content = make_gate(), _encoded(ct)
    opened = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
    opened._reactor_checkpoint.clear()  # else its reactor takes the answer
    gate.wait_for(lambda: opened._is_paused)
    gate.begin_to_send(opened, ct)
    for start in range(1000, 2000, 100):
        time.sleep(0.15)  # the pace of a slow line
        gate.send_fragments(opened, (b"\0", content[start : start + 100]))
    gate.send_fragments(opened, (b"\2", content[2000:]))
    _, answer = opened.dimse.get_msg(block=True)
    assert answer is not None
    assert answer.Status == SUCCESS
