"""The command `iris` as a user types it: exit codes, one line of error, JSON listings."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, MRImageStorage, RLELossless
from pynetdicom import AE, evt
from typer.testing import CliRunner

from converter.derived.series import write_series
from gateway.cli import app

Iris = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hanging_dcm2niix(tmp_path: Path) -> dict[str, str]:
    """Variables with which each new Python finds a dcm2niix that says in the file `started` that it hangs."""
    script = tmp_path / "dcm2niix"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 600\n")
    script.chmod(0o755)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(f"import dcm2niix\ndcm2niix.bin = {str(script)!r}\n")
    (tmp_path / "temporary").mkdir()
    return {"PYTHONPATH": str(tmp_path / "site"), "TMPDIR": str(tmp_path / "temporary")}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_convert_that_is_told_to_end_ends_and_leaves_nothing(
    demo_study: Path, tmp_path: Path, hanging_dcm2niix: dict[str, str], number: int, code: int
) -> None:
    (tmp_path / "out").mkdir()
    iris = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gateway.cli",
            "convert",
            str(demo_study),
            str(tmp_path / "out" / "ct.nii.gz"),
        ],
        cwd=tmp_path,
        env=os.environ | hanging_dcm2niix,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        iris.send_signal(number)
        assert iris.wait(60) == code
    finally:
        iris.kill()
        iris.wait()
    assert list((tmp_path / "out").iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.fixture(scope="session")
def torso(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series derived from the torso CT."""
    folder = tmp_path_factory.mktemp("torso")
    write_series(data / "ct-torso-3mm" / "ct.nii.gz", folder)
    return folder


def test_encode_and_decode_give_the_labels_back_voxel_for_voxel(
    iris_afresh: Iris, torso: Path, data: Path, tmp_path: Path
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    encoded = iris_afresh("encode", torso, labels, "seg.dcm", "--task", "total")
    assert encoded.returncode == 0, encoded.stderr
    assert dcmread(tmp_path / "seg.dcm").SegmentationType == "BINARY"
    decoded = iris_afresh("decode", "seg.dcm", torso, "back.nii.gz")
    assert decoded.returncode == 0, decoded.stderr
    back, original = (nib.as_closest_canonical(nib.load(path)) for path in (tmp_path / "back.nii.gz", labels))
    assert np.allclose(back.affine, original.affine, atol=1e-3)
    assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(original.dataobj))


