"""A mosaic as single frames: one image file whose pixels are the slices of a volume, side by side.

Siemens and United Imaging (UIH) write MR so. How many slices there are, and where they lie, stands in the
vendor's private elements only; one entry of `_KINDS` says how to read those of each.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag
from pydicom.values import convert_SQ

from .headers import Finding, Plane, numbers_of, plane_of, text_of
from .multiframe import Elements, single_header

_ROWS, _COLUMNS, _POSITION = BaseTag(0x00280010), BaseTag(0x00280011), BaseTag(0x00200032)
_SLICE_LOCATION = BaseTag(0x00201041)
SEND_INSTEAD = "send the enhanced multi-frame object, or the series without mosaic"
NORMAL_TOLERANCE = 1e-3
"""How far the vendor's slice direction may be from the normal of rows and columns."""

TILED = Finding(
    "mosaic",
    "the slices are tiles of one mosaic; viewers do not show a segmentation on it",
)


@dataclass(frozen=True)
class Tiles:
    """How a mosaic is laid out: `count` tiles, row by row, `across` of them side by side."""

    count: int
    across: int
    rows: int
    columns: int

    def tile(self, pixels: NDArray[np.generic], number: int) -> NDArray[np.generic]:
        """The pixels of one tile, counted from 1, of those of the mosaic."""
        row, column = divmod(number - 1, self.across)
        return pixels[
            row * self.rows : (row + 1) * self.rows, column * self.columns : (column + 1) * self.columns
        ]


@dataclass(frozen=True)
class _Kind:
    """A vendor's way to write mosaics."""

    vendor: str
    in_image_type: str
    """The value of Image Type by which such an image calls itself one."""
    elements: str
    """Where the vendor says how the tiles lie, in words."""
    tiles: Callable[[Dataset], Tiles | None]
    positions: Callable[[Dataset, Plane, Tiles], Sequence[NDArray[np.float64]] | None]
    """Centre of the first pixel of each tile, LPS mm."""


def is_mosaic(header: Dataset) -> bool:
    """Whether the image calls itself a mosaic."""
    return _kind_of(header) is not None


def tiles_of(header: Dataset) -> Tiles | None:
    """How a mosaic is laid out; None where its header does not say."""
    kind = _kind_of(header)
    return None if kind is None else kind.tiles(header)


def tile_headers(header: Dataset) -> list[Dataset] | Finding:
    """Give each tile's header, in the order of the tiles, or say why there are none."""
    plane, kind = plane_of(header), _kind_of(header)
    if isinstance(plane, Finding):
        return plane
    tiles = None if kind is None else kind.tiles(header)
    positions = None if kind is None or tiles is None else kind.positions(header, plane, tiles)
    if kind is None or tiles is None or positions is None:
        which = "a mosaic" if kind is None else f"a {kind.vendor} mosaic"
        where = "" if kind is None else f" ({kind.elements})"
        return Finding("mosaic", f"{which} does not say how its slices lie{where}; {SEND_INSTEAD}")
    common: Elements = {element.tag: element for element in header.values() if element.tag != _SLICE_LOCATION}
    common[_ROWS] = DataElement(_ROWS, "US", tiles.rows)
    common[_COLUMNS] = DataElement(_COLUMNS, "US", tiles.columns)
    headers = []
    for place in positions:
        position = DataElement(_POSITION, "FD", np.asarray(place).tolist(), already_converted=True)
        headers.append(single_header(header, {**common, _POSITION: position}))
    return headers


def _kind_of(header: Dataset) -> _Kind | None:
    said = text_of(header, "ImageType").upper().split("\\")
    return next((kind for kind in _KINDS if kind.in_image_type in said), None)


