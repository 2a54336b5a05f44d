"""Where the structures of a label map are: their boxes, middles, and how much of each the scan's edge cuts.

Everything is worked out once for all checks, in the order in which the voxels lie in memory, and told in the
patient's directions (RAS mm), so that no check depends on how the image is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from batch_job.image import Image
from batch_job.names import spoken

SIDES: Final = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "head end", "I": "feet end"}
"""The edge of the scan that lies in a direction."""

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Structure:
    """One structure that was found."""

    name: str
    value: int
    box: tuple[slice, slice, slice]
    """The smallest box around it, in `Scan.labels`."""
    middle_mm: tuple[float, float, float]
    """The centroid, RAS mm: larger is further to the patient's right, front and head."""
    cut_at: Mapping[str, float]
    """Edge of the scan (of `SIDES`) to the share of the structure's surface that lies on it, 0 to 1."""

    @property
    def truncated(self) -> bool:
        """Whether it touches the edge of the scan."""
        return bool(self.cut_at)

    @property
    def spoken(self) -> str:
        """The name as a person says it."""
        return spoken(self.name)


@dataclass(frozen=True)
class Scan:
    """A label map in the order of memory, slowest axis first, and what was found in it by name."""

    labels: Labels
    affine: NDArray[np.float64]
    """From indices of `labels` to RAS mm."""
    structures: Mapping[str, Structure]


def find_structures(image: Image, labels: Labels, names: Mapping[int, str]) -> Scan:
    """Look every structure up that has a voxel.

    Parameters
    ----------
    labels
        uint8 on the image's grid.
    names
        Label value to name.
    """
    order = [int(axis) for axis in np.argsort([-abs(stride) for stride in labels.strides], kind="stable")]
    labels, affine = labels.transpose(order), image.affine[:, [*order, 3]]
    boxes = ndimage.find_objects(labels)
    cuts = _cuts(labels, affine)
    structures = {}
    for value, name in sorted(names.items()):
        box = boxes[value - 1] if value <= len(boxes) else None
        if box is not None:
            middle_mm = _middle_mm(labels[box] == value, box, affine)
            structures[name] = Structure(name, value, box, middle_mm, cuts.get(value, {}))
    return Scan(labels, affine, structures)


def _middle_mm(
    found: NDArray[np.bool_], box: tuple[slice, slice, slice], affine: NDArray[np.float64]
) -> tuple[float, float, float]:
    across = found.sum(axis=0, dtype=np.uint32)
    profiles = (np.count_nonzero(found, axis=(1, 2)), across.sum(axis=1), across.sum(axis=0))
    middle = [
        side.start + float(np.average(np.arange(len(profile)), weights=profile))
        for side, profile in zip(box, profiles, strict=True)
    ]
    right, front, up = (affine @ [*middle, 1.0])[:3]
    return float(right), float(front), float(up)


def _cuts(labels: Labels, affine: NDArray[np.float64]) -> dict[int, dict[str, float]]:
    """By label value, the share of its surface on each edge of the scan that it touches."""
    face_mm2 = [
        float(np.linalg.norm(np.cross(affine[:3, (axis + 1) % 3], affine[:3, (axis + 2) % 3])))
        for axis in range(3)
    ]
    edges = _edges(labels, affine)
    surface = np.einsum("a,av->v", face_mm2, _boundaries(labels))
    for axis, _, counts in edges:
        surface += face_mm2[axis] * counts
    cuts: dict[int, dict[str, float]] = {}
    for axis, side, counts in edges:
        for value in np.flatnonzero(counts):
            cuts.setdefault(int(value), {})[side] = float(face_mm2[axis] * counts[value] / surface[value])
    return cuts


def _edges(labels: Labels, affine: NDArray[np.float64]) -> list[tuple[int, str, NDArray[np.int64]]]:
    """Each of the six edges: its axis, its side of the patient, and how often each label touches it."""
    opposite = dict(zip("RLAPSI", "LRPAIS", strict=True))
    edges = []
    for axis, far in enumerate(nib.aff2axcodes(affine)):
        for end, side in ((0, opposite[far]), (-1, far)):
            face = np.moveaxis(labels, axis, 0)[end]
            edges.append((axis, SIDES[side], np.bincount(face.ravel(), minlength=256)))
    return edges


def _boundaries(labels: Labels) -> NDArray[np.int64]:
    """How many voxel faces across each axis lie between a label and another one, (3, 256)."""
    faces = np.zeros((3, 256), np.int64)
    for here, plane in enumerate(labels):
        pairs = [(1, plane[1:], plane[:-1]), (2, plane[:, 1:], plane[:, :-1])]
        if here:
            pairs.append((0, plane, labels[here - 1]))
        for axis, one, other in pairs:
            differ = one != other
            faces[axis] += np.bincount(one[differ], minlength=256)
            faces[axis] += np.bincount(other[differ], minlength=256)
    return faces