@pytest.mark.parametrize(
    "form",
    [
        ["--type", "labelmap"],
        ["--type", "labelmap", "--syntax", "jpegls", "--no-background-item"],
        ["--syntax", "deflated", "--crop"],
    ],
)
def test_encode_in_another_form_decodes_to_the_same_labels(
    iris: Iris, torso: Path, data: Path, tmp_path: Path, form: list[str]
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    assert iris("encode", torso, labels, tmp_path / "seg.dcm", *form).returncode == 0
    assert iris("decode", tmp_path / "seg.dcm", torso, tmp_path / "back.nii.gz").returncode == 0
    there, back = (
        nib.as_closest_canonical(nib.load(path)).get_fdata() for path in (labels, tmp_path / "back.nii.gz")
    )
    assert np.array_equal(there, back)


def test_encode_twice_gives_the_same_bytes(iris: Iris, torso: Path, data: Path, tmp_path: Path) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    for name in ("one.dcm", "two.dcm"):
        assert iris("encode", torso, labels, name).returncode == 0
    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()


def test_encode_says_what_its_options_say(iris: Iris, torso: Path, data: Path, tmp_path: Path) -> None:
    names = {value: f"part {value}" for value in range(1, 118)}
    (tmp_path / "names.json").write_text(json.dumps(names))
    said = ("--algorithm-name", "our model", "--algorithm-version", "7", "--labels", "names.json")
    series = ("--series-description", "Parts", "--series-number", "41")
    answer = iris("encode", torso, data / "ct-torso-3mm" / "labels.nii.gz", "seg.dcm", *said, *series)
    assert answer.returncode == 0, answer.stderr
    seg = dcmread(tmp_path / "seg.dcm")
    assert (seg.SeriesDescription, seg.SeriesNumber) == ("Parts", 41)
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("our model", "7")
    assert {segment.TrackingID for segment in seg.SegmentSequence} <= set(names.values())
    assert all("own labels part" in segment.SegmentDescription for segment in seg.SegmentSequence)


def test_encode_with_a_table_of_codes_says_them_in_each_segment(
    iris: Iris, torso: Path, data: Path, tmp_path: Path
) -> None:
    rows = [
        f"{value},part {value},123037004 Anatomical Structure,99OURS:P{value} Part,,1 2 3"
        for value in range(1, 118)
    ]
    table = "\n".join(("value,name,category,type,region,rgb", *rows))
    (tmp_path / "names.csv").write_text(table)
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    answer = iris("encode", torso, labels, "seg.dcm", "--labels", "names.csv", "--task", "total_mr")
    assert answer.returncode == 0, answer.stderr
    for segment in dcmread(tmp_path / "seg.dcm").SegmentSequence:
        (code,) = segment.SegmentedPropertyTypeCodeSequence
        value = segment.SegmentDescription.rpartition(" ")[2]
        assert (code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning) == (
            "99OURS",
            f"P{value}",
            "Part",
        )
        assert segment.SegmentDescription.startswith("total_mr part ")


def test_encode_on_an_even_grid_is_for_segmentations_of_uneven_slices(
    iris: Iris, torso: Path, data: Path, tmp_path: Path
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    uneven = shutil.copytree(torso, tmp_path / "uneven")
    path = sorted(uneven.iterdir())[0]
    image = dcmread(path)
    image.ImagePositionPatient[2] += 1.5
    image.save_as(path)
    wrong = iris("encode", uneven, labels, "sr.dcm", "--format", "sr", "--even-grid")
    assert "--even-grid are not for --format sr" in " ".join(wrong.stderr.split())
    answer = iris("encode", uneven, labels, "seg.dcm", "--even-grid")
    assert answer.returncode == 0, answer.stderr
    assert dcmread(tmp_path / "seg.dcm").ContentDescription.startswith("Even grid: ")


def test_encode_as_overlay_fills_a_folder_with_pictures(
    iris: Iris, torso: Path, data: Path, tmp_path: Path
) -> None:
    said = ("--format", "overlay", "--plane", "coronal", "--syntax", "rle")
    answer = iris("encode", torso, data / "ct-torso-3mm" / "labels.nii.gz", "out", *said)
    assert answer.returncode == 0, answer.stderr
    pictures = [dcmread(path) for path in (tmp_path / "out").iterdir()]
    assert len(pictures) == dcmread(next(torso.iterdir())).Rows
    assert {picture.SOPClassUID.name for picture in pictures} == {"Secondary Capture Image Storage"}
    assert {picture.file_meta.TransferSyntaxUID for picture in pictures} == {RLELossless}


def test_encode_as_overlay_that_would_be_too_large_shows_fewer_slices_and_says_so(
    iris: Iris, torso: Path, data: Path, tmp_path: Path
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    answer = iris("encode", torso, labels, "out", "--format", "overlay", "--max-mb", "3")
    assert answer.returncode == 0, answer.stderr
    assert "more than 3 MB" in " ".join(answer.stderr.split())
    pictures = list((tmp_path / "out").iterdir())
    assert 1 < len(pictures) < len(list(torso.iterdir()))
    assert sum(path.stat().st_size for path in pictures) < 3.2e6


@pytest.mark.parametrize(
    ("form", "modality", "title"), [("sr", "SR", "Measurements"), ("rtstruct", "RTSTRUCT", "Contours")]
)
def test_encode_makes_other_outputs_of_the_same_labels_in_series_of_their_own(
    iris: Iris, torso: Path, data: Path, tmp_path: Path, form: str, modality: str, title: str
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    for name, said in (("seg.dcm", ()), ("one.dcm", ("--format", form)), ("two.dcm", ("--format", form))):
        assert iris("encode", torso, labels, name, *said).returncode == 0
    seg, made = dcmread(tmp_path / "seg.dcm"), dcmread(tmp_path / "one.dcm")
    assert (made.Modality, made.StudyInstanceUID) == (modality, seg.StudyInstanceUID)
    assert made.SeriesNumber != seg.SeriesNumber
    assert made.SeriesDescription == f"{title} {seg.SeriesDescription}"
    assert made.SeriesInstanceUID != seg.SeriesInstanceUID
    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()
    wrong = iris("encode", torso, labels, "three.dcm", "--format", form, "--type", "labelmap")
    assert wrong.returncode == 2
    assert f"are not for --format {form}" in " ".join(wrong.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--format", "hologram"), 2, "--format is one of seg"),
        (("--format", "surface"), 1, "this version makes --format seg"),
        (("--format", "overlay", "--plane", "curved"), 2, "there is no plane"),
        (("--plane", "axial"), 2, "--plane are not for --format seg"),
        (("--max-mb", "5"), 2, "--max-mb are not for --format seg"),
        (("--algorithm-name", "ours"), 2, "belong together"),
        (("--series-description", "x" * 65), 2, "at most 64 characters"),
        (("--series-number", "-1"), 2, "--series-number"),
        (("--labels", "gone.json"), 2, "gone.json"),
        (("--labels", "list.json"), 1, "is no JSON object of values and names"),
        (("--labels", "wrong.json"), 1, "300 is no value from 1 to 255 with a name"),
        (("--labels", "slash.json"), 1, "1 is no value from 1 to 255 with a name"),
        (("--labels", "few.json"), 1, "the label table has no name for"),
    ],
)
def test_encode_with_wrong_options_says_which(
    iris: Iris, torso: Path, data: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    files = {"list": [], "wrong": {"300": "liver"}, "slash": {"1": "a\\b"}, "few": {"1": "spleen"}}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    answer = iris("encode", torso, data / "ct-torso-3mm" / "labels.nii.gz", "seg.dcm", *arguments)
    assert answer.returncode == code
    assert words in " ".join(answer.stderr.split())
    assert not (tmp_path / "seg.dcm").exists()


def test_convert_of_a_series_writes_a_nifti(iris: Iris, demo_study: Path, tmp_path: Path) -> None:
    answer = iris("convert", demo_study, "ct.nii.gz")
    assert answer.returncode == 0, answer.stderr
    assert nib.load(tmp_path / "ct.nii.gz").shape == (512, 512, 20)


@pytest.fixture
def odd_series(torso: Path, tmp_path: Path) -> Callable[..., Path]:
    """The torso without some of its slices, so that it has a gap, or spaced unevenly."""

    def make(*missing: int, uneven: bool = False) -> Path:
        folder = tmp_path / "odd"
        folder.mkdir()
        for number, path in enumerate(sorted(torso.iterdir())):
            if number in missing:
                continue
            image = dcmread(path)
            if uneven:
                x, y, z = map(float, image.ImagePositionPatient)
                image.ImagePositionPatient = [x, y, z + 0.9 * (number % 3)]
            image.save_as(folder / path.name)
        return folder

    return make


@pytest.mark.parametrize(
    ("missing", "uneven", "words"),
    [
        ((12, 13), False, "warning: 2 slices are missing between image 12 and image 15"),
        ((), True, "mm apart; labels are carried back from an even grid"),
        ((12, 13), True, "warning: 2 slices are missing between image 12 and image 15"),
    ],
)
def test_convert_and_encode_take_odd_series_with_a_warning(
    iris: Iris,
    odd_series: Callable[..., Path],
    data: Path,
    tmp_path: Path,
    missing: tuple[int, ...],
    uneven: bool,
    words: str,
) -> None:
    series = odd_series(*missing, uneven=uneven)
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    for arguments in (("convert", series, "ct.nii.gz"), ("encode", series, labels, "seg.dcm")):
        answer = iris(*arguments)
        assert answer.returncode == 0, answer.stderr
        assert words in answer.stderr
    assert nib.load(tmp_path / "ct.nii.gz").ndim == 3


def test_labels_of_a_series_with_a_gap_are_exact_on_the_slices_that_exist(
    iris: Iris, odd_series: Callable[..., Path], torso: Path, data: Path, tmp_path: Path
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    assert iris("encode", torso, labels, "whole.dcm").returncode == 0
    assert iris("encode", odd_series(12, 13), labels, "gapped.dcm").returncode == 0
    whole, gapped = (masks(tmp_path / name) for name in ("whole.dcm", "gapped.dcm"))
    assert gapped.keys() < whole.keys()
    assert all(np.array_equal(mask, whole[key]) for key, mask in gapped.items())
    heights = {z for z, _ in whole} - {z for z, _ in gapped}
    assert len(heights) == 2


def masks(path: Path) -> dict[tuple[float, str], np.ndarray]:
    """Each frame's mask by its height and the label of its segment."""
    seg = hd.seg.segread(path)
    found = {}
    for number, groups in enumerate(seg.PerFrameFunctionalGroupsSequence):
        height = float(groups.PlanePositionSequence[0].ImagePositionPatient[2])
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[height, seg.get_segment_description(segment).segment_label] = seg.pixel_array[number]
    return found


def test_convert_of_a_multi_frame_object_writes_its_frames(iris: Iris, data: Path, tmp_path: Path) -> None:
    answer = iris("convert", data / "oddities" / "hyperfine_mr" / "001", "mr.nii.gz")
    assert answer.returncode == 0, answer.stderr
    assert nib.load(tmp_path / "mr.nii.gz").shape == (112, 138, 8)


@pytest.mark.parametrize("name", ["notavolume", "slicecount", "sliceorientation"])
def test_convert_of_no_volume_fails_with_one_line_that_says_why(iris: Iris, data: Path, name: str) -> None:
    answer = iris("convert", data / "oddities" / name / "001", "out.nii.gz")
    assert answer.returncode == 1
    assert answer.stderr.startswith("iris: ")
    assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("total_mri", "known: total_mr, "),
        ("everything", "more, which docs/totalsegmentator.md lists"),
        ("totalsegmentator/total_mri", "it has: total_mr, "),
    ],
)
def test_encode_with_a_task_that_is_not_known_is_wrong_usage_and_says_which_there_are(
    iris: Iris, torso: Path, data: Path, tmp_path: Path, task: str, words: str
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    answer = iris("encode", torso, labels, "seg.dcm", "--task", task, COLUMNS="300")
    assert answer.returncode == 2
    assert words in answer.stderr
    assert not (tmp_path / "seg.dcm").exists()


def test_encode_with_a_task_for_another_modality_says_so_in_a_few_words(
    iris: Iris, torso: Path, data: Path, tmp_path: Path
) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    answer = iris("encode", torso, labels, "seg.dcm", "--task", "total_mr")
    assert answer.returncode == 1
    assert "the task total_mr is for MR, the series is CT" in answer.stderr
    assert len(answer.stderr) < 300
    assert not (tmp_path / "seg.dcm").exists()


def test_encode_of_labels_of_another_series_fails(iris: Iris, demo_study: Path, data: Path) -> None:
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    assert iris("encode", demo_study, labels, "seg.dcm").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["send"],
        ["convert"],
        ["send", ".", "--to", "nobody"],
        ["studies", "--limit", "0"],
        ["use", "1.2.3", "--volume", "the thin one"],
        ["studies", "--state", "bogus"],
        ["retry", "--all", "--state", "bogus", "--yes"],
        ["demo", "--pacs", "bogus"],
    ],
)
def test_wrong_usage_exits_with_two(iris: Iris, arguments: list[str]) -> None:
    assert iris(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["studies", "--limit", "0"], "must be 1 or more"),
        (["studies", "--limit", "x"], "must be a whole number"),
        (["studies", "--since", "yesterday"], "must be a time, as 2026-01-31"),
        (["convert", "nowhere", "out.nii"], "does not exist"),
    ],
)
def test_value_that_an_option_cannot_have_is_refused_in_our_words(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, says in result.output, "should" in result.output) == (2, True, False)


