"""What is measured of every structure that was found: its volume and its mean intensity."""

from collections.abc import Mapping

import numpy as np

from .engines import Segmented
from .image import Image


def measure(image: Image, segmented: Segmented) -> Mapping[str, Mapping[str, float]]:
    """Measure each structure that occurs.

    Returns
    -------
    mapping
        Name to `volume_ml` and `mean_intensity` (HU for CT).
    """
    voxels, sums = np.zeros(256, np.int64), np.zeros(256)
    for level in range(segmented.labels.shape[2]):  # plane by plane: sums are made in 64 bits
        labels = segmented.labels[:, :, level].ravel(order="F")
        values = image.values[:, :, level].ravel(order="F")
        voxels += np.bincount(labels, minlength=256)
        sums += np.bincount(labels, weights=values, minlength=256)
    return {
        name: {
            "volume_ml": round(float(voxels[value]) * image.voxel_ml, 3),
            "mean_intensity": round(float(sums[value] / voxels[value]), 2),
        }
        for value, name in segmented.names.items()
        if voxels[value]
    }
