"""Labels carried onto the frames, and refused where they do not fit."""

import errno
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import LabelsDoNotFit
from converter.nifti import label_reader
from converter.series import Volume, read_series
from converter.voxels.cut import copy_plane
from converter.voxels.geometry import LPS_FROM_RAS, frames_on_grid, labels_on_frames, voxel_from_pixel
from converter.voxels.grid import grid_of, require_own_grid

MakeSeries = Callable[..., Path]


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


def written(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def own_grid(volume: Volume) -> np.ndarray:
    return np.asarray(LPS_FROM_RAS @ volume.affine_lps)


def test_labels_on_their_own_grid_come_back_exactly(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6), np.uint8)
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume))
    assert np.array_equal(labels_on_frames(path, volume), labels.transpose(2, 1, 0))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIR", "ILA"])
def test_labels_with_axes_in_another_order_come_back_exactly(
    volume: Volume, tmp_path: Path, codes: str
) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6), np.uint8)
    image = nib.Nifti1Image(labels, own_grid(volume))
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = image.as_reoriented(turn)
    assert nib.aff2axcodes(turned.affine) == tuple(codes)
    nib.save(turned, tmp_path / "labels.nii.gz")
    assert np.array_equal(labels_on_frames(tmp_path / "labels.nii.gz", volume), labels.transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.int32])
def test_labels_of_another_type_are_taken_when_they_are_whole(
    volume: Volume, tmp_path: Path, dtype: type
) -> None:
    labels = np.zeros((24, 16, 6), dtype)
    labels[3:6, 4:8, 2] = 117
    carried = labels_on_frames(written(tmp_path / "labels.nii", labels, own_grid(volume)), volume)
    assert carried.dtype == np.uint8
    assert np.array_equal(carried, labels.transpose(2, 1, 0))


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan, np.inf])
def test_labels_with_other_values_are_refused(volume: Volume, tmp_path: Path, value: float) -> None:
    labels = np.zeros((24, 16, 6), np.float32)
    labels[1, 1, 1] = value
    with pytest.raises(LabelsDoNotFit, match="whole numbers"):
        labels_on_frames(written(tmp_path / "labels.nii", labels, own_grid(volume)), volume)


@pytest.mark.parametrize(
    ("moved_mm", "percent"), [((500, 0, 0), 0), ((0, 0, 7.2), 33), ((20, 14, 0), 15), ((0, 0, -10), 17)]
)
def test_labels_of_another_field_of_view_are_refused_with_numbers(
    volume: Volume, tmp_path: Path, moved_mm: tuple[float, ...], percent: int
) -> None:
    affine = own_grid(volume)
    affine[:3, 3] += moved_mm
    path = written(tmp_path / "labels.nii", np.ones((24, 16, 6), np.uint8), affine)
    with pytest.raises(LabelsDoNotFit, match=f"24 x 16 x 6 voxels, lies elsewhere .*only {percent} %"):
        labels_on_frames(path, volume)


def test_labels_that_cover_most_of_the_series_are_carried_and_zero_elsewhere(
    volume: Volume, tmp_path: Path
) -> None:
    labels = np.random.default_rng(1).integers(1, 256, (24, 16, 6), np.uint8)
    affine = own_grid(volume)
    affine[:3, 3] = affine[:3] @ [5, 2, 1, 1]
    path = written(tmp_path / "labels.nii.gz", labels[5:22, 2:, 1:], affine)
    expected = np.zeros_like(labels)
    expected[5:22, 2:, 1:] = labels[5:22, 2:, 1:]
    assert np.array_equal(labels_on_frames(path, volume), expected.transpose(2, 1, 0))


@pytest.mark.parametrize("factor", [0.5, 2.0, 2.7])
def test_labels_on_a_finer_or_coarser_grid_come_by_nearest_neighbour(
    volume: Volume, tmp_path: Path, factor: float
) -> None:
    shape = tuple(int(np.ceil(size / factor)) + 1 for size in (24, 16, 6))
    labels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume) @ np.diag([factor] * 3 + [1]))
    assert np.array_equal(
        labels_on_frames(path, volume), by_looking_up(labels, nib.load(path).affine, volume)
    )


