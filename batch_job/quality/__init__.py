"""Quality flags: what a person should know before trusting a result, each with its number.

A flag says what was seen, never that the result is wrong: whether to deliver, mark or hold is the rules'.
`docs/quality.md` says of each flag what it means and what to do.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from batch_job.contract import Flag
from batch_job.image import Image
from batch_job.statistics import Statistics

from . import acquisition, edges, order, pieces, sides, volumes
from .structures import find_structures

__all__ = ["CODES", "quality_flags"]

CODES: Final = (
    acquisition.AIR,
    acquisition.HIGHEST,
    acquisition.SPACING,
    sides.SITUS_INVERSUS,
    sides.CONTRADICTION,
    order.REGIONS_CONTRADICT,
    order.ORDER,
    order.GAP,
    volumes.CODE,
    pieces.CODE,
    edges.CODE,
)
"""In the order in which flags are told."""


def quality_flags(
    image: Image, labels: NDArray[np.uint8], names: Mapping[int, str], statistics: Statistics, modality: str
) -> tuple[Flag, ...]:
    """Look for what speaks against a result, or should be known with it.

    Parameters
    ----------
    image
        The image that was segmented.
    labels
        uint8 on the image's grid.
    names
        Every label value that the task looked for, and its name.
    statistics
        What `batch_job.statistics.measure` says of them.
    modality
        "CT" or "MR"; only a CT's values have a unit that can be checked.

    Returns
    -------
    tuple
        Kind by kind in the order of `CODES`, within a kind by label value. It does not depend on the order in
        which the image's axes are stored.
    """
    scan = find_structures(image, labels, names)
    return (
        *(acquisition.hounsfield(image, labels) if modality == "CT" else ()),
        *acquisition.spacing(image),
        *sides.situs_inversus(scan),
        *sides.sides(scan),
        *order.order(scan),
        *order.gaps(scan, names),
        *volumes.volumes(scan, statistics),
        *pieces.fragments(scan),
        *edges.truncated(scan),
    )
