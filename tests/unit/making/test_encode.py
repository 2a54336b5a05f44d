"""The step encode: every output that a job was planned with, recorded as one set or not at all."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from highdicom import sr
from pydicom import dcmread
from pydicom.sr.codedict import codes

from batch_job.contract import LABELS_NAME, MANIFEST_NAME, STATISTICS_NAME, Flag, Manifest
from converter.measures import Measurement, measure_labels
from converter.results.header import is_our_own
from converter.seg.segments import tracked_subject
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.ledger.instances import current_instances
from gateway.ledger.lost import make_again
from gateway.ledger.results import current_objects, plan_delivery
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState
from gateway.making import encode, makers
from gateway.making.naming import series_numbers
from gateway.workers.attempts import CannotGoOn
from tests.note_output import NOTE

STATISTICS = {
    "bone": {
        "volume_ml": 12.5,
        "mean_intensity": 301.25,
        "std_intensity": 17.5,
        "intensity_unit": "HU",
        "truncated": True,
    }
}


@pytest.fixture(autouse=True)
def _note_is_in_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makers, "OUTPUTS", {**OUTPUTS, "note": NOTE})


def test_encode_of_a_job_with_two_outputs_records_both_as_one_set(segmented: Any) -> None:
    site = segmented("seg", "note")
    site.encode(site.job())
    made = site.objects()
    assert {name: one.Modality for name, one in made.items()} == {"seg": "SEG", "note": "DOC"}
    assert made["note"].EncapsulatedDocument.rstrip(b"\0") == b"bone"
    assert "a note" in site.job().warnings
    assert site.job().state is JobState.ENCODED


def test_encode_of_structures_that_an_engine_names_in_another_script_has_their_names(
    segmented: Any, small_study: Path
) -> None:
    for path in small_study.iterdir():
        image = dcmread(path)
        image.SpecificCharacterSet = "ISO_IR 100"
        image.save_as(path)
    site = segmented("seg", label="脾臓")
    site.encode(site.job())
    (segment,) = site.objects()["seg"].SegmentSequence
    assert segment.SegmentLabel == segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "脾臓"


def test_encode_of_a_structure_whose_codes_the_engine_says_has_them(segmented: Any) -> None:
    site = segmented("seg", label="aerated lung")
    codes = {"category": ["91723000", "Anatomical Structure"], "type": ["39607008", "Lung"], "rgb": [9, 9, 9]}
    labels = (site.folder / LABELS_NAME).read_bytes()
    spoil(site, LABELS_NAME, labels, structures={"aerated lung": codes})
    site.encode(site.job())
    (segment,) = site.objects()["seg"].SegmentSequence
    assert segment.TrackingID == "aerated lung"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "39607008"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "SCT"


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ([{"name": "ct"}], {"new", "kept"}),
        ([{"name": "ct", "send_to": ["new"]}], {"new"}),
        ([{"name": "another"}], {"kept"}),
    ],
    ids=["as the rule says now", "as the changed rule says", "the rule is gone"],
)
def test_result_goes_where_its_rule_sends_it_when_it_is_encoded(
    segmented: Any, rules: list[dict[str, Any]], names: set[str]
) -> None:
    """It was planned for `old`, which was renamed meanwhile, and `kept`."""
    destinations = [{"name": name, "folder": "/srv"} for name in ("new", "kept")]
    site = segmented("seg", "note", config=Config(destination=destinations, rule=rules))
    site.encode(site.job())
    rows = site.ledger.read("SELECT destination FROM deliveries WHERE state = 'pending'")
    assert sorted(row["destination"] for row in rows) == sorted([*names, *names])


@pytest.mark.parametrize("rule", ["ct", "another"], ids=["the rule is there", "the rule is gone"])
def test_output_goes_to_the_destinations_that_want_it(segmented: Any, rule: str) -> None:
    """`old` was renamed since; `kept` wants the note alone, `new` what the rule makes."""
    config = Config(
        destination=[
            {"name": "new", "folder": "/srv"},
            {"name": "kept", "folder": "/srv", "outputs": ["sr", "pdf"]},
        ],
        rule=[{"name": rule, "outputs": ["seg"]}],
    )
    site = segmented("seg", "sr", config=config)
    site.encode(site.job())
    rows = site.ledger.read(
        "SELECT output, destination FROM deliveries JOIN result_objects USING (sop_instance_uid)"
    )
    found = sorted((row["output"], row["destination"]) for row in rows)
    assert found == ([("seg", "new"), ("sr", "kept")] if rule == "ct" else [("sr", "kept")])


def test_objects_of_one_job_share_patient_study_and_maker_and_differ_in_series(segmented: Any) -> None:
    site = segmented("seg", "note")
    site.encode(site.job())
    seg, note = site.objects()["seg"], site.objects()["note"]
    shared = (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "ContentDate",
        "ContentTime",
        "SoftwareVersions",
    )
    assert all(seg[keyword].value == note[keyword].value for keyword in shared)
    assert is_our_own(seg)
    assert is_our_own(note)
    assert (seg.SeriesNumber, note.SeriesNumber) == (9003, 9004)
    assert len({seg.SeriesInstanceUID, note.SeriesInstanceUID, seg.SOPInstanceUID, note.SOPInstanceUID}) == 4


def test_maker_sees_what_was_made_before_it_whatever_the_rule_names_first(segmented: Any) -> None:
    site = segmented("note", "seg")
    seen: dict[str, Any] = {}

    class Looking:
        def make(self, making: Any) -> tuple[()]:
            seen.update(making.written)
            return ()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.note_output.NoteMaker", lambda config: Looking())
        site.encode(site.job())
    assert list(seen) == ["seg"]
    assert seen["seg"][0].sop_instance_uid == site.objects()["seg"].SOPInstanceUID


def test_labels_without_anything_are_a_result_for_an_output_that_says_so(
    segmented: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = {**OUTPUTS, "note": replace(NOTE, says_nothing_found=True)}
    for module in (makers, encode):
        monkeypatch.setattr(module, "OUTPUTS", catalogue)
    site = segmented("seg", "note", found=False)
    site.encode(site.job())
    assert list(site.objects()) == ["note"]
    assert site.job().state is JobState.ENCODED


def test_figures_are_those_that_the_job_measured(segmented: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("tests.note_output.NoteMaker.make", lambda _, making: seen.append(making) or ())
    site = segmented("note", statistics=STATISTICS)
    site.encode(site.job())
    (measured,) = seen[0].labelled.measurements.values()
    assert measured == Measurement(12.5, 301.25, 17.5, "HU", is_truncated=True)


def test_figures_that_the_job_lacks_are_measured_here(
    segmented: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("tests.note_output.NoteMaker.make", lambda _, making: seen.append(making) or ())
    site = segmented("note", statistics={"bone": {"volume_ml": 812.5}})
    site.encode(site.job())
    assert seen[0].labelled.measurements == measure_labels(seen[0].volume, seen[0].labels)


@pytest.mark.parametrize("outputs", [("seg", "sr"), ("sr", "seg")])
def test_report_of_a_job_has_its_figures_and_flags_and_refers_to_its_segmentation(
    segmented: Any, outputs: tuple[str, ...]
) -> None:
    flag = Flag(code="gap", structure="bone", number=1, unit="", sentence="A rib is missing.")
    site = segmented(*outputs, statistics=STATISTICS, flags=[flag])
    site.encode(site.job())
    made = site.objects()
    (group,) = sr.MeasurementReport.from_sequence([made["sr"]]).get_volumetric_roi_measurement_groups()
    assert [each.value for each in group.get_measurements()] == [12.5, 301.25, 17.5]
    said = {each.name.value: each.value.value for each in group.get_qualitative_evaluations()}
    assert (said["TRUNCATED"], said["FLAG"]) == (codes.SCT.Yes.value, "gap")
    assert group.tracking_uid == made["seg"].SegmentSequence[0].TrackingUID
    listed = made["sr"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    evidence = {series.SeriesInstanceUID: series.ReferencedSOPSequence for series in listed}
    assert evidence[made["seg"].SeriesInstanceUID][0].ReferencedSOPInstanceUID == made["seg"].SOPInstanceUID
    assert len(evidence) == 2
    assert made["sr"].SeriesDescription == "CHECK: Measurements IRIS tissue (research) Derived series"


def test_reports_with_other_flags_have_other_uids(segmented: Any) -> None:
    site = segmented("sr", statistics=STATISTICS)
    site.encode(site.job())
    before = site.objects()["sr"].SOPInstanceUID
    manifest = Manifest.from_json((site.folder / MANIFEST_NAME).read_bytes())
    flag = Flag(code="gap", structure="bone", number=1, unit="", sentence="A rib is missing.")
    changed = manifest.model_copy(update={"flags": (flag,)})
    (site.folder / "objects" / "jobs" / site.job().job_key / MANIFEST_NAME).write_bytes(changed.to_json())
    with site.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", site.job().job_key, {"state": JobState.SEGMENTED})
    site.encode(site.job())
    assert site.objects()["sr"].SOPInstanceUID != before


def test_report_where_nothing_was_found_is_the_only_object_and_says_so(segmented: Any) -> None:
    site = segmented("seg", "sr", "rtstruct", found=False)
    site.encode(site.job())
    assert list(site.objects()) == ["sr"]
    assert "No structure was found" in str(site.objects()["sr"])
    assert site.job().state is JobState.ENCODED
    assert site.job().warnings[-1] == "nothing was found: seg, rtstruct are not made"


def test_even_grid_stands_beside_the_segmentation_of_uneven_slices_and_the_report_refers_to_that(
    segmented: Any, small_study: Path
) -> None:
    path = sorted(small_study.glob("*.dcm"))[-1]
    last = dcmread(path)
    last.ImagePositionPatient[2] += 3
    last.save_as(path)
    site = segmented("seg", "sr", config=Config(seg={"even_grid": True}))
    site.encode(site.job())
    rows = current_objects(site.ledger, site.job().job_key)
    made = [dcmread(site.folder / row.path) for row in rows if row.output == "seg"]
    even, plain = sorted(made, key=lambda each: str(each.ContentDescription))
    assert even.ContentDescription.startswith("Even grid: ")
    assert even.SeriesDescription.startswith("Even grid IRIS tissue")
    assert plain.ContentDescription.startswith("Uneven slices, not for Slicer: ")
    assert [warning for warning in site.job().warnings if "3D Slicer" in warning]
    report = site.objects()["sr"]
    assert len({report.SeriesNumber, even.SeriesNumber, plain.SeriesNumber}) == 3
    assert even.SeriesInstanceUID != plain.SeriesInstanceUID
    assert str(plain.SOPInstanceUID) in str(report)
    assert str(even.SOPInstanceUID) not in str(report)


def test_encode_that_is_repeated_gives_the_same_objects(segmented: Any) -> None:
    site = segmented("seg", "note")
    before = site.job()
    site.encode(before)
    first = {name: one.SOPInstanceUID for name, one in site.objects().items()}
    with site.ledger.transaction() as transaction:  # as if it had been killed before the ledger knew
        transaction.update("jobs", "job_key", before.job_key, {"state": JobState.SEGMENTED})
    site.encode(before)
    assert {name: one.SOPInstanceUID for name, one in site.objects().items()} == first


def test_encode_where_one_maker_fails_records_nothing(
    segmented: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = segmented("seg", "note")

    def fail(*_: Any) -> None:
        raise CannotGoOn("no ink")

    monkeypatch.setattr("tests.note_output.NoteMaker.make", fail)
    with pytest.raises(CannotGoOn, match="no ink"):
        site.encode(site.job())
    assert site.objects() == {}
    assert site.job().state is JobState.SEGMENTED


def test_encode_of_an_output_that_is_not_made_here_says_so(segmented: Any) -> None:
    site = segmented("seg", "hologram")
    with pytest.raises(CannotGoOn, match="does not make the output hologram"):
        site.encode(site.job())
    assert site.objects() == {}


def test_encode_of_labels_without_anything_makes_nothing(segmented: Any) -> None:
    site = segmented("seg", "note", found=False)
    site.encode(site.job())
    assert site.objects() == {}
    assert site.job().state is JobState.DELIVERED


def test_series_numbers_stay_out_of_each_others_way(segmented: Any) -> None:
    site = segmented("seg", "note")
    assert series_numbers(site.ledger, 9000, site.job(), 0) == {"seg": 9003, "note": 9004}
    assert series_numbers(site.ledger, 0, site.job(), 0) == {"seg": 4, "note": 5}  # 3 is the source's
    gone = site.job().model_copy(update={"job_key": "gone"})
    with pytest.raises(CannotGoOn, match="gone from the ledger"):
        series_numbers(site.ledger, 9000, gone, 0)


@pytest.mark.parametrize("name", [MANIFEST_NAME, LABELS_NAME])
def test_result_of_a_run_that_is_gone_or_damaged_is_made_by_another_run(segmented: Any, name: str) -> None:
    site = segmented("seg")
    path = site.folder / "objects" / "jobs" / site.job().job_key / name
    content = path.read_bytes()
    for damaged in (None, content[: len(content) // 2]):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        site.encode(site.job())
        assert site.job().state is JobState.PLANNED
        assert site.job().reason.endswith(": it is made again")
        with site.ledger.transaction() as transaction:
            transaction.move_job(site.job().job_key, JobEvent.SEGMENTED)
    path.write_bytes(content)
    site.encode(site.job())
    assert site.job().state is JobState.ENCODED


def spoil(site: Any, name: str, content: bytes, **fields: Any) -> None:
    """Put something else into the job folder as if the engine had left it, its digest right; taken so."""
    folder = site.folder / "objects" / "jobs" / site.job().job_key
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    manifest["outputs"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest | fields))
    with site.ledger.transaction() as transaction:
        columns = {"labels_sha256": manifest["outputs"][LABELS_NAME]["sha256"]}
        transaction.update("jobs", "job_key", site.job().job_key, columns)


def off_grid(site: Any) -> bytes:
    """The labels, a voxel too many on each side."""
    labels: Any = nib.load(site.folder / LABELS_NAME)
    nib.save(nib.Nifti1Image(np.pad(labels.get_fdata(), 1), labels.affine), site.folder / "off.nii.gz")
    return Path(site.folder / "off.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "fields", "said"),
    [
        (LABELS_NAME, b"no labels", {}, "no NIfTI image"),
        (LABELS_NAME, off_grid, {}, "not on the grid"),
        (STATISTICS_NAME, b"[]", {}, "statistics are not as the contract says"),
        ("other.txt", b"", {"labels": {"7": "bone"}}, "has no name for 1"),
        ("other.txt", b"", {"job_key": "other"}, "belongs to another job"),
    ],
    ids=["no labels", "another grid", "no statistics", "labels without a name", "of another job"],
)
def test_result_of_a_run_that_is_none_fails_the_job_and_the_next_try_is_another_run(
    segmented: Any, name: str, content: Any, fields: dict[str, Any], said: str
) -> None:
    site = segmented("seg", "sr", statistics=STATISTICS)
    spoil(site, name, content(site) if callable(content) else content, **fields)
    with pytest.raises(CannotGoOn, match=rf"{said}.*\(retried, it is run anew\)"):
        site.encode(site.job())
    assert not current_objects(site.ledger, site.job().job_key)
    site.encode(site.job())
    assert site.job().state is JobState.PLANNED


def test_labels_that_are_others_than_those_that_were_taken_are_taken_anew(segmented: Any) -> None:
    site = segmented("seg")
    taken = site.job().labels_sha256
    spoil(site, LABELS_NAME, off_grid(site))
    with site.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", site.job().job_key, {"labels_sha256": taken})
    site.encode(site.job())
    assert site.job().state is JobState.PLANNED
    assert "not those any more" in site.job().reason


def test_dates_of_a_result_are_the_sites_and_its_maker_has_a_number_of_the_site(segmented: Any) -> None:
    """It was segmented at 03:04 UTC on 2026-01-02, which is noon in Tokyo."""
    config = Config(site={"name": "north", "time_zone": "Asia/Tokyo"})
    site = segmented("seg", "note", config=config)
    site.encode(site.job())
    for one in site.objects().values():
        assert (one.ContentDate, one.ContentTime[:4]) == ("20260102", "1204")
        assert re.fullmatch("[0-9a-f]{16}", one.DeviceSerialNumber)
        assert "research use only" in one.ContributingEquipmentSequence[-1].ContributionDescription


def test_tracking_uids_follow_the_patient_where_the_site_names_who_issued_the_id(segmented: Any) -> None:
    site = segmented("seg", config=Config(site={"issuer_of_patient_id": "HOSPITAL"}))
    site.encode(site.job())
    (of_patient,) = site.objects()["seg"].SegmentSequence
    volume = site.encode._workplace.volume(site.job())
    assert tracked_subject(volume, "HOSPITAL")[:2] == ("patient", "HOSPITAL")
    assert tracked_subject(volume)[0] == "study"
    assert of_patient.TrackingID == "bone"


def test_objects_that_are_lost_are_the_same_again_where_one_destination_has_them(segmented: Any) -> None:
    destinations = [{"name": name, "folder": "/nowhere"} for name in ("pacs", "archive")]
    site = segmented("seg", "note", config=Config(destination=destinations))
    site.encode(site.job())
    first = {each.SOPInstanceUID for each in site.objects().values()}
    with site.ledger.transaction() as transaction:
        keys = transaction.execute("SELECT key FROM deliveries WHERE destination = 'pacs'").fetchall()
        for (key,) in keys:
            transaction.move_delivery(key, DeliveryEvent.SENT)
        make_again(transaction, site.job(), "an object is gone")
    site.encode(site.job())
    assert {each.SOPInstanceUID for each in site.objects().values()} == first
    rows = site.ledger.read("SELECT destination, state FROM deliveries ORDER BY destination")
    assert [tuple(row) for row in rows] == [("archive", "pending")] * 2 + [("pacs", "sent")] * 2


def test_later_revision_has_a_series_number_of_its_own(segmented: Any) -> None:
    site = segmented("seg", "note")
    site.encode(site.job())
    first = site.objects()["seg"]
    with site.ledger.transaction() as transaction:
        plan_delivery(transaction, site.job(), first.SOPInstanceUID, "pacs")
        (key,) = transaction.execute("SELECT key FROM deliveries").fetchone()
        transaction.move_delivery(key, DeliveryEvent.SENT)
        transaction.update("jobs", "job_key", site.job().job_key, {"header_sha256": "corrected"})
    if site.job().state is not JobState.SEGMENTED:
        with site.ledger.transaction() as transaction:
            transaction.move_job(site.job().job_key, JobEvent.HEADER_CORRECTED)
    for image in current_instances(site.ledger, site.job().study_uid):
        corrected = dcmread(site.folder / image.path)
        corrected.PatientName = str(corrected.PatientName).swapcase()
        corrected.save_as(site.folder / image.path)
    site.encode(site.job())
    second = site.objects()["seg"]
    assert (first.SeriesNumber, second.SeriesNumber) == (9003, 10003)
    assert second.SeriesDescription.endswith("rev 2")
    left = {path.stem for path in (site.folder / "results").rglob("*.dcm")}
    assert left == {row["sop_instance_uid"] for row in site.ledger.read("SELECT * FROM result_objects")}
