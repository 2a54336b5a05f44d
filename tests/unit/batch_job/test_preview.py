"""The picture: where right is, what is shown, and that every image has one."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from batch_job.engines import Segmented
from batch_job.image import Image
from batch_job.preview import draw_preview
from batch_job.preview.colours import COLOURS, colour_of
from batch_job.preview.views import View, _fullest, views_of
from batch_job.statistics import measure


def drawn(path: Path, image: Image, labels: np.ndarray, names: dict[int, str]) -> Picture.Image:
    segmented = Segmented(labels, names)
    draw_preview(image, segmented, measure(image, segmented, "CT"), path)
    return Picture.open(path)


def views(image: Image, labels: np.ndarray) -> list[View]:
    return views_of(image, labels, np.bincount(labels.ravel(), minlength=256))


def image_with(labels: np.ndarray, spacing_mm: tuple[float, float, float] = (2.0, 2.0, 5.0)) -> Image:
    """Black, so that colours stay pure."""
    return Image(np.full(labels.shape, -1000, np.int16), np.diag([*spacing_mm, 1.0]))


def pixels_like(picture: Picture.Image, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of pixels of that hue."""
    pixels = np.asarray(picture.convert("RGB"), float)
    near = np.abs(pixels / (pixels.sum(2, keepdims=True) + 1) - np.array(colour) / sum(colour)).sum(2) < 0.1
    rows, columns = np.nonzero(near & (pixels.sum(2) > 100))
    return rows, columns


@pytest.mark.parametrize("flip", [1, -1])
def test_preview_shows_the_patients_right_on_the_left_side(tmp_path: Path, flip: int) -> None:
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[40:55, 20:40, 20:40], labels[5:20, 20:40, 20:40] = 6, 5
    image = Image(np.full(labels.shape, -1000, np.int16), np.diag([flip * 3.0, 3.0, 3.0, 1.0]))
    names = {5: "lung_left", 6: "lung_right"} if flip == 1 else {5: "lung_right", 6: "lung_left"}
    picture = drawn(tmp_path / "preview.png", image, labels, names)
    axial = picture.crop((0, 0, 320, 340))
    _, right = pixels_like(axial, COLOURS["lung_right"])
    _, left = pixels_like(axial, COLOURS["lung_left"])
    assert right.size > 1000
    assert left.size > 1000
    assert right.max() < left.min()


def test_views_run_from_the_patients_right_front_and_head() -> None:
    values = np.zeros((6, 5, 4), np.int16)
    values[5, 4, 3] = 1  # rightmost, foremost, topmost
    labels = np.zeros(values.shape, np.uint8)
    labels[5, 4, 3] = 7
    for view in views(Image(values, np.eye(4)), labels):
        assert (view.values[0, 0], view.labels[0, 0]) == (1, 7)
        assert np.count_nonzero(view.labels) == 1


def test_views_are_chosen_where_most_structures_show() -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[5:35, 5:35, 5:15] = 1  # large, alone
    for value, at in ((2, 8), (3, 16), (4, 24)):
        labels[at : at + 4, at : at + 4, 28:31] = value
    axial = views(Image(np.zeros(labels.shape, np.int16), np.eye(4)), labels)[0]
    assert set(np.unique(axial.labels)) == {0, 2, 3, 4}


def test_views_of_an_image_without_labels_are_its_middle() -> None:
    values = (
        np.arange(7)[:, None, None] + 10 * np.arange(9)[None, :, None] + 100 * np.arange(5)[None, None, :]
    )
    axial, coronal, sagittal, _ = views(Image(values, np.eye(4)), np.zeros(values.shape, np.uint8))
    assert axial.values.min() == 200
    assert coronal.values.min() == 40
    assert sagittal.values.min() == 3


