"""CT tissues by Hounsfield units and shape: no weights, no GPU, and no more certainty than that gives.

Adipose tissue is -190 to -30 HU, the range that body composition CT uses (Aubrey et al., Acta Physiol 210,
2014). What lies between fat and gas is the edge of tissue within one voxel and counts as soft. Bone and lungs
are found by shape as well: `ct_bone`, `ct_lungs`.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from batch_job.contract import EngineInfo, engine_facts
from batch_job.errors import BadInput
from batch_job.image import Image, ImageSize, from_ras, to_ras
from batch_job.resources import check_memory

from . import Segmented, Work
from .coarse import Mask, coarse_factors, coarsen
from .ct_body import Body, find_body
from .ct_bone import find_bone
from .ct_lungs import AIR_HU, find_lungs, lung_plane

FACTS: Final = engine_facts("threshold")
NAMES: Final[Mapping[int, str]] = MappingProxyType(FACTS.tasks["tissue"].labels)
BONE, FAT, SOFT, GAS, LUNG_LEFT, LUNG_RIGHT = NAMES

FAT_HU: Final = (-190, -30)
BYTES_A_COARSE_VOXEL: Final = 64
"""What questions of shape take by voxel of the coarse copy, as measured: 62 where all voxels are of 3 mm."""


class Threshold:
    """The engine `threshold` with its one task, `tissue`."""

    @property
    def info(self) -> EngineInfo:
        """Name and version; it has no weights."""
        return EngineInfo(name=FACTS.name, version=FACTS.version, weights=FACTS.weights)

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        """Its `info`: it needs nothing."""
        return self.info

    def segment(self, work: Work) -> Segmented:
        """Segment one CT in Hounsfield units; `fast` changes nothing, it is fast already.

        Raises
        ------
        BadInput
            The values are no Hounsfield units, or the image is too large for this machine.
        ComeBackLater
        """
        _check_memory(work.image)
        ras, orientation = to_ras(work.image)
        hu = _hounsfield(ras.values)
        coarse = coarsen(hu, ras.spacing_mm)
        body = find_body(coarse)
        work.on_progress(0.1, "lungs")
        left, right = find_lungs(body)
        work.on_progress(0.2, "soft tissue")
        labels = np.zeros(hu.shape, np.uint8, order="F")  # axial planes in one piece, as NIfTI has them
        for level in range(hu.shape[2]):
            plane = hu[:, :, level]
            labels[:, :, level] = _tissues(plane, body.plane(plane, level))
        work.on_progress(0.3, "bone")
        bone = find_bone(
            hu, labels, body, ras.spacing_mm, lambda share: work.on_progress(0.3 + 0.65 * share, "bone")
        )
        labels[bone] = BONE
        for lung, value in ((left, LUNG_LEFT), (right, LUNG_RIGHT)):
            if lung.any():
                _label_lung(labels, lung, value, hu, body)
        work.on_progress(1.0, "done")
        return Segmented(from_ras(labels, orientation), NAMES)


def _check_memory(image: Image) -> None:
    """Refuse an image that memory does not do for: where voxels are of 3 mm, the coarse copy is as large."""
    shape, factors = image.values.shape, coarse_factors(image.spacing_mm)
    coarse_voxels = math.prod(-(-count // factor) for count, factor in zip(shape, factors, strict=True))
    in_memory = image.values.nbytes + BYTES_A_COARSE_VOXEL * coarse_voxels
    check_memory(ImageSize(image.values.size, in_memory), FACTS.bytes_a_voxel)


def _label_lung(labels: NDArray[np.uint8], lung: Mask, value: int, hu: NDArray[np.int16], body: Body) -> None:
    for level in range(labels.shape[2]):
        plane = labels[:, :, level]
        found = lung_plane(lung, hu[:, :, level], body, level)
        plane[found & np.isin(plane, (FAT, SOFT, GAS))] = value


def _hounsfield(values: NDArray[Any]) -> NDArray[np.int16]:
    low, high = float(values.min()), float(values.max())
    if low > -200 or high < -1100:
        raise BadInput(
            f"the values run from {low:.0f} to {high:.0f}, which are no Hounsfield units with air around"
        )
    hu = np.empty(values.shape, np.int16, order="F")
    for level in range(values.shape[2]):
        hu[:, :, level] = np.clip(values[:, :, level], -1024, 3071)
    return hu


def _tissues(hu: NDArray[np.int16], body: Mask) -> NDArray[np.uint8]:
    """Fat, soft tissue and gas of one axial plane."""
    air = hu < AIR_HU
    labels = np.where(body, np.uint8(SOFT), np.uint8(0))
    # Beside air a voxel of fat's value is skin, pleura or a bowel's wall that shares its voxel with the air.
    labels[body & (hu >= FAT_HU[0]) & (hu < FAT_HU[1]) & ~ndimage.binary_dilation(air)] = FAT
    labels[body & air] = GAS
    return labels
