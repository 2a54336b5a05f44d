"""The test patient: what the engine finds in it is known beforehand, and wrong labels are told."""

from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from batch_job.engines import NoCheckpoints, Work, load_engine
from batch_job.image import Image
from converter.nifti.conversion import convert_volume
from converter.series import volume_of
from gateway.prove.comparing import compared, label_map_on
from gateway.prove.phantom import BALLS, NAME, SAID, Phantom, Series, write_phantom


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    return write_phantom(tmp_path_factory.mktemp("phantom"), datetime.now(UTC), {"StationName": "CT1"})


def series_named(phantom: Phantom, name: str) -> Series:
    return next(series for series in phantom.series if series.pose.name == name)


@pytest.mark.parametrize("pose", ["axial", "prone", "oblique", "tilted"])
def test_threshold_finds_in_every_voxel_of_each_position_what_is_known_beforehand(
    phantom: Phantom, pose: str, tmp_path: Path
) -> None:
    series = series_named(phantom, pose)
    image = tmp_path / "image.nii.gz"
    convert_volume(volume_of(series.files), image)
    read = nib.load(image)
    values = Image(np.asarray(read.dataobj).astype(np.int16), read.affine)
    work = Work(values, tmp_path, "tissue", {}, tmp_path, NoCheckpoints(), lambda share, what: None)
    labels = tmp_path / "labels.nii.gz"
    nib.save(nib.Nifti1Image(load_engine("threshold").segment(work).labels, read.affine), labels)
    assert compared(label_map_on(labels, series), series.labels).wrong == 0
    assert set(np.unique(series.labels)) == {0, 1, 2, 3, 4}


def test_phantom_says_that_it_is_a_test_and_what_was_asked_for(phantom: Phantom) -> None:
    for path in (phantom.files[0], phantom.files[-1]):
        image = dcmread(path)
        assert str(image.PatientName) == NAME
        assert "TEST" in NAME
        assert "phantom, no patient" in image.StudyDescription
        assert image.StationName == "CT1"
        assert image.PatientBirthDate == ""
    uids = {uid for series in phantom.series for uid in series.sop_instance_uids}
    assert len(uids) == len(phantom.files)


def test_tilted_series_is_of_a_table_that_moves_along_the_body(phantom: Phantom) -> None:
    corners = series_named(phantom, "tilted").corners_mm
    assert np.allclose(np.diff(corners, axis=0)[:, :2], 0, atol=1e-5)
    assert np.ptp(np.diff(corners[:, 2])) < 1e-5


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ((2,), "left and right are exchanged"),
        ((1,), "front and back are exchanged"),
        ((0,), "the slices are in reverse order"),
        ((1, 2), "it is turned by half a turn"),
    ],
)
@pytest.mark.parametrize("pose", ["axial", "prone", "oblique", "tilted"])
def test_flipped_labels_are_told_by_what_has_happened_to_them(
    phantom: Phantom, pose: str, axes: tuple[int, ...], said: str
) -> None:
    labels = series_named(phantom, pose).labels
    found = compared(np.flip(labels, axes), labels)
    assert found.wrong > sum((labels == ball.value).sum() for ball in BALLS) / 2
    assert found.sentence.endswith(said)


def test_phantom_is_known_by_its_number_or_without_one_by_what_it_is_called(phantom: Phantom) -> None:
    assert phantom.may_be(phantom.accession_number, "renamed")
    assert phantom.may_be("", SAID)
    assert not phantom.may_be("IRIS0123456789", SAID)  # one that was sent before, and comes late
    assert not phantom.may_be("4711", "CT Abdomen")