def by_looking_up(labels: np.ndarray, affine: np.ndarray, volume: Volume) -> np.ndarray:
    """Each pixel's nearest voxel, one by one; zero where there is none."""
    row, column = np.mgrid[: volume.rows, : volume.columns]
    frames = []
    for frame in range(len(volume.frames)):
        voxels = np.stack([column, row, np.ones_like(row)], -1) @ voxel_from_pixel(affine, volume, frame).T
        index = np.rint(voxels).astype(int)
        inside = ((index >= 0) & (index < labels.shape)).all(-1)
        index = np.clip(index, 0, np.array(labels.shape) - 1)
        frames.append(labels[index[..., 0], index[..., 1], index[..., 2]] * inside)
    return np.stack(frames)


ANY_AXES = st.permutations([0, 1, 2])
ANY_FLIPS = st.tuples(*[st.sampled_from([-1, 1])] * 3)
ANY_PLACE = st.tuples(*[st.integers(-30, 30)] * 3)


@settings(max_examples=300, deadline=None)
@given(ANY_AXES, ANY_FLIPS, ANY_PLACE, st.floats(-0.49, 0.49))
def test_plane_cut_along_the_axes_is_the_one_that_is_looked_up(
    axes: list[int], flips: tuple[int, ...], place: tuple[int, ...], between: float
) -> None:
    """Also where it lies partly or wholly outside, and between voxels."""
    voxels = np.random.default_rng(0).integers(1, 256, (11, 13, 17), np.uint8)
    matrix = np.zeros((3, 3))
    matrix[axes[0], 0], matrix[axes[1], 1] = flips[:2]
    matrix[:, 2] = np.array(place) + between
    plane = np.zeros((9, 12), np.uint8)
    inside = copy_plane(voxels, matrix, plane)
    row, column = np.mgrid[:9, :12]
    index = np.rint(np.stack([column, row, np.ones_like(row)], -1) @ matrix.T).astype(int)
    reached = ((index >= 0) & (index < voxels.shape)).all(-1)
    expected = np.zeros_like(plane)
    expected[reached] = voxels[tuple(index[reached].T)]
    assert inside == reached.sum()
    assert np.array_equal(plane, expected)


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.002, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[1, 0, 0.5], [0, 1, 0], [0, 0, 0]],
        [[1, 1, 0], [0, 0.1, 0], [0, 0, 0]],
        [[0.9, 0.4, 0], [-0.4, 0.9, 0], [0, 0, 0]],
    ],
    ids=["stretched", "in the middle", "sheared", "turned"],
)
def test_plane_that_is_not_along_the_axes_is_not_cut(matrix: list[list[float]]) -> None:
    plane = np.zeros((9, 12), np.uint8)
    assert copy_plane(np.ones((20, 20, 3), np.uint8), np.array(matrix, float), plane) is None
    assert not plane.any()


def test_labels_of_a_wider_type_beyond_255_are_refused(volume: Volume, tmp_path: Path) -> None:
    labels = np.zeros((24, 16, 6), np.int16)
    labels[3, 3, 5] = 256
    with pytest.raises(LabelsDoNotFit, match="0 to 255"):
        labels_on_frames(written(tmp_path / "labels.nii.gz", labels, own_grid(volume)), volume)


@pytest.mark.parametrize("name", ["labels.nii", "labels.nii.gz"])
def test_labels_that_a_slope_scales_are_taken_scaled(volume: Volume, tmp_path: Path, name: str) -> None:
    image = nib.Nifti1Image(np.full((24, 16, 6), 3, np.uint8), own_grid(volume))
    image.header.set_slope_inter(2, 1)
    nib.save(image, tmp_path / name)
    assert set(labels_on_frames(tmp_path / name, volume).ravel()) == {7}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_labels_of_any_byte_order_and_nifti_version_are_read(
    volume: Volume, tmp_path: Path, kind: type, order: str
) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6)).astype(np.int16)
    header = kind.header_class(endianness=order)
    nib.save(kind(labels, own_grid(volume), header), tmp_path / "labels.nii.gz")
    assert np.array_equal(labels_on_frames(tmp_path / "labels.nii.gz", volume), labels.transpose(2, 1, 0))


def test_labels_compressed_in_several_pieces_are_read(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6), np.uint8)
    content = nib.Nifti1Image(labels, own_grid(volume)).to_bytes()
    pieces = [gzip.compress(content[:1000]), gzip.compress(content[1000:]), bytes(100)]
    (tmp_path / "labels.nii.gz").write_bytes(b"".join(pieces))
    assert np.array_equal(labels_on_frames(tmp_path / "labels.nii.gz", volume), labels.transpose(2, 1, 0))


