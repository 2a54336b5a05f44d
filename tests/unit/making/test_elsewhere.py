"""Earlier results that the ledger does not know: which of those that a destination gives back may be used."""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from batch_job.contract import Flag
from gateway.adapters.dicom.peer import Calls
from gateway.adapters.errors import Away, CalledOff
from gateway.adapters.folder import FolderStore
from gateway.adapters.holdings import Held, Holdings, Sought
from gateway.config import Config
from gateway.delivery.holdings import Looking
from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.comparisons import comparison_of
from gateway.ledger.records import ComparisonRow
from gateway.ledger.states import JobEvent
from gateway.making.encode import Encode

STATISTICS = {"bone": {"volume_ml": 9.0, "mean_intensity": 300.0, "std_intensity": 10.0, "truncated": False}}
VOXELS_ML = 10 * 10 * 3 * 5.0**3 / 1000
"""Of the label map's structure, by its pixels."""
CONFIG: dict[str, Any] = {
    "site": {"issuer_of_patient_id": "HOSPITAL"},
    "destination": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1}],
}
COMPARING = Config(rule=[{"name": "ct", "compare": True}], **CONFIG)


class Again:
    """One segmented job, encoded once; each further encoding chooses anew what it is compared with."""

    def __init__(self, site: Any) -> None:
        self.site = site
        site.encode(site.job())
        self.reports = site.folder / "earlier"
        self.reports.mkdir()
        for output, made in site.objects().items():
            made.save_as(self.reports / f"{output}.dcm")

    def earlier(self, output: str, edit: Callable[[Dataset], object] = lambda _: None) -> Path:
        """The object, as if it were of a study of January 2020, and edited."""
        made = dcmread(self.reports / f"{output}.dcm")
        made.StudyInstanceUID, made.StudyDate = "1.2.77", "20200101"
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.SeriesInstanceUID = generate_uid()
        edit(made)
        path = self.reports / f"{made.SOPInstanceUID}.dcm"
        made.save_as(path)
        return path

    def compared(self, holdings: Holdings, config: Config = COMPARING) -> ComparisonRow:
        site = self.site
        with site.ledger.transaction() as transaction:
            transaction.execute("DELETE FROM comparisons")
            transaction.move_job(site.job().job_key, JobEvent.HEADER_CORRECTED)
        shutil.rmtree(site.folder / "results" / site.job().job_key, ignore_errors=True)
        workplace = Workplace(site.ledger, site.folder)
        results = JobResults(FolderStore(site.folder / "objects"), workplace)
        Encode(site.ledger, workplace, results, config, b"key", {}, {"pacs": holdings})(site.job())
        row = comparison_of(site.ledger, site.job().job_key)
        assert row is not None
        return row

    def said(self) -> list[str]:
        """What the timeline has of destinations."""
        rows = self.site.ledger.read("SELECT detail FROM events WHERE event = 'job.earlier_result_asked'")
        return [row["detail"] for row in rows]


@pytest.fixture
def again(segmented: Any) -> Again:
    return Again(segmented("seg", "sr", config=Config(**CONFIG), statistics=STATISTICS))


def holding(*paths: Path, study_uid: str = "1.2.77", then: Exception | None = None) -> Holdings:
    def held(sought: Sought, folder: Path) -> Generator[Held, None, None]:
        assert (sought.patient_id, sought.issuer_of_patient_id) == ("SMALL-1", "HOSPITAL")
        for path in paths:
            yield Held(study_uid, (path,))
        if then is not None:
            raise then

    return held


def test_report_of_a_destination_is_what_a_result_is_compared_with(again: Again) -> None:
    row = again.compared(holding(again.earlier("sr")))
    assert (row.prior_job_key, row.prior_study_uid, row.prior_date) == (None, "1.2.77", "2020-01-01")
    (change,) = row.changes
    assert (change["then_ml"], change["now_ml"], change["change_ml"]) == (9.0, 9.0, 0.0)
    assert row.prior_object["study_uid"] == "1.2.77"
    assert "holds an earlier result" in again.said()[0]


def test_segmentation_is_measured_by_its_pixels_where_there_is_no_report(again: Again) -> None:
    row = again.compared(holding(again.earlier("seg")))
    assert [(line["then_ml"], line["not_compared"]) for line in row.changes] == [(VOXELS_ML, None)]


def doubtful(header: Dataset) -> None:
    header.ContentDescription = "CHECK: air not minus 1000; tissue (research use only)"


def marked_to_its_end(header: Dataset) -> None:
    header.ContentDescription = "CHECK: truncated, volume out of ra"


def with_options(header: Dataset) -> None:
    for segment in header.SegmentSequence:
        segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters = "fast = true"


