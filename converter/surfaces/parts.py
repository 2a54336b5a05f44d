"""The surfaces of all structures of a label map, within a limit for all of them together."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import block_reduce

from .mesh import Mesh, surface_of

MOST_TRIANGLES: Final = 200_000
"""Of all structures together: what a browser on a phone still turns."""
MOST_FACES: Final = 250_000
"""Of voxels on the border of a structure: what has more, as all soft tissue has, is read more coarsely, since
a processor and memory would go for what is decimated to a hundredth."""
FEWEST_TRIANGLES: Final = 400
"""A structure keeps so many in any case."""
NEEDED: Final = 0.5
"""A structure needs no more triangles than this for each face of a voxel on its border, which give two."""


@dataclass(frozen=True)
class Part:
    """What a structure is called, and its colour, sRGB, 0 to 255."""

    name: str
    title: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface of a structure."""

    part: Part
    mesh: Mesh


def surfaces_of(
    labels: NDArray[np.uint8], affine_ras: NDArray[np.float64], parts: Mapping[int, Part]
) -> Iterator[tuple[int, Surface]]:
    """Make the surface of each structure that occurs: label values, ascending, and what has them.

    Parameters
    ----------
    labels
        (i, j, k).
    affine_ras
        From voxel indices to RAS mm.
    parts
        By label value; what has none is left out.
    """
    faces = _border_faces(labels)
    shares = _shares({value: faces[value] for value in parts})
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or value not in parts:
            continue
        to_ras = affine_ras.copy()
        to_ras[:3, 3] += affine_ras[:3, :3] @ [axis.start for axis in box]
        inside, to_ras = _coarser(labels[box] == value, to_ras, math.ceil((faces[value] / MOST_FACES) ** 0.5))
        if inside.any():
            yield value, Surface(parts[value], surface_of(inside, to_ras, shares[value]))


def _coarser(
    inside: NDArray[np.bool_], affine_ras: NDArray[np.float64], step: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Cubes of so many voxels as one, which is inside where most of them are; and where it lies."""
    if step < 2:
        return inside, affine_ras
    to_ras = affine_ras.copy()
    to_ras[:3, 3] += affine_ras[:3, :3] @ np.full(3, (step - 1) / 2)
    to_ras[:3, :3] *= step
    return block_reduce(inside, step, np.mean) >= 0.5, to_ras


def _shares(faces: Mapping[int, int]) -> dict[int, int]:
    """How many triangles each may have, by its border: by the root, or small ones would lose their shape."""
    whole = sum(count**0.5 for count in faces.values()) or 1.0
    left = MOST_TRIANGLES - FEWEST_TRIANGLES * len(faces)
    return {
        value: FEWEST_TRIANGLES + int(min(count * NEEDED, left * count**0.5 / whole))
        for value, count in faces.items()
    }


def _border_faces(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """By value, how many faces of voxels part it from others."""
    found = np.zeros(256, np.int64)
    for axis in range(3):
        along = np.moveaxis(labels, axis, 0)
        for here, there in pairwise(along):
            differs = here != there
            for side in (here, there):
                found += np.bincount(side[differs], minlength=256)
    return found
