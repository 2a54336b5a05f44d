"""One run: its statistics, its picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from batch_job.engines import Segmented
from batch_job.image import Image
from batch_job.preview import COLOURS, draw_preview
from batch_job.statistics import measure


def image_with(labels: np.ndarray) -> Image:
    values = np.where(labels > 0, 50, -1000).astype(np.int16)
    return Image(values, np.diag([2.0, 2.0, 5.0, 1.0]))


def test_statistics_of_labels_are_volume_and_mean() -> None:
    labels = np.zeros((10, 8, 6), np.uint8)
    labels[:2, :2, :2], labels[5:, 5:, 3:] = 1, 3
    values = np.random.default_rng(0).normal(0, 100, labels.shape).astype(np.float32)
    image = Image(np.asfortranarray(values), np.diag([2.0, 2.0, 5.0, 1.0]))
    measured = measure(image, Segmented(labels, {1: "bone", 2: "gas", 3: "soft_tissue"}))
    assert set(measured) == {"bone", "soft_tissue"}  # what was not found has no line
    assert measured["bone"]["volume_ml"] == pytest.approx(8 * 0.02)
    assert measured["soft_tissue"]["volume_ml"] == pytest.approx(45 * 0.02)
    assert measured["soft_tissue"]["mean_intensity"] == pytest.approx(values[labels == 3].mean(), abs=0.01)


def pixels_like(picture: Picture.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns of pixels of that hue."""
    pixels = np.asarray(picture.convert("RGB"), float)
    near = np.abs(pixels / (pixels.sum(2, keepdims=True) + 1) - np.array(colour) / sum(colour)).sum(2) < 0.1
    return np.nonzero(near & (pixels.sum(2) > 100))[1]


@pytest.mark.parametrize("flip", [1, -1])
def test_preview_shows_the_patients_right_on_the_left_side(tmp_path: Path, flip: int) -> None:
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[40:55, 20:40, 20:40], labels[5:20, 20:40, 20:40] = 6, 5
    affine = np.diag([flip * 3.0, 3.0, 3.0, 1.0])
    image = Image(np.full(labels.shape, -1000, np.int16), affine)  # black, so that colours stay pure
    names = {5: "lung_left", 6: "lung_right"} if flip == 1 else {5: "lung_right", 6: "lung_left"}
    draw_preview(image, Segmented(labels, names), tmp_path / "preview.png")
    picture = Picture.open(tmp_path / "preview.png")
    axial = picture.crop((0, 0, 490, picture.height))
    right = pixels_like(axial, COLOURS["lung_right"])
    left = pixels_like(axial, COLOURS["lung_left"])
    assert right.size > 1000
    assert left.size > 1000
    assert right.max() < 245 < left.min()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 500, 2), (64, 64, 8)])
def test_preview_of_any_shape_is_drawn_the_same_twice_without_text(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    labels = np.ones(shape, np.uint8)
    for name in ("one.png", "two.png"):
        draw_preview(image_with(labels), Segmented(labels, {1: "some_organ"}), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert not Picture.open(tmp_path / "one.png").info


def test_preview_without_labels_is_the_image_alone(tmp_path: Path) -> None:
    labels = np.zeros((60, 60, 20), np.uint8)
    draw_preview(image_with(labels), Segmented(labels, {1: "bone"}), tmp_path / "preview.png")
    picture = Picture.open(tmp_path / "preview.png")
    assert picture.width > 960
    assert pixels_like(picture, COLOURS["bone"]).size < 3000  # the marks' ink, which has nearly that hue