REFUSED: dict[str, tuple[str, Callable[[Dataset], object], str]] = {
    "another patient": ("sr", lambda one: setattr(one, "PatientID", "SMALL-2"), "of another patient"),
    "another issuer": ("sr", lambda one: setattr(one, "IssuerOfPatientID", "OTHER"), "of another patient"),
    "another name": (
        "sr",
        lambda one: setattr(one, "PatientName", "Large^Study"),
        "of another name or birth date",
    ),
    "anybody": ("sr", lambda one: setattr(one, "PatientIdentityRemoved", "YES"), "of another patient"),
    "another study": ("sr", lambda one: setattr(one, "StudyInstanceUID", "1.2.78"), "of another patient"),
    "flagged segmentation": ("seg", doubtful, "with quality flags"),
    "mark cut short": ("seg", marked_to_its_end, "with quality flags"),
    "other options": ("seg", with_options, "with other options"),
    "later": ("sr", lambda one: setattr(one, "StudyDate", "20300101"), ""),
    "of another maker": ("sr", lambda one: setattr(one, "Manufacturer", "Other"), ""),
    "damaged": ("sr", lambda one: one.ContentSequence.clear(), ""),
}


def test_object_that_must_not_be_used_is_not(again: Again) -> None:
    for name, (output, edit, why) in REFUSED.items():
        row = again.compared(holding(again.earlier(output, edit)))
        assert row.prior_date is None, name
        there = f"; none that can be used at its destinations either (1 {why})" if why else ""
        assert row.why_none.endswith(there or "of this patient and task here"), (name, row.why_none)


def test_study_whose_report_is_refused_is_not_known_by_its_segmentation(again: Again) -> None:
    other = again.earlier("sr", lambda one: setattr(one, "PatientName", "Large^Study"))
    assert again.compared(holding(other, again.earlier("seg"))).prior_date is None


@pytest.mark.parametrize(("code", "day"), [("truncated", "2020-01-01"), ("volume_out_of_range", None)])
def test_flagged_result_is_used_only_where_the_scan_cuts_a_structure(
    segmented: Any, code: str, day: str | None
) -> None:
    flags = [Flag(code=code, structure="bone", number=1.0, unit="%", sentence="Odd.")]
    again = Again(segmented("seg", "sr", config=Config(**CONFIG), statistics=STATISTICS, flags=flags))
    for output in ("sr", "seg"):
        row = again.compared(holding(again.earlier(output)))
        assert row.prior_date == day
        assert [line["not_compared"] for line in row.changes] == (["cut_now"] if day else [])


@pytest.mark.parametrize("codes", [(), ("volume_out_of_range",)])
def test_result_that_was_sent_without_marks_is_not_used_since_nobody_knows_its_flags(
    segmented: Any, codes: tuple[str, ...]
) -> None:
    flags = [Flag(code=code, structure="bone", number=1.0, unit="%", sentence="Odd.") for code in codes]
    config = Config(rule=[{"name": "ct", "on_flags": "deliver"}], **CONFIG)
    again = Again(segmented("seg", "sr", config=config, statistics=STATISTICS, flags=flags))
    for output in ("sr", "seg"):
        row = again.compared(holding(again.earlier(output)))
        assert row.prior_date is None
        assert row.why_none.endswith("(1 that does not say its quality flags)")


@pytest.mark.parametrize("paths", [0, 1], ids=["at once", "after a study that is of no use"])
def test_destination_that_cannot_be_asked_has_none_and_the_timeline_says_why(
    again: Again, paths: int
) -> None:
    useless = [again.earlier("sr", lambda one: one.ContentSequence.clear())] * paths
    row = again.compared(holding(*useless, then=Away("PACS is away")))
    assert row.why_none.endswith("here; pacs could not be asked for one")
    (said,) = again.said()
    assert "It could not be asked for an earlier result: PACS is away." in said


def test_nothing_is_chosen_where_the_gateway_stops_meanwhile(again: Again) -> None:
    with pytest.raises(CalledOff):
        again.compared(holding(then=CalledOff("over")))
    assert comparison_of(again.site.ledger, again.site.job().job_key) is None


@pytest.mark.peer("orthanc")
def test_earlier_result_that_only_orthanc_has_is_found_there(again: Again, orthanc: Orthanc) -> None:
    def of_another(report: Dataset) -> None:
        report.PatientID, report.StudyInstanceUID, report.StudyDate = "SMALL-2", "1.2.78", "20210101"

    report, segmentation, other = again.earlier("sr"), again.earlier("seg"), again.earlier("sr", of_another)
    looking = Looking(orthanc.peer, "IRIS", Calls())
    assert again.compared(looking).prior_date is None
    assert again.said() == []
    for sent, then_ml in ((segmentation, VOXELS_ML), (report, 9.0)):
        send_files([other, sent], orthanc.peer, "IRIS")
        row = again.compared(looking)
        assert row.prior_date == "2020-01-01"
        assert abs(row.changes[0]["then_ml"] / then_ml - 1) < 0.01