@pytest.mark.parametrize("memory", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_views_project_the_brightest_value_and_the_smallest_structure(memory: tuple[int, ...]) -> None:
    labels = np.zeros((8, 8, 8), np.uint8).transpose(np.argsort(memory))
    labels[:, 6:, :] = 1  # in front, large
    labels[2:4, 3, 2:4] = 2  # behind it, small
    values = np.zeros(labels.shape, np.int16)
    values[1, 2, 6] = 700
    projection = views(Image(values, np.eye(4)), labels)[3]
    assert np.count_nonzero(projection.labels == 2) == 4
    assert np.count_nonzero(projection.labels == 1) == 60
    assert projection.values[1, 6] == 700


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 5.0), (4.0, 1.0, 1.0), (1.0, 3.0, 2.0)])
def test_preview_of_a_ball_is_round_in_every_view(
    tmp_path: Path, spacing_mm: tuple[float, float, float]
) -> None:
    shape = [round(120 / mm) for mm in spacing_mm]
    axes = np.meshgrid(
        *(np.arange(n) * mm - 60 for n, mm in zip(shape, spacing_mm, strict=True)), indexing="ij"
    )
    labels = (np.sqrt(sum(axis**2 for axis in axes)) < 50).astype(np.uint8)
    for view in views(image_with(labels, spacing_mm), labels):
        width_mm, height_mm = (np.count_nonzero(view.labels.any(axis=axis)) for axis in (0, 1))
        width_mm *= view.size_mm[0] / view.labels.shape[1]
        height_mm *= view.size_mm[1] / view.labels.shape[0]
        assert width_mm == pytest.approx(100, abs=6)
        assert height_mm == pytest.approx(100, abs=6)
    picture = drawn(tmp_path / "preview.png", image_with(labels, spacing_mm), labels, {1: "spleen"})
    rows, columns = pixels_like(picture.crop((0, 0, 320, 340)), COLOURS["spleen"])
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.08)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 500, 2), (64, 64, 8), (512, 512, 1), (30, 30, 900)])
def test_preview_of_any_shape_is_drawn_the_same_twice_without_text(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    labels = np.ones(shape, np.uint8)
    for name in ("one.png", "two.png"):
        picture = drawn(tmp_path / name, image_with(labels), labels, {1: "some_organ"})
        assert max(picture.size) < 2000
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert not picture.info


def test_preview_without_labels_is_the_image_alone(tmp_path: Path) -> None:
    labels = np.zeros((60, 60, 20), np.uint8)
    picture = drawn(tmp_path / "preview.png", image_with(labels), labels, {1: "spleen"})
    assert picture.width > 900
    assert pixels_like(picture, COLOURS["spleen"])[0].size == 0


def test_preview_does_not_depend_on_how_the_image_is_stored(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(-1000, 1000, (30, 24, 12)).astype(np.int16)
    labels = np.kron(rng.integers(0, 4, (10, 8, 4)), np.ones((3, 3, 3))).astype(np.uint8)
    affine = np.diag([2.0, 2.5, 4.0, 1.0])
    names = {1: "liver", 2: "rib_left_7", 3: "gluteus_medius_right"}
    drawn(tmp_path / "ras.png", Image(values, affine), labels, names)
    turned = np.array([[0, 0, -2.0, 58], [2.5, 0, 0, 0], [0, 4.0, 0, 0], [0, 0, 0, 1]])
    stored = [np.ascontiguousarray(a.transpose(1, 2, 0)[:, :, ::-1]) for a in (values, labels)]
    drawn(tmp_path / "other.png", Image(stored[0], turned), stored[1], names)
    assert (tmp_path / "ras.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_preview_of_all_structures_of_the_largest_task_has_room_for_its_legend(tmp_path: Path) -> None:
    labels = (np.arange(40 * 40 * 20) % 118).reshape(40, 40, 20).astype(np.uint8)
    names = {
        value: f"a_structure_with_a_name_longer_than_any_that_there_is_{value}" for value in range(1, 118)
    }
    picture = drawn(tmp_path / "preview.png", image_with(labels), labels, names)
    assert max(picture.size) < 2000


def test_colours_of_a_structure_are_always_the_same_and_of_neighbours_differ() -> None:
    ribs = [colour_of(f"rib_left_{n}", 91 + n) for n in range(1, 13)]
    assert len(set(ribs)) == 12
    assert ribs == [colour_of(f"rib_left_{n}", 91 + n) for n in range(1, 13)]
    assert colour_of("liver", 5) == colour_of("liver", 77) == COLOURS["liver"]


def test_planes_that_show_most_are_found_in_less_memory_than_the_labels_take_twice() -> None:
    labels = np.full((128, 128, 128), 3, np.uint8)
    labels[:64, :, 40] = 5
    tracemalloc.start()
    try:
        at = _fullest(labels)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert at[2] == 40
    assert taken < 2 * labels.nbytes
