"""A stand-in for a segmentation engine: it sees voxels only, so it finds bodies wherever they were put.

Knows NumPy and SciPy alone, so that it runs in a peer's environment too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NAMES = {1: "liver", 2: "spleen"}
"""What the two bodies are called: a large one on the patient's right, a small one on the left."""


@dataclass(frozen=True)
class Engine:
    """Marks what is brighter than `limit`: its largest bodies, or all of it as one (`bodies` = 0)."""

    limit: float
    bodies: int = 0

    def mark(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Mark voxels, in whatever order their axes are; the largest body is 1."""
        bright = np.asarray(values) > self.limit
        if not self.bodies:
            return bright.astype(np.uint8)
        numbered, count = ndimage.label(bright)
        sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
        label_of = np.zeros(count + 1, np.uint8)
        for label, body in enumerate(np.argsort(-sizes, kind="stable")[: self.bodies], start=1):
            label_of[body + 1] = label
        return np.asarray(label_of[numbered])