def _tiles(header: Dataset, count: float | None, across: int, down: int) -> Tiles | None:
    """None where the mosaic cannot be divided so."""
    rows, columns = numbers_of(header, "Rows", 1), numbers_of(header, "Columns", 1)
    if not count or rows is None or columns is None or rows[0] % down or columns[0] % across:
        return None
    return Tiles(int(count), across, int(rows[0]) // down, int(columns[0]) // across)


# -- Siemens ------------------------------------------------------------------------------------------------
# The CSA header says how many tiles there are, in a square, and to which side they follow each other (nibabel
# reads it). The position of the image is that of the first tile as if the tile had the mosaic's size and the
# same centre (nibabel's documentation, "DICOM mosaic").


def _siemens_tiles(header: Dataset) -> Tiles | None:
    count = _csa_values(header).get("count")
    side = math.ceil(math.sqrt(count)) if count else 1
    return _tiles(header, count, side, side)


def _siemens_positions(header: Dataset, plane: Plane, tiles: Tiles) -> list[NDArray[np.float64]] | None:
    step = _step_lps_mm(header, plane)
    if step is None:
        return None
    row_mm, column_mm = plane.pixel_spacing_mm
    right = plane.row_cosine * column_mm * (plane.columns - tiles.columns) / 2
    down = plane.column_cosine * row_mm * (plane.rows - tiles.rows) / 2
    return [plane.position_mm + right + down + number * step for number in range(tiles.count)]


def _step_lps_mm(header: Dataset, plane: Plane) -> NDArray[np.float64] | None:
    """From one slice to the next: as far as the header says, to the side that the CSA header says."""
    spacing = numbers_of(header, "SpacingBetweenSlices", 1) or numbers_of(header, "SliceThickness", 1)
    normal = _csa_values(header).get("normal")
    if spacing is None or spacing[0] <= 0 or normal is None:
        return None
    side = float(plane.normal @ normal)
    if abs(abs(side) - 1) > NORMAL_TOLERANCE:
        return None
    return np.asarray(plane.normal * math.copysign(spacing[0], side))


def _csa_values(header: Dataset) -> dict[str, Any]:
    """Number of tiles and slice direction of the CSA header; empty where there is none that can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls all its DICOM reading experimental on import
        from nibabel.nicom import csareader
    try:
        csa = csareader.get_csa_header(header)
        return (
            {"count": csareader.get_n_mosaic(csa), "normal": csareader.get_slice_normal(csa)} if csa else {}
        )
    except Exception:  # whatever nibabel raises on a malformed CSA header
        return {}


# -- United Imaging -----------------------------------------------------------------------------------------
# What it calls a grid: private elements (dcm2niix, UIH/README.md) say how many tiles there are, as many
# across as a square would have and only as many down as they need, and of each the position of its own.

_UIH = (0x0065, "Image Private Header")
_UIH_COUNT, _UIH_FRAMES = 0x50, 0x51


def _uih_tiles(header: Dataset) -> Tiles | None:
    frames = _uih_element(header, _UIH_FRAMES) or ()
    try:
        count = int(_uih_element(header, _UIH_COUNT) or 0)
    except (TypeError, ValueError):
        return None
    if count < 1 or count != len(frames):
        return None
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    tiles, in_a_square = _tiles(header, count, across, down), _tiles(header, count, across, across)
    is_square = in_a_square is not None and in_a_square.rows == in_a_square.columns
    if down != across and tiles is not None and is_square and tiles.rows != tiles.columns:
        return None  # it may be the one or the other
    return tiles


def _uih_positions(header: Dataset, plane: Plane, tiles: Tiles) -> list[NDArray[np.float64]] | None:
    places = [numbers_of(frame, "ImagePositionPatient", 3) for frame in _uih_element(header, _UIH_FRAMES)]
    return None if None in places else [np.array(place) for place in places]


def _uih_element(header: Dataset, number: int) -> Any:
    """The value of one of its elements; None where there is none that can be read."""
    group, creator = _UIH
    try:
        value = header.private_block(group, creator)[number].value
        is_unparsed = number == _UIH_FRAMES and isinstance(
            value, bytes
        )  # without VR nobody knows that it is one
        return convert_SQ(value, True, True) if is_unparsed else value
    except Exception:  # absent, or whatever a parser raises on malformed elements
        return None


_KINDS = (
    _Kind("Siemens", "MOSAIC", "no CSA header that could be read", _siemens_tiles, _siemens_positions),
    _Kind("UIH", "VFRAME", "no positions of its tiles that could be read", _uih_tiles, _uih_positions),
)
