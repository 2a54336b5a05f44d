"""A blob at a known place in the patient: what an engine marks of it comes back onto the right pixels.

"The engine" marks it by the NIfTI's affine alone, or by its voxels alone; both must agree with where the
DICOM headers say that it is.
"""

from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converter.seg.decoder import decode_segmentation
from converter.voxels.grid import needs_another_grid
from tests.property.made_up_series import Phantom, few, phantoms, places_by_uid
from tests.property.round_trip import Work, stacked, work_on


def check_marked_by_affine(phantom: Phantom) -> None:
    """What is marked by place comes back by place: wrong only within half a voxel of the blob's surface."""
    with TemporaryDirectory() as folder:
        work = work_on(phantom, folder)
        marked = np.linalg.norm(work.voxels_mm - phantom.blob_mm, axis=-1) < phantom.radius_mm
        planes = work.returned(marked)
        places = places_by_uid(work.folder / "dicom")
        decode_segmentation(work.folder / "seg.dcm", work.volume, work.folder / "back.nii")
        again = work.encoded(work.folder / "back.nii")
        if needs_another_grid(work.volume):
            check_even_grid(phantom, marked, work)
    back = stacked(planes, places) > 0
    distance = np.linalg.norm(stacked(places, places) - phantom.blob_mm, axis=-1)
    blur = 0.5 * float(np.linalg.norm(work.image.affine[:3, :3], axis=0) @ np.ones(3)) + 0.01
    assert not back[distance > phantom.radius_mm + blur].any()
    assert back[distance < phantom.radius_mm - blur].all()
    assert np.array_equal(stacked(again, places) > 0, back)


def check_even_grid(phantom: Phantom, marked: np.ndarray, work: Work) -> None:
    """There a segmentation shows every voxel of the label map, in its place, on planes a step apart."""
    shown, places = work.on_even_grid(work.folder / "labels.nii")
    assert np.count_nonzero(shown) == np.count_nonzero(marked)
    half_mm = 0.5 * np.linalg.norm(work.image.affine[:3, :3], axis=0).min()
    found_mm, true_mm = places[shown].mean(axis=0), work.voxels_mm[marked].mean(axis=0)
    assert np.linalg.norm(found_mm - true_mm) < half_mm
    steps, normal = np.diff(places[:, 0, 0], axis=0), phantom.axes[2]
    along = steps @ normal
    assert np.abs(steps - along[:, None] * normal).max(initial=0) < 1e-3
    assert np.abs(along - along.mean()).max() < 1e-3


@few
@given(phantoms())
def test_blob_marked_by_affine_in_a_straight_series_returns_to_its_place(phantom: Phantom) -> None:
    check_marked_by_affine(phantom)


@few
@given(phantoms(odd=True, rounded=True))
def test_blob_marked_by_affine_in_an_odd_series_returns_to_its_place(phantom: Phantom) -> None:
    check_marked_by_affine(phantom)


@few
@given(st.one_of(phantoms(), phantoms(odd=True, rounded=True)))
def test_blob_seen_in_the_voxels_returns_to_its_place_and_left_stays_left(phantom: Phantom) -> None:
    with TemporaryDirectory() as folder:
        work = work_on(phantom, folder)
        planes = work.returned(np.asanyarray(work.image.dataobj) > 0)
        places = places_by_uid(work.folder / "dicom")
    back = stacked(planes, places) > 0
    everywhere = stacked(places, places)
    truth = np.linalg.norm(everywhere - phantom.blob_mm, axis=-1) < phantom.radius_mm
    # Unevenly dense slices weigh alike in both.
    found_mm, true_mm = everywhere[back].mean(axis=0), everywhere[truth].mean(axis=0)
    assert np.linalg.norm(found_mm - true_mm) < 0.5 * phantom.coarsest_mm
    to_the_left_mm = true_mm[0] - everywhere[..., 0].mean()
    if abs(to_the_left_mm) > phantom.coarsest_mm:
        assert np.sign(found_mm[0] - everywhere[..., 0].mean()) == np.sign(to_the_left_mm)
