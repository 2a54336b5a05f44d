"""Three studies of one phantom that grows go through the whole gateway: each result says by how much."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from gateway.demo.orthanc import Orthanc

SHAPE = (22, 56, 56)
SPACING_MM = 4.0
CONFIG = """
[[destination]]
name = "disk"
folder = "{folder}"
[[rule]]
name = "ct"
when = {{ Modality = "CT" }}
outputs = ["sr", "summary"]
compare = true
"""
DICOM = """ae_title = "{peer.ae_title}"
host = "{peer.host}"
port = {peer.port}"""


def write_phantom(folder: Path, half_length: int, day: str) -> tuple[str, int]:
    """A body that no edge cuts, with a bone in it; its Study Instance UID, and the bone's voxels."""
    z, y, x = (axis - (size - 1) / 2 for axis, size in zip(np.indices(SHAPE), SHAPE, strict=True))
    hu = np.full(SHAPE, -1000, np.int16)
    hu[(x / 24) ** 2 + (y / 20) ** 2 + (z / 9) ** 2 <= 1] = 50
    bone = (abs(x) < half_length) & (y**2 + z**2 <= 2.2**2)
    hu[bone] = 700
    stack = SliceStack(
        pixels=hu + np.random.default_rng(0).integers(-5, 6, SHAPE).astype(np.int16),
        orientation_lps=[1, 0, 0, 0, 1, 0],
        pixel_spacing_mm=(SPACING_MM, SPACING_MM),
        positions_lps_mm=[[-110.0, -110.0, SPACING_MM * number] for number in range(SHAPE[0])],
    )
    for path in write_slices(stack, folder, MadeUpStudy(patient_name="Growing^Phantom", patient_id="G-1")):
        image = dcmread(path)
        image.StudyDate = image.SeriesDate = image.AcquisitionDate = day
        image.save_as(path)
    return str(image.StudyInstanceUID), int(bone.sum())


def test_results_of_a_growing_phantom_say_its_growth_within_a_hundredth(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    world = make_world(config=CONFIG.format(folder=results))
    world.start(IRIS_SITE__ISSUER_OF_PATIENT_ID="HOSPITAL")
    compared, voxels, reported = [], [], []
    for number, (half_length, day) in enumerate([(8, "20250101"), (10, "20250301"), (13, "20250601")]):
        study_uid, count = write_phantom(tmp_path / str(number), half_length, day)
        world.send(tmp_path / str(number))
        (job,) = world.until(study_uid, lambda study: study["state"] == "done")["jobs"]
        assert job["flags"] == []
        voxels.append(count)
        compared.append(job["comparison"])
        reported.append(reports_of(results, study_uid))
    first, *later = compared
    assert first["why_none"] == "there is no earlier one of this patient and task here"
    assert [one["prior_date"] for one in later] == ["2025-01-01", "2025-03-01"]
    assert [one["interval_days"] for one in later] == [59, 92]
    for number, one in enumerate(later, start=1):
        then_ml, now_ml = (count * SPACING_MM**3 / 1000 for count in voxels[number - 1 : number + 1])
        growth = 100 * (now_ml / then_ml - 1)
        (bone,) = (line for line in one["structures"] if line["structure"] == "bone")
        assert abs(bone["change_percent"] - growth) < 1
        assert abs(bone["change_ml"] - (now_ml - then_ml)) < 0.01 * now_ml
        assert f"Compared with the result of the scan of {one['prior_date']}" in reported[number]
    assert "Not compared with an earlier result" in reported[0]


@pytest.mark.long
@pytest.mark.peer("orthanc")
def test_gateway_whose_ledger_is_new_finds_the_earlier_result_in_orthanc(
    make_world: Callable[..., Any], orthanc: Orthanc, tmp_path: Path
) -> None:
    voxels = []
    for name, half_length, day in (("old", 8, "20250101"), ("new", 12, "20250301")):
        folder = tmp_path / f"gateway {name}"
        folder.mkdir()
        config = CONFIG.replace('folder = "{folder}"', DICOM.format(peer=orthanc.peer))
        world = make_world(folder=folder, config=config.format())
        world.start(IRIS_SITE__ISSUER_OF_PATIENT_ID="HOSPITAL")
        study_uid, count = write_phantom(tmp_path / name, half_length, day)
        voxels.append(count)
        world.send(tmp_path / name)
        (job,) = world.until(study_uid, lambda study: study["state"] == "done")["jobs"]
        world.stop()
    compared = job["comparison"]
    assert (compared["prior_date"], compared["prior_job_key"]) == ("2025-01-01", None)
    (bone,) = (line for line in compared["structures"] if line["structure"] == "bone")
    assert abs(bone["change_percent"] - 100 * (voxels[1] / voxels[0] - 1)) < 1


def reports_of(folder: Path, study_uid: str) -> str:
    """Every text of the study's report."""
    objects = [dcmread(path) for path in folder.rglob("*.dcm")]
    found = [one for one in objects if one.StudyInstanceUID == study_uid]
    assert sorted(one.Modality for one in found) == ["OT", "SR"]
    return "\n".join(texts(next(one for one in found if one.Modality == "SR")))


def texts(item: Dataset) -> list[str]:
    own = [str(item.TextValue)] if "TextValue" in item else []
    return own + [text for each in item.get("ContentSequence", []) for text in texts(each)]
