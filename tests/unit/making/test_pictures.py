"""The outputs that are pictures, made of a job."""

from typing import Any

from pydicom import dcmread

from gateway.config import Config
from gateway.ledger.results import current_objects
from tests.unit.making.conftest import JOB_KEY


def test_overlay_of_a_job_is_a_series_of_its_own_with_a_picture_a_slice(segmented: Any) -> None:
    site = segmented("seg", "overlay")
    site.encode(site.job())
    rows = [row for row in current_objects(site.ledger, JOB_KEY) if row.output == "overlay"]
    pictures = [dcmread(site.folder / row.path) for row in rows]
    seg = site.objects()["seg"]
    assert len(pictures) == 8
    assert {picture.SeriesInstanceUID for picture in pictures} != {seg.SeriesInstanceUID}
    assert {picture.SeriesNumber for picture in pictures} == {9004}
    assert pictures[0].SeriesDescription == "Overlay tissue of 3 (research use)"
    assert {picture.StudyInstanceUID for picture in pictures} == {seg.StudyInstanceUID}


def test_overlay_that_is_too_large_is_thinned_as_configured_and_the_job_says_so(segmented: Any) -> None:
    site = segmented("overlay", config=Config(overlay={"max_mb": 1.0, "transfer_syntax": "explicit"}))
    site.encode(site.job())
    assert len(current_objects(site.ledger, JOB_KEY)) < 8
    assert any("overlay.max_mb" in warning for warning in site.job().warnings)
