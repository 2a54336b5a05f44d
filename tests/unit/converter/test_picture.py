"""The picture: radiological view, true proportions, whatever way the slices run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converter.errors import LabelsDoNotFit
from converter.seg.decoder import read_segmentation
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import Volume, read_series
from gateway.demo.picture import AXIAL_PX, BACKGROUND, GAP, draw_segmentation

MakeSeries = Callable[..., Path]
Draw = Callable[[Volume, np.ndarray], tuple[np.ndarray, np.ndarray]]

DIRECTIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "decubitus": (0, 1, 0, -1, 0, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
}


@pytest.fixture
def draw(settings: SegmentationSettings, tmp_path: Path) -> Draw:
    """Draws labels; gives the axial part of the picture, and where the first segment's colour is."""

    def drawn(volume: Volume, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        encoded = encode_segmentation(volume, labels, {1: "liver"}, settings, tmp_path / "seg.dcm")
        draw_segmentation(encoded.path, volume, tmp_path / "picture.png", title="A title", caption="made up")
        picture = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).astype(int)
        panel = picture[GAP + 30 :, GAP : GAP + AXIAL_PX]
        empty = (panel == BACKGROUND).all(axis=-1)
        height = int(np.argmax(empty.all(axis=1))) or len(panel)
        width = int(np.argmax(empty[:height].all(axis=0))) or AXIAL_PX
        axial = panel[:height, :width]
        colour = np.array(read_segmentation(encoded.path, volume).segments[0].rgb)
        # Labelled pixels are source and colour mixed; grey ones have three equal channels.
        tint = (axial - axial.mean(axis=-1, keepdims=True)) @ (colour - colour.mean())
        return axial, tint > 0.3 * tint.max()

    return drawn


def places_lps_mm(volume: Volume) -> np.ndarray:
    """(frames, rows, columns, 3)."""
    frame, row, column = np.indices((len(volume.frames), volume.rows, volume.columns))
    index = np.stack([column, row, frame, np.ones_like(row)], -1)
    return np.asarray(index @ volume.affine_lps.T)[..., :3]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("axis", "sign"), [(0, -1), (0, 1), (1, -1), (1, 1)])
def test_label_on_one_side_of_the_patient_is_on_that_side_of_the_picture(
    make_series: MakeSeries, draw: Draw, direction: str, axis: int, sign: int
) -> None:
    """The patient's right (x small) is on the left of the picture, the front (y small) above."""
    volume = read_series(make_series(orientation=DIRECTIONS[direction]))
    along = places_lps_mm(volume)[..., axis]
    middle, span = (along.min() + along.max()) / 2, np.ptp(along)
    labels = ((sign * (along - middle)) > 0.25 * span).astype(np.uint8)
    axial, marked = draw(volume, labels)
    centre = np.argwhere(marked).mean(axis=0)
    across = 1 if axis == 0 else 0
    assert sign * (centre[across] - axial.shape[across] / 2) > 5


def test_picture_is_the_same_when_drawn_again(
    make_series: MakeSeries, settings: SegmentationSettings, two_boxes: np.ndarray, tmp_path: Path
) -> None:
    volume = read_series(make_series())
    seg = encode_segmentation(volume, two_boxes, {1: "bone", 6: "gas"}, settings, tmp_path / "s.dcm").path
    first, second = (
        draw_segmentation(seg, volume, tmp_path / name, title="t").read_bytes() for name in ("a.png", "b.png")
    )
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_picture_of_another_series_is_refused(
    make_series: MakeSeries, settings: SegmentationSettings, two_boxes: np.ndarray, tmp_path: Path
) -> None:
    volume = read_series(make_series())
    seg = encode_segmentation(volume, two_boxes, {1: "bone", 6: "gas"}, settings, tmp_path / "s.dcm").path
    with pytest.raises(LabelsDoNotFit):
        draw_segmentation(seg, read_series(make_series(seed=4)), tmp_path / "x.png", title="t")
    assert not (tmp_path / "x.png").exists()