def test_completion_is_offered_for_the_shells() -> None:
    result = CliRunner().invoke(app, ["--show-completion", "bash"], prog_name="iris")
    assert "complete" in result.output


def test_send_to_nobody_fails_with_one_line(iris: Iris, demo_study: Path) -> None:
    answer = iris("send", demo_study, "--to", "NOBODY@127.0.0.1:1")
    assert answer.returncode == 1
    assert "cannot be reached" in answer.stderr


@pytest.mark.peer("orthanc")
def test_send_stores_every_file_at_a_pacs(iris: Iris, orthanc: Any, small_study: Path) -> None:
    answer = iris("send", small_study, "--to", str(orthanc.peer), "--calling", "IRIS-TEST")
    assert answer.returncode == 0, answer.stderr
    assert "8 of 8 files stored" in answer.stdout


def test_send_goes_on_after_a_refused_sop_class_counts_what_was_put_aside_and_exits_1(
    iris: Iris, torso: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    images = sorted(torso.glob("*.dcm"))[:3]
    for path in images:
        shutil.copy(path, study / f"2-{path.name}")
    other = dcmread(images[0])
    other.file_meta.MediaStorageSOPClassUID = other.SOPClassUID = MRImageStorage
    other.save_as(study / "1-mr.dcm")
    other.save_as(study / "3-mr.dcm")
    (study / "4-not-whole.dcm").write_bytes(bytes(128) + b"DICM")
    answers = iter([0x0000, 0xB007, 0x0000])
    entity = AE("PACS")
    entity.add_supported_context(CTImageStorage)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: next(answers))]
    )
    assert server is not None
    try:
        answer = iris("send", study, "--to", f"PACS@127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
    assert answer.returncode == 1
    assert "3 of 6 files stored" in answer.stdout
    assert "1 of them put aside there" in answer.stdout
    refused, aside, broken = sorted(answer.stderr.splitlines())
    assert refused.startswith("1-mr.dcm and 1 more: PACS@127.0.0.1")
    assert "MR Image Storage" in refused
    assert aside.startswith("2-")
    assert "0xB007" in aside
    assert broken.startswith("4-not-whole.dcm: ")


def test_listings_without_a_gateway_or_ledger_say_to_start_it(iris: Iris) -> None:
    for arguments in (
        ["studies"],
        ["study", "1.2.3"],
        ["retry", "abc"],
        ["use", "1.2.3", "--volume", "2"],
        ["forget", "1.2.3", "--yes"],
    ):
        answer = iris(*arguments)
        assert answer.returncode == 1
        assert "iris serve" in answer.stderr


def test_serve_with_an_unknown_key_names_it(iris: Iris, tmp_path: Path) -> None:
    (tmp_path / "iris.toml").write_text("[site]\ncolour = 'red'\n")
    answer = iris("serve", "--config", "iris.toml")
    assert answer.returncode == 1
    assert "site.colour" in answer.stderr


def test_serve_with_a_ct_task_on_mr_is_refused(iris: Iris, tmp_path: Path) -> None:
    (tmp_path / "iris.toml").write_text('[[rule]]\nname = "mr"\nwhen = { Modality = "MR" }\n')
    answer = iris("serve", "--config", "iris.toml")
    assert answer.returncode == 1
    assert "works on CT" in answer.stderr


def test_serve_with_what_does_not_work_yet_is_refused_with_the_way_out(iris: Iris) -> None:
    answer = iris("serve", IRIS_API__AUTH="cognito")
    assert answer.returncode == 1
    assert "use 'token'" in answer.stderr


def test_doctor_in_an_empty_folder_finds_warnings_only(iris: Iris, free_port: Callable[[], int]) -> None:
    answer = iris("doctor", "--json", IRIS_DICOM__PORT=str(free_port()), IRIS_API__PORT=str(free_port()))
    assert answer.returncode == 0, answer.stdout
    verdicts = {item["name"]: item["verdict"] for item in json.loads(answer.stdout)["items"]}
    assert verdicts["rules"] == verdicts["disk"] == verdicts["converter"] == "ok"
    assert verdicts["configuration"] == "warning"


def test_doctor_with_a_pacs_that_is_away_fails_and_says_the_fix(iris: Iris) -> None:
    pacs = '[{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1}]'
    answer = iris("doctor", "--json", IRIS_DESTINATION=pacs)
    assert answer.returncode == 1
    (check,) = [i for i in json.loads(answer.stdout)["items"] if i["name"] == "destination pacs"]
    assert check["verdict"] == "failed"
    assert check["fix"]


def test_doctor_with_a_missing_tls_file_has_a_failed_row_for_each_and_the_rest_of_its_table(
    iris: Iris, free_port: Callable[[], int]
) -> None:
    pacs = '[{"name": "pacs", "ae_title": "P", "host": "127.0.0.1", "port": 1, "tls": {"ca": "no/ca.pem"}}]'
    answer = iris(
        "doctor",
        "--json",
        IRIS_DESTINATION=pacs,
        IRIS_STUDY__FIND='{"ae_title": "P", "host": "127.0.0.1", "port": 1, "tls": {"ca": "no/find.pem"}}',
        IRIS_DICOM__TLS='{"certificate": "no/own.pem", "key": "no/own.key"}',
        IRIS_DICOM__PORT=str(free_port()),
        IRIS_API__PORT=str(free_port()),
    )
    assert answer.returncode == 1
    checks = {item["name"]: item for item in json.loads(answer.stdout)["items"]}
    for name, file in (
        ("destination pacs", "no/ca.pem"),
        ("PACS of study.find", "no/find.pem"),
        ("dicom.tls", "no/own.pem"),
    ):
        assert checks[name]["verdict"] == "failed"
        assert checks[name]["finding"] == f"{file} cannot be read: No such file or directory"
        assert checks[name]["fix"]
    assert checks["disk"]["verdict"] == "ok"


def test_send_interrupted_while_the_peer_says_nothing_ends(torso: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        peer = f"SILENT@127.0.0.1:{silent.getsockname()[1]}"
        sending = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "send", str(torso), "--to", peer], stderr=subprocess.PIPE
        )
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1) == b"\x01"  # it asks for an association (PS3.8 9.3.2)
            sending.send_signal(signal.SIGINT)
            try:
                sending.communicate(timeout=60)
            finally:
                sending.kill()
        assert sending.returncode != 0


