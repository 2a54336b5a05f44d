"""A Siemens mosaic as single frames: one image file whose pixels are the slices of a volume, side by side.

How many slices there are, and to which side they follow each other, stands in the vendor's CSA header only
(nibabel reads it). The position of the image is that of the first tile as if the tile had the mosaic's size
and the same centre (nibabel's documentation, "DICOM mosaic").
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag

from .headers import Finding, Plane, numbers_of, plane_of, text_of
from .multiframe import Elements, single_header

_ROWS, _COLUMNS, _POSITION = BaseTag(0x00280010), BaseTag(0x00280011), BaseTag(0x00200032)
_SLICE_LOCATION = BaseTag(0x00201041)
SEND_INSTEAD = "send the enhanced multi-frame object, or the series without mosaic"
NORMAL_TOLERANCE = 1e-3
"""How far the vendor's slice direction may be from the normal of rows and columns."""

TILED = Finding(
    "mosaic",
    "the slices are tiles of one Siemens mosaic; viewers do not show a segmentation on it",
)


@dataclass(frozen=True)
class Tiles:
    """How a mosaic is laid out: `count` tiles, row by row, in a square that is `across` tiles wide."""

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


def is_mosaic(header: Dataset) -> bool:
    """Whether the image calls itself a mosaic."""
    return "MOSAIC" in text_of(header, "ImageType").upper().split("\\")


def tiles_of(header: Dataset) -> Tiles | None:
    """How a mosaic is laid out; None where its header does not say."""
    count = _csa_values(header).get("count")
    rows, columns = numbers_of(header, "Rows", 1), numbers_of(header, "Columns", 1)
    if not count or rows is None or columns is None:
        return None
    across = math.ceil(math.sqrt(count))
    if rows[0] % across or columns[0] % across:
        return None
    return Tiles(int(count), across, int(rows[0]) // across, int(columns[0]) // across)


def tile_headers(header: Dataset) -> list[Dataset] | Finding:
    """Give each tile's header, in the order of the tiles, or say why there are none."""
    plane = plane_of(header)
    if isinstance(plane, Finding):
        return plane
    tiles, step = tiles_of(header), _step_lps_mm(header, plane)
    if tiles is None or step is None:
        return Finding(
            "mosaic",
            f"a Siemens mosaic does not say how its slices lie (no CSA header); {SEND_INSTEAD}",
        )
    first = _first_position(plane, tiles)
    common: Elements = {element.tag: element for element in header.values() if element.tag != _SLICE_LOCATION}
    common[_ROWS] = DataElement(_ROWS, "US", tiles.rows)
    common[_COLUMNS] = DataElement(_COLUMNS, "US", tiles.columns)
    headers = []
    for number in range(tiles.count):
        position = DataElement(
            _POSITION, "FD", [float(value) for value in first + number * step], already_converted=True
        )
        headers.append(single_header(header, {**common, _POSITION: position}))
    return headers


def _first_position(plane: Plane, tiles: Tiles) -> NDArray[np.float64]:
    """Centre of the first pixel of the first tile, LPS mm."""
    row_mm, column_mm = plane.pixel_spacing_mm
    right = plane.row_cosine * column_mm * (plane.columns - tiles.columns) / 2
    down = plane.column_cosine * row_mm * (plane.rows - tiles.rows) / 2
    return np.asarray(plane.position_mm + right + down)


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
