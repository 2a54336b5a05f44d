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
    labels = segmented.labels.ravel()
    voxels = np.bincount(labels, minlength=256)
    sums = np.bincount(labels, weights=image.values.ravel(), minlength=256)
    return {
        name: {
            "volume_ml": round(float(voxels[value]) * image.voxel_ml, 3),
            "mean_intensity": round(float(sums[value] / voxels[value]), 2),
        }
        for value, name in segmented.names.items()
        if voxels[value]
    }
