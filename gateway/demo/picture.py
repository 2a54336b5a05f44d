"""A picture of a segmentation on its source images, drawn from the DICOM objects alone.

One axial plane large, a coronal and a sagittal one beside it, all in true proportions; the patient's right
is on the left side of the picture, as radiologists look at it. Sides are marked, a legend names the segments.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from converter.seg.decoder import ReadSegmentation, Segment, read_segmentation
from converter.series import Volume
from converter.unpacking.source_frames import source_frames
from converter.voxels.geometry import positions_lps_mm

AXIAL_PX = 620
STRIP_PX = 420
SMALLEST_STRIP_PX = 90
GAP = 16
OPACITY = 0.42
MOST_NAMES = 34
BACKGROUND, INK, FAINT = (17, 19, 24), (236, 238, 242), (150, 156, 168)

Grey = NDArray[np.float32]
Numbers = NDArray[np.uint8]


@dataclass(frozen=True)
class _Box:
    """The volume in patient axes: first to the left, second to the back, third up; with voxel sizes in mm."""

    grey: Grey
    numbers: Numbers
    spacing_mm: tuple[float, float, float]


def draw_segmentation(
    segmentation: Path, volume: Volume, out: Path, *, title: str, caption: str = ""
) -> Path:
    """Draw a segmentation on its source.

    Parameters
    ----------
    segmentation
        A DICOM-SEG of this volume.
    out
        The PNG to write.

    Raises
    ------
    LabelsDoNotFit
        The segmentation belongs to another series.
    EncodingFailed
        The source's pixels cannot be decoded here.
    OSError
    """
    read = read_segmentation(segmentation, volume)
    box = _box(volume, read.numbers)
    colours = np.zeros((256, 3), np.float32)
    for segment in read.segments:
        colours[segment.number] = segment.rgb
    axial = _plane(box, 2, colours, AXIAL_PX)
    strips = [_plane(box, axis, colours, STRIP_PX) for axis in (1, 0)]
    canvas = _layout(axial, strips, _present(read), title, caption)
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(out, "PNG")
    return out


def _present(read: ReadSegmentation) -> list[Segment]:
    """The segments that occur, largest first."""
    counts = np.bincount(read.numbers.ravel(), minlength=256)
    found = [segment for segment in read.segments if counts[segment.number]]
    return sorted(found, key=lambda segment: -int(counts[segment.number]))


# -- from frames to patient axes ----------------------------------------------------------------------------


def _box(volume: Volume, numbers: Numbers) -> _Box:
    """Turn frames so that their axes run to the left, to the back and up, as nearly as they do."""
    grey = _grey(volume)
    directions = np.stack(
        [np.array(volume.orientation_lps[:3]), np.array(volume.orientation_lps[3:]), volume.normal_lps]
    )
    axes = _nearest_axes(directions)
    frame_mm = _frame_spacing_mm(volume)
    sizes_mm = (volume.pixel_spacing_mm[1], volume.pixel_spacing_mm[0], frame_mm)
    order = [axes.index(patient) for patient in range(3)]
    flips = [directions[source, patient] < 0 for patient, source in enumerate(order)]

    def turned(frames: NDArray[np.generic]) -> NDArray[np.generic]:
        array = frames.transpose(2, 1, 0).transpose(order)  # (column, row, frame), then patient axes
        for axis, flip in enumerate(flips):
            if flip:
                array = np.flip(array, axis)
        return array

    spacing_mm = (sizes_mm[order[0]], sizes_mm[order[1]], sizes_mm[order[2]])
    return _Box(turned(grey).astype(np.float32), turned(numbers).astype(np.uint8), spacing_mm)


def _nearest_axes(directions: NDArray[np.float64]) -> list[int]:
    """Which patient axis each image axis follows; each axis is taken once."""
    left = np.abs(directions).copy()
    axes = [-1, -1, -1]
    for _ in range(3):
        image, patient = np.unravel_index(int(left.argmax()), left.shape)
        axes[int(image)] = int(patient)
        left[image, :] = -1
        left[:, patient] = -1
    return axes


def _frame_spacing_mm(volume: Volume) -> float:
    heights = positions_lps_mm(volume) @ volume.normal_lps
    return float(np.ptp(heights)) / max(len(heights) - 1, 1)


def _grey(volume: Volume) -> Grey:
    """The source's pixels as brightness, 0 to 1, (frames, rows, columns)."""
    values = np.empty((len(volume.frames), volume.rows, volume.columns), np.float32)
    with source_frames(volume) as frames:
        for number in range(len(frames)):
            values[number] = frames[number]
    if volume.header.get("Modality") == "CT":
        low, high = -160.0, 240.0
    else:
        low, high = (float(v) for v in np.percentile(values, (1, 99)))
    brightness: Grey = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return brightness