@pytest.mark.parametrize(("columns", "fits"), [(11, False), (13, True)])
def test_labels_that_cover_less_than_half_of_the_series_are_refused(
    volume: Volume, tmp_path: Path, columns: int, fits: bool
) -> None:
    labels = np.ones((columns, 16, 6), np.uint8)
    path = written(tmp_path / "labels.nii", labels, own_grid(volume))
    if fits:
        assert labels_on_frames(path, volume).sum() == labels.sum()
    else:
        with pytest.raises(LabelsDoNotFit, match="elsewhere"):
            labels_on_frames(path, volume)


def test_labels_of_four_dimensions_are_refused(volume: Volume, tmp_path: Path) -> None:
    path = written(tmp_path / "labels.nii", np.ones((24, 16, 6, 2), np.uint8), own_grid(volume))
    with pytest.raises(LabelsDoNotFit, match="4 dimensions"):
        labels_on_frames(path, volume)


def test_labels_with_a_flat_affine_are_refused(volume: Volume, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 0.0, 1.0])
    header = nib.Nifti1Header()
    image = nib.Nifti1Image(np.ones((24, 16, 6), np.uint8), None, header)
    image.header.set_sform(affine, code=1)
    nib.save(image, tmp_path / "labels.nii")
    with pytest.raises(LabelsDoNotFit, match="singular"):
        labels_on_frames(tmp_path / "labels.nii", volume)


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", gzip.compress(b""), gzip.compress(b"nothing")],
    ids=["empty", "no gzip", "empty inside", "no NIfTI inside"],
)
def test_labels_that_are_no_nifti_are_refused(volume: Volume, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.nii.gz").write_bytes(content)
    with pytest.raises(LabelsDoNotFit, match="no NIfTI"):
        labels_on_frames(tmp_path / "labels.nii.gz", volume)


def test_label_map_that_the_disk_does_not_give_is_not_said_to_be_none(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(label_reader, "read_header", fail)
    (tmp_path / "labels.nii.gz").write_bytes(b"")
    with pytest.raises(OSError, match="Input/output error"):
        require_own_grid(tmp_path / "labels.nii.gz", volume)


def test_labels_with_another_checksum_are_refused(volume: Volume, tmp_path: Path) -> None:
    path = written(tmp_path / "labels.nii.gz", np.zeros((24, 16, 6), np.uint8), own_grid(volume))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(LabelsDoNotFit, match="the file is damaged"):
        labels_on_frames(path, volume)


def test_label_file_cut_short_is_refused(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (24, 16, 6), np.uint8)
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LabelsDoNotFit, match="the file is damaged"):
        labels_on_frames(path, volume)


@pytest.mark.parametrize("shape", [(24, 16, 6, 1), (24, 16, 6, 1, 1)])
def test_labels_with_further_axes_of_length_one_are_taken(
    volume: Volume, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    labels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume))
    assert np.array_equal(labels_on_frames(path, volume), labels.reshape(24, 16, 6).transpose(2, 1, 0))


def test_labels_are_known_by_what_is_in_the_file_and_not_by_its_name(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6), np.uint8)
    plain = written(tmp_path / "plain.nii", labels, own_grid(volume)).read_bytes()
    for name, content in {
        "plain.nii.gz": plain,
        "packed.nii": gzip.compress(plain),
        "members.nii.gz": gzip.compress(b"") + gzip.compress(plain) + gzip.compress(b""),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert np.array_equal(labels_on_frames(tmp_path / name, volume), labels.transpose(2, 1, 0))


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "no place": ({"qform_code": 0, "sform_code": 0}, "does not say where left and right is"),
    "no number for its values": ({"scl_slope": 1, "scl_inter": np.nan}, "header is damaged"),
    "unknown type": ({"datatype": 999}, "header is damaged"),
    "complex": ({"datatype": 32, "bitpix": 64}, "complex or coloured"),
    "coloured": ({"datatype": 128, "bitpix": 24}, "complex or coloured"),
    "half of a pair": ({"magic": b"ni1"}, "half of a NIfTI pair"),
    "voxels in the header": ({"vox_offset": 0}, "begin where they cannot"),
    "voxels before the file": ({"vox_offset": -1}, "begin where they cannot"),
    "voxels nowhere": ({"vox_offset": np.nan}, "header is damaged"),
    "voxels behind the end": ({"vox_offset": 1e9}, "ends before its voxels do"),
    "more than there is": ({"dim": [3, 30_000, 30_000, 30_000, 1, 1, 1, 1]}, "ends before its voxels do"),
    "no axes": ({"dim": [0] * 8}, "names no dimensions"),
    "less than nothing": ({"dim": [3, -5, 4, 4, 1, 1, 1, 1]}, "has no voxels"),
}


