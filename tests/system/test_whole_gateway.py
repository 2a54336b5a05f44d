"""The whole gateway between dcmtk's storescu and Orthanc, on the real demo study."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from converter.seg.decoder import read_segmentation
from converter.series import Volume, volume_of
from gateway.adapters.dicom.peer import parse_peer
from gateway.delivery.sending import send_files
from tests.edited import as_dcmjs_does

pytestmark = [pytest.mark.peer("orthanc"), pytest.mark.peer("dcmtk")]


def done(study: dict[str, Any]) -> bool:
    return bool(study["state"] in ("done", "failed"))


@pytest.fixture
def world(make_world: Callable[..., Any], orthanc: Any) -> Any:
    world = make_world(("pacs", orthanc.peer.ae_title, orthanc.peer.port))
    world.start()
    return world


def address_of(world: Any) -> Any:
    return parse_peer((world.data_dir / "dicom-address").read_text().strip())


def segs_in(orthanc: Any, study_uid: str, folder: Path) -> list[Path]:
    """The segmentations that Orthanc holds of a study."""
    return objects_in(orthanc, study_uid, "SEG", folder)


def objects_in(orthanc: Any, study_uid: str, modality: str, folder: Path) -> list[Path]:
    """What Orthanc holds of a study in series of a modality, fetched over its REST API."""
    address, user = orthanc.rest
    with httpx.Client(base_url=address, auth=user, trust_env=False) as client:
        query = {"Level": "Series", "Query": {"StudyInstanceUID": study_uid, "Modality": modality}}
        files = []
        for series in client.post("/tools/find", json=query).json():
            for instance in client.get(f"/series/{series}").json()["Instances"]:
                path = folder / f"{instance}.dcm"
                path.write_bytes(client.get(f"/instances/{instance}/file").content)
                files.append(path)
        return files


@pytest.mark.peer("dicom3tools")
def test_real_study_sent_by_storescu_comes_back_as_a_segmentation_beside_its_ct(
    world: Any, orthanc: Any, storescu: Callable[..., Any], demo_study: Path, tmp_path: Path
) -> None:
    files = sorted(demo_study.glob("*.dcm"))
    source = dcmread(files[0], stop_before_pixels=True)
    # The PACS holds the CT, and routes it to the gateway.
    for peer in (orthanc.peer, address_of(world)):
        sent = storescu(files, peer)
        assert sent.returncode == 0, sent.stderr

    study = world.until(source.StudyInstanceUID, done)
    assert study["state"] == "done", study
    assert study["reason"] == "delivered"
    (seg_path,) = segs_in(orthanc, source.StudyInstanceUID, tmp_path)

    seg = hd.seg.segread(seg_path)
    assert seg.PatientID == source.PatientID
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert [seg.get_segment_description(n).SegmentNumber for n in seg.segment_numbers] == list(
        range(1, seg.number_of_segments + 1)
    )
    referenced = {uid for _, _, uid in seg.get_source_image_uids()}
    assert referenced == {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in files}
    labels = {seg.get_segment_description(n).segment_label for n in seg.segment_numbers}
    assert {"Bone", "Soft tissue", "Fat"} <= labels
    assert not dciodvfy_errors(seg_path)
    read_by_dcmqi(seg_path, tmp_path / "dcmqi", segments=seg.number_of_segments)
    (result,) = (world.data_dir / "results").glob("*/*.dcm")
    assert dcmread(result).PixelData == dcmread(seg_path).PixelData
    assert world.stop() == 0


def test_report_and_contours_come_back_beside_the_segmentation_and_are_never_taken_as_input(
    make_world: Callable[..., Any],
    orthanc: Any,
    storescu: Callable[..., Any],
    small_study: Path,
    tmp_path: Path,
) -> None:
    files = sorted(small_study.glob("*.dcm"))
    study_uid = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    rule = '[[rule]]\nname = "ct"\noutputs = ["sr", "rtstruct", "seg"]\n'
    world = make_world(("pacs", orthanc.peer.ae_title, orthanc.peer.port), config=rule)
    world.start()
    assert storescu(files, address_of(world)).returncode == 0
    study = world.until(study_uid, done)
    assert study["reason"] == "delivered", study

    made = {dcmread(path).Modality: path for path in (world.data_dir / "results").glob("*/*.dcm")}
    assert set(made) == {"SEG", "SR", "RTSTRUCT"}
    for modality, path in made.items():
        (came,) = objects_in(orthanc, study_uid, modality, tmp_path)
        assert dcmread(came) == dcmread(path)
    numbers = [dcmread(path).SeriesNumber for path in made.values()]
    assert len(set(numbers)) == 3
    groups = hd.sr.srread(made["SR"]).content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_uid for group in groups] == [
        segment.TrackingUID for segment in dcmread(made["SEG"]).SegmentSequence
    ]
    # An auto-routing rule that is too wide sends them to the gateway.
    sent = send_files(list(made.values()), address_of(world), "STORESCU")
    assert [each.status for each in sent] == [0x0000] * 3
    again = world.until(study_uid, done)
    assert len(again["jobs"]) == len(study["jobs"]) == 1
    assert world.stop() == 0


def test_pictures_and_document_come_back_and_are_never_taken_as_input(
    make_world: Callable[..., Any], recording_pacs: Any, small_study: Path
) -> None:
    study_uid = dcmread(next(small_study.glob("*.dcm")), stop_before_pixels=True).StudyInstanceUID
    rule = '[[rule]]\nname = "ct"\noutputs = ["seg", "overlay", "summary", "pdf"]\n'
    world = make_world(("pacs", "RECORDER", recording_pacs.port), config=rule)
    world.start()
    world.send(small_study)
    study = world.until(study_uid, done)
    assert study["reason"] == "delivered", study

    made = [dcmread(path) for path in (world.data_dir / "results").glob("*/*.dcm")]
    assert sorted(one.Modality for one in made) == ["DOC", *["OT"] * 9, "SEG"]
    assert len({one.SeriesInstanceUID for one in made}) == 4
    assert len({one.SeriesNumber for one in made}) == 4
    assert recording_pacs.objects == {one.SOPInstanceUID for one in made}
    # An auto-routing rule that is too wide sends them to the gateway.
    sent = send_files(sorted((world.data_dir / "results").glob("*/*.dcm")), address_of(world), "STORESCU")
    assert {each.status for each in sent} == {0x0000}
    again = world.until(study_uid, done)
    assert len(again["jobs"]) == len(study["jobs"]) == 1
    told = [line["event"] for line in again["timeline"]]
    assert told.count("instance.our_own_result") == len(made)
    assert world.stop() == 0


def test_label_map_goes_to_the_pacs_and_shows_the_same_as_bits_do(
    make_world: Callable[..., Any],
    orthanc: Any,
    storescu: Callable[..., Any],
    demo_study: Path,
    tmp_path: Path,
) -> None:
    files = sorted(demo_study.glob("*.dcm"))
    volume = volume_of(files)
    world = make_world(("pacs", orthanc.peer.ae_title, orthanc.peer.port))
    world.start(IRIS_SEG__TYPE="labelmap")
    assert storescu(files, address_of(world)).returncode == 0
    study = world.until(volume.study_uid, done)
    assert study["reason"] == "delivered", study
    (path,) = (world.data_dir / "results").glob("*/*.dcm")
    assert world.stop() == 0

    seg = dcmread(path)
    came = [other for other in segs_in(orthanc, volume.study_uid, tmp_path) if dcmread(other) == seg]
    assert (seg.SegmentationType, seg.file_meta.TransferSyntaxUID, len(came)) == ("LABELMAP", RLELossless, 1)
    read = read_segmentation(came[0], volume)
    assert {"bone", "soft_tissue", "adipose_tissue"} <= {segment.label for segment in read.segments}
    assert np.array_equal(read.numbers, hd_numbers(came[0], volume))


def hd_numbers(path: Path, volume: Volume) -> np.ndarray:
    """Segment numbers on the frames of a volume, as highdicom reads them."""
    uids = [frame.sop_instance_uid for frame in volume.frames]
    return hd.seg.segread(path).get_pixels_by_source_instance(
        uids, combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )


def dciodvfy_errors(path: Path) -> list[str]:
    answer = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "Segmentation" in answer.stdout + answer.stderr
    return [line for line in (answer.stdout + answer.stderr).splitlines() if line.startswith("Error")]


def read_by_dcmqi(seg: Path, folder: Path, *, segments: int) -> None:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which("segimage2itkimage", path=programs)
    assert program, "dcmqi is a development dependency of this project"
    folder.mkdir()
    answer = subprocess.run(
        [program, "--inputDICOM", str(seg), "--outputDirectory", str(folder), "-t", "nii"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert len(list(folder.glob("*.nii.gz"))) == segments


def test_log_and_job_folder_say_nothing_of_the_patient(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    """Also not when things go wrong: a slice is missing, and an object that cannot be parsed comes in."""
    study_uid = write_study(tmp_path / "study", seed="private", name="Confidential^Person")
    (tmp_path / "study" / "004.dcm").unlink()
    slice_ = dcmread(tmp_path / "study" / "001.dcm")
    slice_.PixelData = slice_.PixelData[:100]
    slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start()
    world.send(tmp_path / "study")
    slice_.save_as(tmp_path / "damaged.dcm")
    assert send_files([tmp_path / "damaged.dcm"], address_of(world), "SENDER")[0].status == 0xB007
    study = world.until(study_uid, lambda study: study["state"] == "held")
    world.post(f"/api/v1/quarantine/{study['jobs'][0]['job_key']}/release")
    world.until(study_uid, lambda study: study["state"] == "done")
    assert world.stop() == 0

    secrets = [slice_.PatientID, "Confidential", study_uid, slice_.SeriesInstanceUID, "1.2.3.4", "20260102"]
    job_folder = next((world.data_dir / "objects" / "jobs").iterdir())
    said = {"log": world.log.read_bytes(), "folder": b"".join(map(_readable, job_folder.iterdir()))}
    for where, text in said.items():
        assert not [secret for secret in secrets if secret.encode() in text], where


def _readable(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_study_sent_twice_runs_once_and_comes_back_once(
    world: Any, orthanc: Any, storescu: Callable[..., Any], small_study: Path, tmp_path: Path
) -> None:
    files = sorted(small_study.glob("*.dcm"))
    study_uid = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    for _ in range(2):
        assert storescu(files, address_of(world)).returncode == 0
        study = world.until(study_uid, done)
    assert study["state"] == "done"
    assert [line["event"] for line in study["timeline"]].count("job.submitted") == 1
    assert len(segs_in(orthanc, study_uid, tmp_path)) == 1


@pytest.mark.parametrize(
    ("transition", "moment"),
    [
        *(("job.encoded", "after"), ("delivery.sent", "before")),
        *(
            pytest.param(transition, moment, marks=pytest.mark.long)
            for transition, moment in (
                *(("job.encoded", "before"), ("delivery.sent", "after")),
                *(("job.delivered", "before"), ("job.delivered", "after")),
            )
        ),
    ],
)
def test_orthanc_holds_one_segmentation_although_the_gateway_was_killed_on_the_way(
    make_world: Callable[..., Any],
    orthanc: Any,
    write_study: Callable[..., str],
    tmp_path: Path,
    transition: str,
    moment: str,
) -> None:
    """Killed before `delivery.sent` is written, it sends an object again that Orthanc has already."""
    study_uid = write_study(tmp_path / "study", seed=f"{transition} {moment}")
    world = make_world(("pacs", orthanc.peer.ae_title, orthanc.peer.port))
    world.start(f"{transition}:{moment}")
    world.send(tmp_path / "study")
    world.until_revived()
    world.until(study_uid, done)
    (seg,) = segs_in(orthanc, study_uid, tmp_path)
    (result,) = (world.data_dir / "results").glob("*/*.dcm")
    assert dcmread(seg) == dcmread(result)
    assert world.stop() == 0


def test_our_own_result_routed_back_is_acknowledged_and_never_an_input(
    world: Any, orthanc: Any, storescu: Callable[..., Any], small_study: Path, tmp_path: Path
) -> None:
    files = sorted(small_study.glob("*.dcm"))
    study_uid = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    assert storescu(files, address_of(world)).returncode == 0
    world.until(study_uid, done)
    (seg,) = segs_in(orthanc, study_uid, tmp_path)
    assert storescu([seg], address_of(world)).returncode == 0
    study = world.until(
        study_uid, lambda s: "instance.our_own_result" in [line["event"] for line in s["timeline"]]
    )
    assert study["state"] == "done"
    assert len(study["jobs"]) == 1

    # Somebody edits it in a viewer, saves it, and the PACS routes it too; and somebody draws a lesion.
    volume = volume_of(files)
    read = read_segmentation(seg, volume)
    labels = {segment.SegmentNumber: segment.SegmentLabel for segment in dcmread(seg).SegmentSequence}
    masks = {label: read.numbers == number for number, label in labels.items()}
    masks["Bone"] = masks["Bone"].copy()
    masks["Bone"][0] = False
    edited = as_dcmjs_does(volume, masks, tmp_path / "edited.dcm")
    lesion = as_dcmjs_does(volume, {"Lesion": np.roll(masks["Bone"], 3, axis=2)}, tmp_path / "lesion.dcm")
    assert storescu([edited, lesion], address_of(world)).returncode == 0
    study = world.until(study_uid, lambda s: s["jobs"][0]["corrections"] and done(s))
    (job,) = study["jobs"]
    (correction,) = job["corrections"]
    assert (job["state"], correction["state"]) == ("delivered", "compared")
    assert {one["structure"]: one["dice"] for one in correction["structures"] if one["dice"] != 1.0} == {
        "bone": pytest.approx(14 / 15, abs=0.001)
    }
    assert len(segs_in(orthanc, study_uid, tmp_path)) == 1
    assert 'iris_corrections{state="compared"} 1.0' in world.file("/metrics").decode()


def test_images_that_a_killed_conversion_leaves_lie_in_the_data_directory_and_go_at_the_next_start(
    make_world: Callable[..., Any], recording_pacs: Any
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    left_over = world.data_dir / "work" / "temporary" / "iris-convert-killed" / "00000.dcm"
    left_over.parent.mkdir(parents=True)
    left_over.write_bytes(b"an image")
    world.start()
    assert not left_over.exists()
    assert left_over.parents[1].is_dir()
    assert world.data_dir.stat().st_mode & 0o077 == 0
    assert world.stop() == 0


def test_job_key_is_the_same_at_two_gateways_that_share_the_secret(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    """Same secret, same study: the same job key; and one gateway's labels serve the other."""
    study_uid = write_study(tmp_path / "study", seed="anew")
    keys = []
    secret = tmp_path / "secret"
    for _ in range(2):
        world = make_world(("pacs", "RECORDER", recording_pacs.port))
        world.start(IRIS_SITE__SECRET_FILE=str(secret))
        world.send(tmp_path / "study")
        study = world.until(study_uid, done)
        keys.append(study["jobs"][0]["job_key"])
        assert world.stop() == 0
    assert keys[0] == keys[1]
    assert secret.stat().st_mode & 0o077 == 0
