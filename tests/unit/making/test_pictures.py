"""The outputs that are pictures, made of a job."""

from dataclasses import replace
from typing import Any

import pytest
from pydicom import dcmread

from batch_job.contract import Flag
from gateway.config import Config
from gateway.ledger.results import current_objects
from gateway.making.makers.summary import SummaryMaker
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
    assert pictures[0].SeriesDescription == "Overlay IRIS tissue (research) Derived series"
    assert {picture.StudyInstanceUID for picture in pictures} == {seg.StudyInstanceUID}


def test_overlay_that_is_too_large_is_thinned_as_configured_and_the_job_says_so(segmented: Any) -> None:
    site = segmented("overlay", config=Config(overlay={"max_mb": 1.0, "transfer_syntax": "explicit"}))
    site.encode(site.job())
    assert len(current_objects(site.ledger, JOB_KEY)) < 8
    assert any("overlay.max_mb" in warning for warning in site.job().warnings)


def test_summary_and_pdf_of_a_job_are_series_of_their_own_with_its_flags(segmented: Any) -> None:
    flag = Flag(code="wide_spacing", structure=None, number=6.0, unit="mm", sentence="slices are 6 mm apart")
    site = segmented("seg", "summary", "pdf", flags=[flag])
    site.encode(site.job())
    made = site.objects()
    assert {name: one.Modality for name, one in made.items()} == {"seg": "SEG", "summary": "OT", "pdf": "DOC"}
    assert len({one.SeriesInstanceUID for one in made.values()}) == 3
    assert {one.SeriesNumber for one in made.values()} == {9003, 9004, 9005}
    assert made["summary"].SeriesDescription == "CHECK: Summary IRIS tissue (research) Derived series"
    assert made["pdf"].SeriesDescription == "CHECK: Report IRIS tissue (research) Derived series"


def test_summary_of_other_flags_is_another_object(segmented: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    makings: list[Any] = []
    make = SummaryMaker.make
    monkeypatch.setattr(
        SummaryMaker, "make", lambda self, making: makings.append(making) or make(self, making)
    )
    flag = Flag(code="wide_spacing", structure=None, number=6.0, unit="mm", sentence="slices are 6 mm apart")
    site = segmented("summary", flags=[flag])
    site.encode(site.job())
    first = site.objects()["summary"].SOPInstanceUID
    (made,) = make(SummaryMaker(Config()), replace(makings[0], flags=()))
    assert made.sop_instance_uid != first


def test_summary_of_a_job_that_found_nothing_says_so(segmented: Any) -> None:
    site = segmented("seg", "overlay", "summary", "pdf", found=False)
    site.encode(site.job())
    assert set(site.objects()) == {"summary", "pdf"}