@pytest.mark.parametrize("name", ["labels.nii", "labels.nii.gz"])
@pytest.mark.parametrize(("fields", "said"), HEADERS.values(), ids=HEADERS)
def test_labels_with_a_header_that_cannot_be_are_refused_with_what_is_wrong(
    volume: Volume, tmp_path: Path, fields: dict[str, Any], said: str, name: str
) -> None:
    """Zeros all of them, which any reader that guesses takes for an empty label map."""
    plain = written(tmp_path / "plain.nii", np.zeros((24, 16, 6), np.uint8), own_grid(volume)).read_bytes()
    header = nib.Nifti1Header(plain[:348])
    for field, value in fields.items():
        header[field] = value
    content = header.binaryblock + plain[348:]
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(LabelsDoNotFit, match=said):
        labels_on_frames(tmp_path / name, volume)


@pytest.mark.parametrize(("value", "said"), [(-1, "-1"), (256, "256"), (2.5, "2.5"), (np.nan, "nan")])
def test_value_that_is_no_label_is_named(volume: Volume, tmp_path: Path, value: float, said: str) -> None:
    labels = np.zeros((24, 16, 6), np.float32)
    labels[3, 4, 5] = value
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume))
    with pytest.raises(LabelsDoNotFit, match=f"the label map holds {said};"):
        labels_on_frames(path, volume)


@pytest.mark.parametrize("lean", [0.0, 0.25])
@pytest.mark.parametrize("heights", [(0, 2, 4, 6, 8, 10), (0, 2, 4, 8, 10), (0, 2, 5, 6, 9.5)])
def test_labels_to_the_grid_and_back_are_the_same(
    make_series: MakeSeries, tmp_path: Path, heights: tuple[float, ...], lean: float
) -> None:
    volume = read_series(make_series(heights, lean=lean))
    frames = np.random.default_rng(2).integers(0, 256, (len(heights), 16, 24), np.uint8)
    grid = grid_of(volume)
    labels = frames_on_grid(frames, volume, grid.shape, grid.affine_ras)
    back = labels_on_frames(written(tmp_path / "labels.nii.gz", labels, grid.affine_ras), volume)
    assert np.array_equal(back, frames)


def test_labels_on_a_larger_grid_end_where_the_frames_end(volume: Volume) -> None:
    """A slice of labels is as thick as the frames are apart; beyond, and beside, the grid is empty."""
    affine = own_grid(volume)
    affine[:3, 3] -= affine[:3, :3] @ [5, 4, 3]
    labels = frames_on_grid(np.full((6, 16, 24), 9, np.uint8), volume, (34, 24, 12), affine)
    assert (labels[5:29, 4:20, 3:9] == 9).all()
    assert labels.sum() == 9 * 24 * 16 * 6


# -- the very grid ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", ["LAS", "RAS", "PIR"])
def test_label_map_on_the_converted_grid_is_on_it_with_axes_in_any_order(
    volume: Volume, tmp_path: Path, codes: str
) -> None:
    grid = grid_of(volume)
    image = nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine_ras)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    nib.save(image.as_reoriented(turn), tmp_path / "labels.nii.gz")
    require_own_grid(tmp_path / "labels.nii.gz", volume)


@pytest.mark.parametrize(
    ("heights", "said"),
    [
        (tuple(2.0 * k + 0.01 for k in range(6)), r"24 x 16 x 6 voxels for 24 x 16 x 6, 0\.005 voxels off"),
        (tuple(2.0 * k for k in range(7)), "24 x 16 x 6 voxels for 24 x 16 x 7, another shape"),
    ],
    ids=["moved", "one more"],
)
def test_label_map_of_images_that_were_changed_since_is_refused_with_numbers(
    volume: Volume, make_series: MakeSeries, tmp_path: Path, heights: tuple[float, ...], said: str
) -> None:
    grid = grid_of(volume)
    path = written(tmp_path / "labels.nii.gz", np.ones(grid.shape, np.uint8), grid.affine_ras)
    with pytest.raises(LabelsDoNotFit, match=f"{said}.*changed since"):
        require_own_grid(path, read_series(make_series(heights)))