# -- planes -------------------------------------------------------------------------------------------------


def _plane(box: _Box, axis: int, colours: NDArray[np.float32], longest_px: int) -> Image.Image:
    """The plane across an axis that shows most segments, then most of them."""
    others = [other for other in range(3) if other != axis]
    index = _best_index(box.numbers, axis)
    grey = np.moveaxis(box.grey, axis, 0)[index].T
    numbers = np.moveaxis(box.numbers, axis, 0)[index].T
    if axis != 2:  # up is up
        grey, numbers = grey[::-1], numbers[::-1]
    width_mm, height_mm = (box.grey.shape[other] * box.spacing_mm[other] for other in others)
    scale = longest_px / max(width_mm, height_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    base = Image.fromarray((grey * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    marked = np.asarray(Image.fromarray(numbers).resize(size, Image.Resampling.NEAREST))
    rgb = np.repeat(np.asarray(base, np.float32)[..., np.newaxis], 3, axis=2)
    weight = np.where(marked > 0, OPACITY, 0.0) + np.where(_outline(marked), 0.5, 0.0)
    weight = np.clip(weight, 0, 0.92)[..., np.newaxis]
    mixed = rgb * (1 - weight) + colours[marked] * weight
    picture = Image.fromarray(mixed.astype(np.uint8))
    _mark(picture, ("R", "L") if axis != 0 else ("A", "P"), ("A", "P") if axis == 2 else ("H", "F"))
    return picture


def _best_index(numbers: Numbers, axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    area = np.count_nonzero(numbers, axis=others).astype(np.float64)
    kinds = np.array([np.unique(plane).size for plane in np.moveaxis(numbers, axis, 0)])
    return int((kinds + area / (area.max() + 1)).argmax())


def _outline(marked: Numbers) -> NDArray[np.bool_]:
    """Labelled pixels with another label beside them."""
    edge = np.zeros(marked.shape, bool)
    for axis in (0, 1):
        differs = np.diff(marked.astype(np.int16), axis=axis) != 0
        first = [slice(None), slice(None)]
        second = [slice(None), slice(None)]
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        edge[tuple(first)] |= differs
        edge[tuple(second)] |= differs
    return edge & (marked > 0)


def _mark(picture: Image.Image, sides: tuple[str, str], ends: tuple[str, str]) -> None:
    draw = ImageDraw.Draw(picture)
    font = _font(16)
    width, height = picture.size
    places = [
        (sides[0], (5, height / 2), "lm"),
        (sides[1], (width - 5, height / 2), "rm"),
        (ends[0], (width / 2, 4), "mt"),
        (ends[1], (width / 2, height - 4), "mb"),
    ]
    for letter, place, anchor in places[: 4 if height > SMALLEST_STRIP_PX else 2]:
        draw.text(place, letter, INK, font, anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)


# -- the whole ----------------------------------------------------------------------------------------------


def _layout(
    axial: Image.Image, strips: list[Image.Image], segments: list[Segment], title: str, caption: str
) -> Image.Image:
    top = GAP + 30
    side = GAP + axial.width + GAP
    legend_top = top + sum(strip.height + GAP for strip in strips)
    names = segments[:MOST_NAMES]
    columns = 1 if len(names) <= 12 else 2
    lines = -(-len(names) // columns) + (1 if len(segments) > len(names) else 0)
    height = max(top + axial.height, legend_top + 20 * lines) + GAP + (24 if caption else 0)
    canvas = Image.new("RGB", (side + STRIP_PX + GAP, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, GAP), title, INK, _font(18))
    canvas.paste(axial, (GAP, top))
    y = top
    for strip in strips:
        canvas.paste(strip, (side + (STRIP_PX - strip.width) // 2, y))
        y += strip.height + GAP
    rows = -(-len(names) // columns)
    for number, segment in enumerate(names):
        x, line_y = side + (number // rows) * (STRIP_PX // columns), y + 20 * (number % rows)
        draw.rectangle((x, line_y + 3, x + 12, line_y + 15), fill=segment.rgb)
        draw.text((x + 19, line_y), segment.label.replace("_", " "), INK, _font(13))
    if len(segments) > len(names):
        draw.text((side, y + 20 * rows), f"and {len(segments) - len(names)} more", FAINT, _font(13))
    if caption:
        draw.text((GAP, height - 26), caption, FAINT, _font(13))
    return canvas


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