def test_doctor_with_an_engine_that_is_not_installed_says_how_to_install_it(iris: Iris) -> None:
    answer = iris("doctor", "--json", IRIS_ENGINE__NAME="totalsegmentator")
    assert answer.returncode == 1
    (check,) = [i for i in json.loads(answer.stdout)["items"] if i["name"] == "engine for total"]
    assert check["verdict"] == "failed"
    assert "TotalSegmentator is not installed here" in check["finding"]


def test_doctor_with_an_engine_that_is_there_names_it(iris_afresh: Iris) -> None:
    answer = iris_afresh("doctor", "--json")
    (check,) = [i for i in json.loads(answer.stdout)["items"] if i["name"] == "engine for tissue"]
    assert check["verdict"] == "ok"
    finds = "finds bone, adipose_tissue, soft_tissue and 2 more in the reference case"
    assert check["finding"].startswith(f"threshold 1.0.0; {finds}, in ")


def test_serve_with_an_option_that_the_task_has_not_is_refused_at_start(iris: Iris, tmp_path: Path) -> None:
    rule = '[[rule]]\nname = "lungs"\ntask = "lung_vessels"\noptions = { fast = true }\n'
    (tmp_path / "iris.toml").write_text(f'[engine]\nname = "totalsegmentator"\n{rule}')
    answer = iris("serve", "--config", "iris.toml")
    assert answer.returncode == 1
    assert "rule lungs: the task lung_vessels has no fast model" in answer.stderr


