"""Structures that are one piece in the body and several in the label map."""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy import ndimage

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

EVERY_NEIGHBOUR: Final = np.ones((3, 3, 3), bool)
"""Voxels that touch by a corner belong together: a rib is two voxels thick at 3 mm and runs askew."""


def fragments(scan: Scan) -> Iterator[Flag]:
    """Flag broken structures; the number is the share of the largest piece.

    Pieces that touch the edge of the scan count as one: they may well be joined beyond it.
    """
    for name, structure in scan.structures.items():
        if not ONE_PIECE.fullmatch(name):
            continue
        sizes = _pieces(scan, structure)
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


def _pieces(scan: Scan, structure: Structure) -> np.ndarray:
    """The size of each piece in voxels."""
    pieces, count = ndimage.label(scan.labels[structure.box] == structure.value, EVERY_NEIGHBOUR)
    if count == 1:
        return np.ones(1)
    sizes = np.bincount(pieces.ravel())[1:]
    at_edge = np.zeros(count, bool)
    for axis, (side, length) in enumerate(zip(structure.box, scan.labels.shape, strict=True)):
        across = np.moveaxis(pieces, axis, 0)
        for end, reached in ((0, side.start == 0), (-1, side.stop == length)):
            if reached:
                at_edge[np.unique(across[end][across[end] > 0]) - 1] = True
    joined = sizes[at_edge].sum()
    return np.concatenate([sizes[~at_edge], [joined] if joined else []])
