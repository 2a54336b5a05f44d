"""A structure set read back before anybody sees it: what its contours enclose, compared with the labels.

Contours are taken from the file as any reader takes them, by region, image and text, and filled by the rule
of even and odd on the centres of pixels. Runs of pixels are compared, not planes: a hundred structures on
hundreds of slices have some million of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from converter.errors import EncodingFailed
from converter.results.bytes import frame_named
from converter.results.labelled import Labelled
from converter.seg.planes import run_starts
from converter.voxels.geometry import directions_lps, positions_lps_mm

DICE: Final = 0.99
"""What a structure must reach that is larger than `LEAST_ML`."""
LEAST_ML: Final = 1.0
OFF_PLANE_MM: Final = 0.01
"""Points are further off their slice only where that is not theirs."""

_HEADER: Final = Struct("<HHI")
_META_LENGTH_AT: Final = 140
_ROI_CONTOURS, _CONTOURS, _DATA, _IMAGES, _UID, _FRAME, _NUMBER = (
    0x30060039,
    0x30060040,
    0x30060050,
    0x30060016,
    0x00081155,
    0x00081160,
    0x30060084,
)

Runs = NDArray[np.int64]
"""(runs, 2): the first pixel and the one after the last, counted through labels, frames and rows."""


@dataclass(frozen=True, eq=False)
class _Contours:
    """All contours of a file: of each its frame, its label and its number of points, and all points."""

    frames: NDArray[np.int64]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    points_mm: NDArray[np.float64]


def check_reads_back(path: Path, labelled: Labelled) -> None:
    """Make sure that a structure set encloses what is labelled.

    Raises
    ------
    EncodingFailed
        It does not, or cannot be read; the sentence names the structure.
    OSError
    """
    try:
        enclosed = _runs_enclosed(_read(path.read_bytes(), labelled), labelled)
    except (ValueError, LookupError, IndexError, ArithmeticError):
        raise EncodingFailed("the contours do not read back; nothing was written") from None
    marked = _runs_marked(labelled)
    if np.array_equal(enclosed, marked):
        return
    for value, dice in _dice(enclosed, marked, labelled):
        if dice < DICE:
            raise EncodingFailed(
                f"the contours of {labelled.names[value]} do not read back as its labels (Dice {dice:.3f}); "
                "nothing was written"
            )


# -- reading ------------------------------------------------------------------------------------------------


def _read(content: bytes, labelled: Labelled) -> _Contours:
    """Regions are numbered as labels that occur, from 1."""
    volume = labelled.volume
    frames = {
        (frame.sop_instance_uid, frame_named(volume, frame)): number
        for number, frame in enumerate(volume.frames)
    }
    meta_end = _META_LENGTH_AT + 4 + int.from_bytes(content[_META_LENGTH_AT : _META_LENGTH_AT + 4], "little")
    found: list[tuple[int, int, bytes]] = []
    for region in _items(content, _parts(content, meta_end, len(content))[_ROI_CONTOURS]):
        parts = _parts(content, *region)
        label = labelled.values[int(content[slice(*parts[_NUMBER])]) - 1]
        for contour in _items(content, parts[_CONTOURS]):
            said = _parts(content, *contour)
            (image,) = _items(content, said[_IMAGES])
            found.append((frames[_image_named(content, image)], label, content[slice(*said[_DATA])].rstrip()))
    counts = np.array([text.count(b"\\") + 1 for _, _, text in found])
    numbers = np.fromstring(b"\\".join(text for _, _, text in found).decode("ascii"), sep="\\")
    if len(numbers) != counts.sum() or (counts % 3).any():
        raise ValueError("points are damaged")
    return _Contours(
        np.array([frame for frame, _, _ in found]),
        np.array([label for _, label, _ in found]),
        counts // 3,
        numbers.reshape(-1, 3),
    )


def _image_named(content: bytes, image: tuple[int, int]) -> tuple[str, int | None]:
    parts = _parts(content, *image)
    uid = content[slice(*parts[_UID])].decode("ascii").rstrip("\0 ")
    return uid, int(content[slice(*parts[_FRAME])]) if _FRAME in parts else None


def _parts(content: bytes, begin: int, end: int) -> dict[int, tuple[int, int]]:
    """Where the values of one level begin and end, by tag; implicit VR little endian (PS3.5 7.1.3)."""
    found = {}
    while begin < end:
        group, element, length = _HEADER.unpack_from(content, begin)
        begin += _HEADER.size
        if begin + length > end:
            raise ValueError("an element is longer than what holds it")
        found[group << 16 | element] = (begin, begin + length)
        begin += length
    return found


def _items(content: bytes, sequence: tuple[int, int]) -> Iterator[tuple[int, int]]:
    begin, end = sequence
    while begin < end:
        length = _HEADER.unpack_from(content, begin)[2]
        begin += _HEADER.size
        if begin + length > end:
            raise ValueError("an item is longer than its sequence")
        yield begin, begin + length
        begin += length


# -- runs of pixels -----------------------------------------------------------------------------------------


def _runs_enclosed(contours: _Contours, labelled: Labelled) -> Runs:
    """What is enclosed: between crossings of a contour with the line through a row's centres."""
    volume = labelled.volume
    of_point = np.repeat(np.arange(len(contours.counts)), contours.counts)
    away_mm = contours.points_mm - positions_lps_mm(volume)[contours.frames[of_point]]
    if np.abs(away_mm @ volume.normal_lps).max(initial=0) > OFF_PLANE_MM:
        raise ValueError("a contour lies on no slice")
    across, down = directions_lps(volume)
    x = away_mm @ across / volume.pixel_spacing_mm[1]
    y = away_mm @ down / volume.pixel_spacing_mm[0]
    after = np.arange(1, len(x) + 1)
    ends = np.cumsum(contours.counts)
    after[ends - 1] = ends - contours.counts
    low = np.floor(np.minimum(y, y[after])).astype(np.int64)
    times = np.floor(np.maximum(y, y[after])).astype(np.int64) - low
    crosses = np.flatnonzero(times)
    side = np.repeat(crosses, times[crosses])
    first = np.repeat(np.cumsum(times[crosses]) - times[crosses], times[crosses])
    row = low[side] + 1 + np.arange(len(side)) - first
    share = (row - y[side]) / (y[after[side]] - y[side])
    column = np.ceil(x[side] + share * (x[after[side]] - x[side])).astype(np.int64)
    if len(row) and not (row.min() >= 0 and row.max() < volume.rows):
        raise ValueError("a contour leaves its slice")
    if len(column) and not (column.min() >= 0 and column.max() <= volume.columns):
        raise ValueError("a contour leaves its slice")
    of_side = of_point[side]
    at = _rows_before(contours.labels[of_side], contours.frames[of_side], row, labelled)
    runs = np.sort(at + column).reshape(-1, 2)
    runs = runs[runs[:, 0] < runs[:, 1]]  # cuts go there and back
    if (runs[:, 0] // (volume.columns + 1) != runs[:, 1] // (volume.columns + 1)).any():
        raise ValueError("a contour is not closed")
    return runs


def _runs_marked(labelled: Labelled) -> Runs:
    columns = labelled.volume.columns
    found = []
    for number, plane in enumerate(labelled.labels):
        flat = np.ascontiguousarray(plane).reshape(-1)
        starts = run_starts(flat, columns)
        ends = np.append(starts[1:], flat.size)
        is_there = flat[starts] != 0
        starts, ends = starts[is_there], ends[is_there]
        before = _rows_before(
            flat[starts].astype(np.int64), np.full(len(starts), number), starts // columns, labelled
        )
        begin = before + starts % columns
        found.append(np.stack([begin, begin + ends - starts], axis=1))
    runs = np.concatenate(found)
    return np.asarray(runs[np.argsort(runs[:, 0])])


def _rows_before(
    labels: NDArray[np.int64], frames: NDArray[np.int64], rows: NDArray[np.int64], labelled: Labelled
) -> NDArray[np.int64]:
    """The number of a row's first pixel; each row has one more, behind its last one."""
    volume = labelled.volume
    row = (labels * len(volume.frames) + frames) * volume.rows + rows
    return np.asarray(row * (volume.columns + 1))


def _dice(enclosed: Runs, marked: Runs, labelled: Labelled) -> Iterator[tuple[int, float]]:
    """The agreement of each structure that is larger than `LEAST_ML`."""
    volume = labelled.volume
    voxel_ml = float(np.prod(volume.pixel_spacing_mm)) * volume.slice_spacing_mm / 1000
    of_label = len(volume.frames) * volume.rows * (volume.columns + 1)
    for value in labelled.values:
        both = [runs[runs[:, 0] // of_label == value] - value * of_label for runs in (enclosed, marked)]
        masks = [_filled(runs, of_label) for runs in both]
        sizes = [np.count_nonzero(mask) for mask in masks]
        if sizes[1] * voxel_ml > LEAST_ML:
            yield value, 2 * np.count_nonzero(masks[0] & masks[1]) / sum(sizes)


def _filled(runs: Runs, size: int) -> NDArray[np.bool_]:
    steps = np.zeros(size + 1, np.int8)
    np.add.at(steps, runs[:, 0], 1)
    np.add.at(steps, runs[:, 1], -1)
    return np.cumsum(steps[:size], dtype=np.int8) > 0
