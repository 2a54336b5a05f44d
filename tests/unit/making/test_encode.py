"""The step encode: every output that a job was planned with, recorded as one set or not at all."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from batch_job.contract import LABELS_NAME, MANIFEST_NAME, EngineInfo, Manifest, OutputFile
from converter.nifti import convert_volume
from converter.results.header import is_our_own
from converter.series import read_series
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import JobRow
from gateway.ledger.results import current_objects
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of
from gateway.making import makers
from gateway.making.encode import Encode
from gateway.making.naming import series_numbers
from gateway.workers.attempts import CannotGoOn
from tests.note_output import NOTE

JOB_KEY = "b" * 64


@dataclass
class Segmented:
    """A ledger with one segmented job, its label map in its job folder, and the step."""

    ledger: Ledger
    encode: Encode
    folder: Path

    def job(self) -> JobRow:
        job = job_of(self.ledger, JOB_KEY)
        assert job is not None
        return job

    def objects(self) -> dict[str, Dataset]:
        """What the ledger has of the job, as it lies on the disk."""
        found = {}
        for row in current_objects(self.ledger, JOB_KEY):
            content = (self.folder / row.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == row.sha256
            found[row.output] = dcmread(self.folder / row.path)
            assert found[row.output].SOPInstanceUID == row.sop_instance_uid
        return found


@pytest.fixture
def segmented(tmp_path: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes it, with these outputs; the catalogue knows `note` beside its own."""
    monkeypatch.setattr(makers, "OUTPUTS", {**OUTPUTS, "note": NOTE})
    with Ledger(tmp_path / "ledger.sqlite") as ledger:

        def make(*outputs: str, found: bool = True) -> Segmented:
            store = FolderStore(tmp_path / "objects")
            _fill(ledger, small_study, outputs)
            _put_result(store, small_study, tmp_path, found=found)
            workplace = Workplace(ledger, tmp_path)
            step = Encode(ledger, workplace, JobResults(store, workplace), Config(), b"key")
            return Segmented(ledger, step, tmp_path)

        yield make


def _fill(ledger: Ledger, study: Path, outputs: tuple[str, ...]) -> None:
    headers = [(path, dcmread(path, stop_before_pixels=True)) for path in sorted(study.glob("*.dcm"))]
    first = headers[0][1]
    for path, header in headers:
        arrived = ArrivedInstance(
            StudyHeader(first.StudyInstanceUID, "key", "", "", "", ""), first.SeriesInstanceUID,
            header.SOPInstanceUID, header.SOPClassUID, "1.2.840.10008.1.2.1", "CT", 3, "",
            str(path.relative_to(ledger.path.parent)), path.stat().st_size, "h", "p", "g", True, "", "PACS",
        )  # fmt: skip
        with ledger.transaction() as transaction:
            store_instance(transaction, arrived, 1)
    names = tuple(str(header.SOPInstanceUID) for _, header in headers)
    planned = PlannedJob(
        JOB_KEY, first.SeriesInstanceUID, "slot", "ct", "tissue", {}, "threshold", 0, names, (), outputs, "h"
    )
    with ledger.transaction() as transaction:
        complete_study(
            transaction, StudyPlan(first.StudyInstanceUID, len(names), (planned,), ()), evidence=""
        )
    with ledger.transaction() as transaction:
        for event in (JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED):
            transaction.move_job(JOB_KEY, event)
        columns = {"labels_sha256": "d" * 64, "segmented_at": "2026-01-02T03:04:05.000000Z"}
        transaction.move_job(JOB_KEY, JobEvent.SEGMENTED, columns=columns)


def _put_result(store: FolderStore, study: Path, folder: Path, *, found: bool) -> None:
    convert_volume(read_series(study), folder / "image.nii.gz")
    image: Any = nib.load(folder / "image.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    labels[20:30, 20:30, 2:5] = 1 if found else 0
    nib.save(nib.Nifti1Image(labels, image.affine), folder / LABELS_NAME)
    content = (folder / LABELS_NAME).read_bytes()
    output = OutputFile(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    manifest = Manifest(
        job_key=JOB_KEY,
        outputs={LABELS_NAME: output},
        labels={1: "bone"},
        engine=EngineInfo(name="threshold", version="1", weights=""),
        seconds={},
        peak_rss_mb=1,
        attempt=1,
    )
    store.put(job_object(JOB_KEY, LABELS_NAME), folder / LABELS_NAME)
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    store.put(job_object(JOB_KEY, MANIFEST_NAME), folder / MANIFEST_NAME)


def test_encode_of_a_job_with_two_outputs_records_both_as_one_set(segmented: Any) -> None:
    site = segmented("seg", "note")
    site.encode(site.job())
    made = site.objects()
    assert {name: one.Modality for name, one in made.items()} == {"seg": "SEG", "note": "DOC"}
    assert made["note"].EncapsulatedDocument.rstrip(b"\0") == b"bone"
    assert "a note" in site.job().warnings
    assert site.job().state is JobState.ENCODED


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


def test_encode_that_is_repeated_gives_the_same_objects(segmented: Any) -> None:
    site = segmented("seg", "note")
    before = site.job()
    site.encode(before)
    first = {name: one.SOPInstanceUID for name, one in site.objects().items()}
    with site.ledger.transaction() as transaction:  # as if it had been killed before the ledger knew
        transaction.update("jobs", "job_key", JOB_KEY, {"state": JobState.SEGMENTED})
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


@pytest.mark.parametrize("output", ["sr", "hologram"])
def test_encode_of_an_output_that_is_not_made_here_says_so(segmented: Any, output: str) -> None:
    site = segmented("seg", output)
    with pytest.raises(CannotGoOn, match=f"does not make the output {output}"):
        site.encode(site.job())
    assert site.objects() == {}


def test_encode_of_labels_without_anything_makes_nothing(segmented: Any) -> None:
    site = segmented("seg", "note", found=False)
    site.encode(site.job())
    assert site.objects() == {}
    assert site.job().state is JobState.DELIVERED


def test_series_numbers_stay_out_of_each_others_way(segmented: Any) -> None:
    site = segmented("seg", "note")
    assert series_numbers(site.ledger, 9000, site.job()) == {"seg": 9003, "note": 9004}
    assert series_numbers(site.ledger, 0, site.job()) == {"seg": 4, "note": 5}  # 3 is the source's
    gone = site.job().model_copy(update={"job_key": "gone"})
    with pytest.raises(CannotGoOn, match="gone from the ledger"):
        series_numbers(site.ledger, 9000, gone)
