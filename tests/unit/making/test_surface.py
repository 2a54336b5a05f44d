"""The output surface: files of the job, no object."""

import json
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from batch_job.contract import Flag
from converter.terminology import structure
from gateway.adapters.folder import FolderStore
from gateway.backends.job_folders import JobFolderFiles
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.ledger.job_files import files_of_job
from gateway.ledger.states import JobState

STATISTICS = {"volume_ml": 37.5, "mean_intensity": 60.0, "std_intensity": 9.5, "truncated": False}
NAMES = OUTPUTS["surface"].files


@pytest.mark.usefixtures("quick_children")
def test_surface_lies_in_the_job_folder_where_the_labels_are_and_goes_nowhere(
    segmented: Any, small_study: Any
) -> None:
    config = Config(destination=[{"name": "a", "folder": "/a"}], rule=[{"name": "ct"}])
    flag = Flag(code="fragments", structure="spleen", number=2, unit="", sentence="two parts")
    site = segmented(
        "surface", config=config, label="spleen", statistics={"spleen": STATISTICS}, flags=[flag]
    )
    site.encode(site.job())
    assert site.job().state is JobState.ENCODED
    assert site.objects() == {}
    assert set(NAMES) < set(files_of_job(site.job()))
    files = JobFolderFiles(FolderStore(site.folder / "objects"))
    content = {name: files.located(site.job().job_key, name).read_bytes() for name in NAMES}
    shown = json.loads(content["surface.json"])
    assert shown["space"] == "RAS"
    assert [flag["sentence"] for flag in shown["flags"]] == ["two parts"]
    (spleen,) = shown["structures"]
    red, green, blue = structure("spleen").rgb
    assert spleen.pop("triangles") > 100
    assert spleen == {
        "label": 1, "name": "spleen", "title": "Spleen", "rgb": [red, green, blue],
        "color": f"#{red:02x}{green:02x}{blue:02x}", "volume_ml": 37.5, "mean_intensity": 60.0,
        "std_intensity": 9.5, "intensity_unit": "", "truncated": False, "flags": ["fragments"],
        "code": {"value": "78961009", "scheme": "SCT", "meaning": "Spleen"},
    }  # fmt: skip
    points = np.array([line.split()[1:] for line in content["surface.obj"].decode().splitlines()
                       if line.startswith("v ")], float)  # fmt: skip
    # Columns 20 to 29 and rows 34 to 43 of 5 mm from -157.5 in LPS, slices 2 to 4: RAS turns x and y.
    assert points.min(axis=0) == pytest.approx((10, -60, 7.5), abs=1.0)
    assert points.max(axis=0) == pytest.approx((60, -10, 22.5), abs=1.0)
    header = dcmread(next(small_study.glob("*.dcm")), stop_before_pixels=True)
    for of_patient in ("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate"):
        value = str(header.get(of_patient, ""))
        assert value == "" or all(value.encode() not in each for each in content.values())


def test_surface_of_labels_without_anything_is_none_and_the_job_says_so(segmented: Any) -> None:
    site = segmented("seg", "surface", found=False)
    site.encode(site.job())
    assert site.job().state is JobState.DELIVERED
    assert site.job().warnings[-1] == "nothing was found: seg, surface are not made"
    assert not set(NAMES) & set(files_of_job(site.job()))
