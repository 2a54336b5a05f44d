"""Quality flags: what a person should know before trusting a result, each with its number.

A flag says what was seen, never that the result is wrong: whether to deliver, mark or hold is the rules'.
`docs/quality.md` says of each flag what it means and what to do.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from batch_job.contract import Flag
from batch_job.image import Image
from batch_job.statistics import Statistics

from .acquisition import hounsfield, spacing
from .edges import truncated
from .order import gaps, order
from .pieces import fragments
from .sides import sides, situs_inversus
from .structures import find_structures
from .volumes import volumes

__all__ = ["quality_flags"]


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
        The image's own flags first, then those of structures, kind by kind, in the order of label values. It
        does not depend on the order in which the image's axes are stored.
    """
    scan = find_structures(image, labels, names)
    return (
        *(hounsfield(image, labels) if modality == "CT" else ()),
        *spacing(image),
        *situs_inversus(scan),
        *sides(scan),
        *order(scan),
        *gaps(scan, names),
        *volumes(scan, statistics),
        *fragments(scan),
        *truncated(scan),
    )
