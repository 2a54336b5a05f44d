"""What a request will take of this machine, reckoned before any work: memory, scratch, time.

The factors were measured with TotalSegmentator 2.18 and nnU-Net 2.6 (the whole family of processes, sampled
while networks of one, five and more parts ran on up to 512 x 512 x 280 voxels) and are rounded up.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batch_job.cgroup import memory
from batch_job.errors import BadInput, ComeBackLater
from batch_job.image import Image

from .plan import Weights

Shape = tuple[int, int, int]

BASE_BYTES: Final = 1_200_000_000
"""Python, torch and nnU-Net."""
BYTES_A_VOXEL: Final = 26
"""For each voxel of the image at the end: the image, the labels and a copy of them, in 64 bits."""
BYTES_A_VOXEL_MEANWHILE: Final = 10
"""The same while networks run: the image alone."""
BYTES_A_LOGIT: Final = 4
"""For each voxel that a network sees and each class."""
BYTES_A_PATCH_LOGIT: Final = 13
"""For each voxel of a patch and each class, where there is no GPU."""
BYTES_A_PATCH_VOXEL: Final = 640
"""Five sets of 32 features in 32 bits: what a full-size network holds at once."""
SCRATCH_BYTES_A_VOXEL: Final = 8
SCRATCH_BYTES: Final = 50_000_000
SMALLEST_SPLIT: Final = 60
"""The thirds overlap by 20 slices on each side: fewer slices than this cannot be cut so."""
OVERLAPPING_TASKS: Final = 0.8
OTHERS: Final = 0.5
"""How far TotalSegmentator moves on from one patch to the next, as a share of a patch."""
CORE_SECONDS_A_MEGAVOXEL: Final = 11.0
"""A full-size network (six stages, 32 to 320 features) on a server's core of 2024."""


@dataclass(frozen=True)
class Demands:
    """What a request takes. How much a network takes that is given a region only is not known before."""

    shape: Shape
    model_shape: Shape
    """The image as the finest of the networks gets it that are given the whole."""
    is_cropped: bool
    """Whether some are given a region only."""
    least_memory_bytes: int
    """Without what depends on a region."""
    scratch_bytes: int
    patch_voxels: int
    """What the networks go over at most, patch by patch, all of them together."""

    @classmethod
    def of(cls, image: Image, weights: Sequence[Weights]) -> "Demands":
        """Reckon what these networks take for an image."""
        voxels = math.prod(image.values.shape)
        whole = [each for each in weights if not each.model.is_cropped]
        finest = max((_resampled(image, each) for each in whole), key=math.prod)
        return cls(
            shape=image.values.shape,
            model_shape=finest,
            is_cropped=len(whole) < len(weights),
            least_memory_bytes=_memory(image, whole),
            scratch_bytes=SCRATCH_BYTES + SCRATCH_BYTES_A_VOXEL * math.prod(finest) + 2 * voxels,
            patch_voxels=sum(_patch_voxels(_resampled(image, each), each) for each in weights),
        )

    @property
    def can_be_split(self) -> bool:
        """Whether TotalSegmentator can cut the image into three along the patient, which overlap."""
        return not self.is_cropped and self.model_shape[2] >= SMALLEST_SPLIT

    @property
    def sizes(self) -> str:
        """In words."""
        image, model = (" x ".join(map(str, shape)) for shape in (self.shape, self.model_shape))
        return f"an image of {image} voxels ({model} for the networks)"


def check_room(demands: Demands, scratch: Path) -> None:
    """Look whether this machine has what is needed.

    Raises
    ------
    BadInput
        It never has the memory.
    ComeBackLater
        It has not now.
    """
    there = memory()
    needed = demands.least_memory_bytes
    if there.total is not None and needed > there.total:
        raise BadInput(
            f"{demands.sizes} needs about {_gb(needed)} of memory, and this machine has {_gb(there.total)}; "
            "use a larger one, or a task or option with coarser networks"
        )
    if there.free is not None and needed > there.free:
        raise ComeBackLater(
            f"{demands.sizes} needs about {_gb(needed)} of memory, and {_gb(there.free)} are free; "
            "run fewer jobs at once"
        )
    room = shutil.disk_usage(scratch).free
    if demands.scratch_bytes > room:
        raise ComeBackLater(
            f"{demands.sizes} needs {_gb(demands.scratch_bytes)} of scratch, and {_gb(room)} are free"
        )


def on_cpu(demands: Demands, cores: int) -> str:
    """The warning that there is no GPU, with how long it will take."""
    minutes = demands.patch_voxels / 1e6 * CORE_SECONDS_A_MEGAVOXEL / cores / 60
    about = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{math.ceil(minutes)} min"
    return f"there is no GPU: on {cores} cores the networks take about {about} where they are full-size"


def _memory(image: Image, weights: Sequence[Weights]) -> int:
    voxels = math.prod(image.values.shape)
    logits = max(math.prod(_resampled(image, each)) * each.classes for each in weights)
    patch = max(
        math.prod(each.patch) * (BYTES_A_PATCH_VOXEL + BYTES_A_PATCH_LOGIT * each.classes) for each in weights
    )
    meanwhile = BYTES_A_VOXEL_MEANWHILE * voxels + patch + BYTES_A_LOGIT * logits
    return BASE_BYTES + max(BYTES_A_VOXEL * voxels, meanwhile)


def _resampled(image: Image, weights: Weights) -> Shape:
    """The image's shape when a network gets it; its own where TotalSegmentator leaves it as it is."""
    x, y, z = image.values.shape
    spacing_mm = weights.model.spacing_mm
    if spacing_mm is None:
        return x, y, z
    sizes = zip(image.values.shape, image.spacing_mm, spacing_mm, strict=True)
    x, y, z = (max(1, round(count * mm / target_mm)) for count, mm, target_mm in sizes)
    return x, y, z


def _patch_voxels(shape: Shape, weights: Weights) -> int:
    step = OVERLAPPING_TASKS if "Total" in weights.model.name else OTHERS
    patches = 1
    for size, patch in zip(reversed(shape), weights.patch, strict=True):
        patches *= 1 + max(0, math.ceil((size - patch) / (patch * step)))
    return patches * math.prod(weights.patch) * weights.folds


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