# -- several volumes ----------------------------------------------------------------------------------------


@pytest.fixture
def echoes(torso: Path, tmp_path: Path) -> Path:
    """A series of two echoes, of sixteen slices and of fourteen; the second as bright again."""
    for number, path in enumerate(sorted(torso.iterdir())):
        image = dcmread(path)
        first = number < 16
        image.EchoTime, image.RescaleSlope = (4.6, 1) if first else (9.2, 2)
        if not first:
            image.ImagePositionPatient[2] -= 16 * 3
        (tmp_path / "echoes").mkdir(exist_ok=True)
        image.save_as(tmp_path / "echoes" / path.name)
    return tmp_path / "echoes"


def test_volumes_of_a_series_are_listed_with_what_tells_them_apart(iris: Iris, echoes: Path) -> None:
    answer = iris("volumes", echoes, "--json")
    assert answer.returncode == 0, answer.stderr
    items = json.loads(answer.stdout)["items"]
    assert [(item["number"], item["images"], item["usability"]) for item in items] == [
        (1, 16, "usable"),
        (2, 14, "usable"),
    ]
    assert [item["told_apart"] for item in items] == [{"EchoTime": "4.6"}, {"EchoTime": "9.2"}]
    shown = iris("volumes", echoes).stdout
    assert "EchoTime=9.2" in shown
    assert "told apart by echo time (here 9.2 ms); this one has 14 images" in shown


