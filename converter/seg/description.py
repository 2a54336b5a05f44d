"""What a segmentation says of its content in 64 characters: flags first, and that it is for research."""

from collections.abc import Iterator, Sequence
from typing import Final

from converter.results.settings import MARK
from converter.series import Volume
from converter.voxels.grid import EvenVolume, needs_another_grid

from .settings import SegmentationSettings

LONGEST: Final = 64
"""PS3.5 6.2, value representation LO."""
RESEARCH: Final = "research use only"


def content_description(settings: SegmentationSettings, volume: Volume) -> str:
    """Codes of flags, what places mean for readers that take them for an even grid, the task, its use.

    Where there is no room for all, the task is left out first, then codes; how many is said.
    """
    about = _about_grid(volume)
    ends = (f"{about}{settings.task} ({RESEARCH})", f"{about}{RESEARCH}")
    codes = list(dict.fromkeys(flag.code.replace("_", " ") for flag in settings.flags))
    begins = [f"{MARK} {each}; " for each in _fewer_and_fewer(codes)] if codes else [""]
    return next(said for begin in begins for end in ends if len(said := begin + end) <= LONGEST)


def _fewer_and_fewer(codes: Sequence[str]) -> Iterator[str]:
    yield ", ".join(codes)
    for left in range(1, len(codes)):
        yield f"{', '.join(codes[:-left])} and {left} more"
    yield f"{len(codes)} flag{'' if len(codes) == 1 else 's'}"
    yield "flags"


def _about_grid(volume: Volume) -> str:
    if isinstance(volume, EvenVolume):
        return "Even grid: "
    return "Uneven slices, not for Slicer: " if needs_another_grid(volume) else ""
