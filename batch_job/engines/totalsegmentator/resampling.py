"""Resampling, to the last bit what `scipy.ndimage.zoom` makes of the whole, as TotalSegmentator calls it.

The image is interpolated in slabs, side by side, each of which is told at which slice it begins: the
coordinates are the same numbers as those of the whole. Labels come back by an index on each axis.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from batch_job.cgroup import cores

SLAB: Final = 4
"""Slices at once: few, so that what lies around them in the image stays in the processor's cache."""

Shape = tuple[int, ...]


def linear(values: NDArray[Any], zoom: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate linearly and cut off what stands behind the point.

    Parameters
    ----------
    values
        (x, y, z), of a type that 64-bit floats hold exactly.
    zoom
        How many voxels each becomes, by axis.

    Returns
    -------
    NDArray
        (x, y, z) with x the fastest in memory.
    """
    shape = tuple(round(count * float(times)) for count, times in zip(values.shape, zoom, strict=True))
    result = np.empty(shape, np.float32, order="F")
    steps = _steps(values.shape, shape)
    if not steps.all():  # one slice: there is nothing between slices
        whole = ndimage.zoom(values.astype(np.float64), zoom, mode="nearest", order=1)
        result[...] = whole.astype(np.int32)
        return result

    def fill(begin: int, end: int) -> None:
        slab = np.empty((*shape[:2], end - begin), np.float64, order="F")
        offset = (0.0, 0.0, begin * steps[2])
        ndimage.affine_transform(values, steps, offset, slab.shape, slab, order=1, mode="nearest")
        result[:, :, begin:end] = slab.astype(np.int32)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(fill, *zip(*_slabs(shape[2], steps[2]), strict=True)))
    return result


def nearest(labels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """The nearest voxel's label for each of a grid of another shape with the same corners.

    Parameters
    ----------
    labels
        (x, y, z), best with x the fastest in memory.

    Returns
    -------
    NDArray
        (x, y, z) with x the fastest in memory.
    """
    steps = _steps(labels.shape, shape)
    found = labels.T
    for axis in range(len(shape)):  # x first, while there is little; slices are copied whole at last
        index = np.floor(np.arange(shape[axis]) * steps[axis] + 0.5).astype(np.intp)
        index = np.minimum(index, labels.shape[axis] - 1)
        found = np.take(found, index, found.ndim - 1 - axis)
    return found.T


def _steps(source: Shape, target: Shape) -> NDArray[np.float64]:
    """How far it is on the source's grid from one voxel of the target's to the next, as SciPy reckons it."""
    gaps = np.array(target) - 1
    steps: NDArray[np.float64] = np.divide(
        np.array(source) - 1, gaps, out=np.ones(len(target)), where=gaps != 0
    )
    return steps


def _slabs(count: int, step: float) -> list[tuple[int, int]]:
    """Begin and end of each, where SciPy gets back the very slice number from the offset that it is given."""
    begins = [begin for begin in range(0, count, SLAB) if (begin * step) / step == begin]
    return list(zip(begins, [*begins[1:], count], strict=True))
