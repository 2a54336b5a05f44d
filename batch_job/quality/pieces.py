"""Structures that are one piece in the body and several in the label map."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from batch_job.contract import Flag

from .structures import Scan, Structure

CODE: Final = "fragments"

LEAST_SHARE: Final = 0.9
"""Of the largest piece: specks around it are usual in every segmentation and change no measurement."""

ONE_PIECE: Final = re.compile(
    r"""(?x)
    brain | spinal_cord | trachea | heart | aorta | inferior_vena_cava | liver | spleen | pancreas
    | gallbladder | stomach | urinary_bladder | prostate | sternum | sacrum | vertebrae_[CTLS][0-9]+
    | (kidney | adrenal_gland | lung | lung_(upper|middle|lower)_lobe)_(left|right)
    | rib_(left|right)_[0-9]+ | (humerus | scapula | clavicula | femur | hip | autochthon)_(left|right)
    | gluteus_(maximus|medius|minimus)_(left|right)
    """
)
"""Bowel, cartilages, cysts, vessels within organs and tissues come in several pieces by nature."""


def fragments(scan: Scan) -> Iterator[Flag]:
    """Flag broken structures; the number is the share of the largest piece.

    Voxels that touch by a corner belong together: a rib is two voxels thick at 3 mm and runs askew. Pieces
    that touch the edge of the scan count as one: they may well be joined beyond it.
    """
    for name, structure in scan.structures.items():
        if not ONE_PIECE.fullmatch(name):
            continue
        sizes = pieces_of(scan, structure)
        share = float(sizes.max() / sizes.sum())
        if share < LEAST_SHARE:
            yield Flag(
                code=CODE,
                structure=name,
                number=round(100 * share, 1),
                unit="%",
                sentence=(
                    f"The {structure.spoken} comes in {len(sizes)} pieces, the largest of which holds "
                    f"{100 * share:.0f} % of it."
                ),
            )


def pieces_of(scan: Scan, structure: Structure) -> NDArray[np.int64]:
    """The size of each piece in voxels.

    Whole runs of voxels along the last axis are joined, not single ones: a fifth of the time that labelling
    each box takes, and little more where a structure is scattered over the whole scan.
    """
    runs = _Runs.of(scan.labels[structure.box] == structure.value)
    count, piece = connected_components(runs.touching(), directed=False)
    sizes = np.zeros(count, np.int64)
    np.add.at(sizes, piece, runs.last - runs.first + 1)
    if count == 1 or not structure.truncated:
        return sizes
    at_edge = np.zeros(count, bool)
    at_edge[piece[runs.at_edge(structure.box, scan.labels.shape)]] = True
    return np.concatenate([sizes[~at_edge], sizes[at_edge].sum(keepdims=True)]) if at_edge.any() else sizes


@dataclass(frozen=True)
class _Runs:
    """Unbroken rows of voxels along the last axis of a box.

    A margin before each row and after the last one of each plane keeps neighbours in the flat numbering from
    being taken for neighbours in space.
    """

    shape: tuple[int, ...]
    """Of the box with its margin."""
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    """Flat indices of each run's first and last voxel in the box with its margin, rising."""

    @classmethod
    def of(cls, found: NDArray[np.bool_]) -> "_Runs":
        """Take the runs of a mask."""
        with_margin = np.pad(found, ((0, 0), (0, 1), (1, 0)))
        flat = with_margin.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        return cls(with_margin.shape, changes[::2], changes[1::2] - 1)

    def touching(self) -> coo_array:
        """Which runs touch by a face, an edge or a corner, as a graph."""
        row, plane = self.shape[2], self.shape[1] * self.shape[2]
        ones, others = [], []
        for away in (row, plane - row, plane, plane + row):  # the opposite directions say the same
            begin = np.searchsorted(self.last, self.first + away - 1)
            count = np.searchsorted(self.first, self.last + away + 1, side="right") - begin
            ones.append(np.repeat(np.arange(len(count)), count))
            steps = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            others.append(np.repeat(begin, count) + steps)
        pairs = np.concatenate(ones), np.concatenate(others)
        return coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(len(self.first),) * 2)

    def at_edge(self, box: tuple[slice, ...], scan: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which runs touch the edge of the scan."""
        planes, rows, first = np.unravel_index(self.first, self.shape)
        last = first + self.last - self.first
        lowest = (planes, rows, first - 1)
        highest = (planes, rows, last - 1)
        edge = np.zeros(len(planes), bool)
        for side, length, low, high in zip(box, scan, lowest, highest, strict=True):
            edge |= (low + side.start == 0) | (high + side.start == length - 1)
        return edge