def test_volume_that_is_chosen_is_converted_encoded_and_decoded(
    iris: Iris, echoes: Path, tmp_path: Path
) -> None:
    refused = iris("convert", echoes, "mr.nii.gz")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--volume 1 or --where EchoTime=5" in refused.stderr
    assert "2: 14 images, EchoTime=9.2" in refused.stderr
    assert iris("convert", echoes, "by-number.nii.gz", "--volume", "2").returncode == 0
    assert iris("convert", echoes, "by-value.nii.gz", "--where", "EchoTime=9.20").returncode == 0
    assert (tmp_path / "by-number.nii.gz").read_bytes() == (tmp_path / "by-value.nii.gz").read_bytes()
    image = nib.load(tmp_path / "by-value.nii.gz")
    assert image.shape[2] == 14
    labels = np.zeros(image.shape, np.uint8)
    labels[20:40, 20:40, 3:6] = 5
    nib.save(nib.Nifti1Image(labels, image.affine), tmp_path / "labels.nii.gz")
    which = ("--where", "EchoTime=9.2")
    assert iris("encode", echoes, "labels.nii.gz", "seg.dcm", *which).returncode == 0
    assert iris("decode", "seg.dcm", echoes, "back.nii.gz", *which).returncode == 0
    assert np.array_equal(np.asanyarray(nib.load(tmp_path / "back.nii.gz").dataobj), labels)


def test_choice_that_says_no_value_is_wrong_usage(iris: Iris, echoes: Path) -> None:
    answer = iris("convert", echoes, "mr.nii.gz", "--where", "EchoTime")
    assert answer.returncode == 2
    assert "no KEYWORD=VALUE" in answer.stderr
