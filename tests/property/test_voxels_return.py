"""Every labelled voxel keeps its place: DICOM, NIfTI, label map, DICOM-SEG, and decoded again."""

from tempfile import TemporaryDirectory

import highdicom as hd
import nibabel as nib
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from converter.seg.decoder import decode_segmentation
from converter.voxels.geometry import LPS_FROM_RAS
from tests.property.made_up_series import Phantom, few, phantoms, pixels_by_uid, places_by_uid
from tests.property.round_trip import in_memory, label_values, stacked, work_on

UNROUNDED = 12
"""As many decimals as the phantoms' positions have that no scanner rounded."""
SURVIVES_MM = 1e-3
"""A labelled voxel is where it was within this; and within the rounding, where positions are rounded."""

TURNS = [
    tuple(zip(axes, flips, strict=True))
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for flips in np.array(np.meshgrid(*[[1, -1]] * 3)).reshape(3, -1).T.tolist()
]
"""All 48 orders and directions of the axes of a label map."""

ROUNDED_BY_THE_SCANNER = Phantom(
    direction="HFS",
    turned_degrees=(0.0, 0.0, 0.0),
    size=(12, 14),
    pixel_spacing_mm=(0.7, 0.7),
    heights_mm=tuple(2.0 * k / 3 for k in range(40)),
    lean=(0.0, 0.0),
    order=tuple(range(40)),
    decimals=2,
)
"""Slices 2/3 mm apart whose positions are rounded to 0.01 mm: 0.67, 0.66, 0.67 and so on apart."""


HALF_WAY = Phantom(
    direction="FFP",
    turned_degrees=(-135.0, 0.0, 0.0),
    size=(11, 13),
    pixel_spacing_mm=(0.6, 0.6),
    heights_mm=tuple(0.625 * k for k in range(24)),
    lean=(0.0, 0.0),
    order=tuple(range(24)),
    decimals=4,
)
"""Slices half-way between two planes: dcm2niix takes their normal for its opposite, and fails."""


def check_every_voxel(phantom: Phantom, turn: tuple[tuple[int, int], ...], seed: int) -> None:
    """Random labels, on a grid whose axes were turned: each comes back to its pixel and to its place."""
    values = np.random.default_rng(seed).choice(np.arange(1, 256), 4, replace=False)
    with TemporaryDirectory() as folder:
        work = work_on(phantom, folder, noise=True)
        labels = np.random.default_rng(seed).choice([0, *values], work.image.shape).astype(np.uint8)
        turned = nib.Nifti1Image(labels, work.image.affine).as_reoriented(np.array(turn))
        nib.save(turned, work.folder / "labels.nii.gz")
        planes = work.encoded(work.folder / "labels.nii.gz")
        segmented = hd.seg.segread(work.folder / "seg.dcm")
        decode_segmentation(work.folder / "seg.dcm", work.volume, work.folder / "back.nii.gz")
        back = in_memory(work.folder / "back.nii.gz")
        places, pixels = places_by_uid(work.folder / "dicom"), pixels_by_uid(work.folder / "dicom")
    survives_mm = SURVIVES_MM + 2 * 10.0**-phantom.decimals
    # By the headers: at a pixel's place the NIfTI has its value, and the label map its label.
    index = index_of(stacked(places, places), work.image.affine, survives_mm)
    assert np.array_equal(np.asanyarray(work.image.dataobj)[index], stacked(pixels, places))
    assert np.array_equal(labels[index], stacked(planes, places))
    # By the segmentation's own affine, as highdicom reads it; it makes no volume of rounded positions.
    if phantom.decimals == UNROUNDED:
        volume = segmented.get_volume(combine_segments=True)
        index = index_of(places_in(volume), work.image.affine, survives_mm)
        assert np.array_equal(label_values(segmented)[volume.array], labels[index])
    # By the label map that is decoded.
    assert np.abs(back.affine - work.image.affine).max() < SURVIVES_MM / max(back.shape)
    assert np.array_equal(back.dataobj, labels)


@few
@given(phantoms(), st.sampled_from(TURNS), st.integers(0, 2**32 - 1))
def test_every_labelled_voxel_of_a_straight_series_keeps_its_place(
    phantom: Phantom, turn: tuple[tuple[int, int], ...], seed: int
) -> None:
    check_every_voxel(phantom, turn, seed)


@few
@given(phantoms(rounded=True), st.sampled_from(TURNS), st.integers(0, 2**32 - 1))
@example(ROUNDED_BY_THE_SCANNER, TURNS[0], 0)
@example(HALF_WAY, TURNS[0], 0)
def test_every_labelled_voxel_of_a_series_with_rounded_positions_keeps_its_place(
    phantom: Phantom, turn: tuple[tuple[int, int], ...], seed: int
) -> None:
    check_every_voxel(phantom, turn, seed)


def places_in(volume: hd.Volume) -> np.ndarray:
    index = np.stack([*np.indices(volume.spatial_shape), np.ones(volume.spatial_shape)], -1)
    return np.asarray(index @ volume.affine.T)[..., :3]


def index_of(places_mm: np.ndarray, affine_ras: np.ndarray, within_mm: float) -> tuple[np.ndarray, ...]:
    """The voxels at these places; each must be the middle of one."""
    to_voxel = np.linalg.inv(LPS_FROM_RAS @ affine_ras)
    index = places_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    whole = np.rint(index).astype(int)
    off_mm = np.linalg.norm((index - whole) @ affine_ras[:3, :3].T, axis=-1)
    assert off_mm.max() < within_mm
    assert whole.min() >= 0
    return tuple(np.moveaxis(whole, -1, 0))
