"""A NIfTI that is uploaded to a whole gateway gives the labels that the same study gives by DICOM."""

import gzip
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from converter.nifti.conversion import convert_volume
from converter.series import read_series


def done(study: dict[str, Any]) -> bool:
    return bool(study["state"] in ("done", "failed"))


def labels(content: bytes) -> Any:
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


def test_uploaded_image_of_a_real_study_gives_the_labels_of_the_dicom_path(
    make_world: Callable[..., Any], demo_study: Path, tmp_path: Path
) -> None:
    world = make_world(config="[queue]\nworkers = 2\n")
    world.start()
    part = tmp_path / "part"
    part.mkdir()
    for path in sorted(demo_study.glob("*.dcm"))[:8]:
        shutil.copy(path, part)
    world.send(part)
    image = tmp_path / "Demo^Abdomen 1950.nii.gz"
    volume = read_series(part)
    convert_volume(volume, image)
    taken = world.upload(image)

    study = world.until(taken["study_key"], done)
    assert (study["state"], study["reason"]) == ("done", "the label map is ready")
    [job] = study["jobs"]
    assert (job["state"], job["reason"]) == ("delivered", "the label map is ready")
    assert study["deliveries"] == []
    by_hand = labels(world.file(f"/api/v1/jobs/{taken['job_key']}/labels.nii.gz"))
    np.testing.assert_array_equal(by_hand.affine, nib.load(image).affine)

    by_dicom = world.until(str(volume.header.StudyInstanceUID), done)["jobs"][0]
    other = labels(world.file(f"/api/v1/jobs/{by_dicom['job_key']}/labels.nii.gz"))
    np.testing.assert_array_equal(by_hand.affine, other.affine)
    np.testing.assert_array_equal(np.asarray(by_hand.dataobj), np.asarray(other.dataobj))
    assert len(np.unique(np.asarray(other.dataobj))) > 3

    picture = Image.open(io.BytesIO(world.file(f"/api/v1/jobs/{taken['job_key']}/preview.png")))
    assert picture.width > 100
    assert b"soft_tissue" in world.file(f"/api/v1/jobs/{taken['job_key']}/statistics.json")
    assert world.upload(image) == {**taken, "state": "delivered"}
    assert world.stop() == 0
    assert "Abdomen" not in world.log.read_text()
