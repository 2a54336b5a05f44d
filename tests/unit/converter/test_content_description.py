"""What a segmentation says of its content: it fits whatever there is to say, and says what it is for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batch_job.contract import FLAG_CODES
from converter.results.settings import QualityFlag
from converter.seg.description import content_description
from converter.seg.encoder import SegmentationSettings
from converter.series import read_series
from converter.voxels.grid import even_volume
from gateway.config.arrival import ARRIVAL_CODES

CODES = (*ARRIVAL_CODES, *FLAG_CODES)
UNEVEN_MM = (0.0, 2.0, 4.0, 5.0, 8.0, 11.0)


@pytest.mark.parametrize("task", ["total", "heartchambers_highres", "x" * 60])
def test_content_of_any_flags_on_any_slices_fits_and_says_that_it_is_for_research(
    make_series: Callable[..., Path], settings: SegmentationSettings, task: str
) -> None:
    uneven = read_series(make_series(UNEVEN_MM))
    for volume, about in ((uneven, "not for Slicer"), (even_volume(uneven), "Even grid"), (None, "")):
        shown = volume or read_series(make_series())
        for number in range(len(CODES) + 1):
            flags = tuple(QualityFlag(code, None, 1.0, "", "") for code in CODES[:number])
            said = content_description(replace(settings, task=task, flags=flags), shown)
            assert len(said) <= 64
            assert about in said
            assert "research use only" in said
            assert said.startswith("CHECK:") is bool(flags)
