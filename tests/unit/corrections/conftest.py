"""A ledger with one result of three structures, its files, and the worker that looks at corrections."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from converter.nifti.file import write_labels
from converter.results.settings import Algorithm
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.seg.settings import Encoding, SegmentationType
from converter.series import Volume, read_series
from converter.terminology import Code
from converter.voxels.geometry import frames_on_grid, labels_on_frames
from converter.voxels.grid import even_volume, grid_of, needs_another_grid
from gateway.corrections.worker import Corrections
from gateway.events import Bus
from gateway.files.workplace import Workplace
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.corrections import corrections_of
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import CorrectionRow
from gateway.ledger.results import Result, ResultObject, record_result
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of

JOB_KEY = "b" * 64
NAMES = {1: "liver", 2: "spleen", 5: "kidney_right"}
LABELS = {1: "Liver", 2: "Spleen", 5: "Kidney, right"}


@dataclass
class Site:
    """What a gateway has of one study, and what it does with segmentations that come in."""

    ledger: Ledger
    folder: Path
    volume: Volume
    labels: np.ndarray
    ours: Path
    worker: Corrections

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Our structures by what they are called in the segmentation, to be edited."""
        return {label: self.labels == value for value, label in LABELS.items()}

    def receive(self, path: Path) -> str:
        """Let it come in; its UID."""
        header = dcmread(path, stop_before_pixels=True)
        place = self.folder / f"{header.SOPInstanceUID}.dcm"
        if path != place:
            shutil.copy(path, place)
        with self.ledger.transaction() as transaction:
            store_instance(transaction, _arrived(place, self.ledger.path.parent, is_slice=False), 7)
        return str(header.SOPInstanceUID)

    def look(self) -> list[CorrectionRow]:
        """Let the worker look; what are corrections of the job's result then, the latest first."""
        self.worker.work()
        return corrections_of(self.ledger, JOB_KEY)

    def make_label_map(self, labels: np.ndarray, out: Path) -> Path:
        """A label map as this software writes it, of another job."""
        encoding = Encoding(SegmentationType.LABELMAP)
        settings = replace(_settings(), sop_instance_uid="2.25.17", series_uid="2.25.18", encoding=encoding)
        return encode_segmentation(self.volume, labels, NAMES, settings, out).path

    def restart(self) -> None:
        """Begin anew, as another process would."""
        self.worker = _worker(self.ledger)

    def waiting(self) -> int:
        return len(self.ledger.read("SELECT 1 FROM corrections WHERE state = 'waiting'"))

    def complete(self, *jobs: PlannedJob) -> None:
        generation = self.ledger.read("SELECT generation FROM studies")[0]["generation"]
        with self.ledger.transaction() as transaction:
            complete_study(
                transaction, StudyPlan(self.volume.study_uid, generation, jobs, ()), evidence="released"
            )


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, ledger and result, made once: each test has a copy."""
    return _made(tmp_path_factory.mktemp("corrections"))


@pytest.fixture
def leaning(tmp_path: Path) -> Iterator[Site]:
    """The same of slices that lean, with a second segmentation on an even grid."""
    folder = _made(tmp_path / "leaning", lean_mm=2.0)
    volume = read_series(folder / "study")
    with Ledger(folder / "ledger.sqlite") as ledger:
        yield Site(
            ledger, folder, volume, _labels(), folder / "results" / JOB_KEY / "2.25.70.dcm", _worker(ledger)
        )


def _made(folder: Path, lean_mm: float = 0.0) -> Path:
    pixels = np.random.default_rng(0).integers(-100, 100, (8, 64, 64)).astype(np.int16)
    positions_mm = [[-157.5, -157.5 + lean_mm * number, 5.0 * number] for number in range(8)]
    stack = SliceStack(
        pixels, orientation_lps=[1, 0, 0, 0, 1, 0], pixel_spacing_mm=(5.0, 5.0), positions_lps_mm=positions_mm
    )
    study = MadeUpStudy(patient_name="Small^Study", patient_id="SMALL-1")
    write_slices(stack, folder / "study", study)
    with Ledger(folder / "ledger.sqlite") as ledger:
        for path in sorted((folder / "study").glob("*.dcm")):
            with ledger.transaction() as transaction:
                store_instance(transaction, _arrived(path, folder, is_slice=True), 1)
        _make_result(ledger, folder, read_series(folder / "study"), _labels())
    return folder


def _labels() -> np.ndarray:
    labels = np.zeros((8, 64, 64), np.uint8)
    labels[1:7, 10:30, 10:30] = 1
    labels[2:6, 35:50, 35:45] = 2
    labels[3:5, 12:20, 40:50] = 5
    return labels


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    shutil.copytree(made, folder)
    with Ledger(folder / "ledger.sqlite") as ledger:
        volume, ours = read_series(folder / "study"), folder / "results" / JOB_KEY / "2.25.7.dcm"
        yield Site(ledger, folder, volume, _labels(), ours, _worker(ledger))


def _worker(ledger: Ledger) -> Corrections:
    return Corrections(ledger, Bus(), Workplace(ledger, ledger.path.parent), lambda uid: f"key of {uid}")


def _arrived(path: Path, data_dir: Path, *, is_slice: bool) -> ArrivedInstance:
    header = dcmread(path, stop_before_pixels=True)
    return ArrivedInstance(
        StudyHeader(header.StudyInstanceUID, "key", "", "", "", ""), header.SeriesInstanceUID,
        header.SOPInstanceUID, header.SOPClassUID, "1.2.840.10008.1.2.1", header.Modality, 3, "",
        str(path.relative_to(data_dir)), path.stat().st_size, "h", "p", "g", is_slice,
        "" if is_slice else "not a CT or MR image", "PACS", may_be_correction=not is_slice,
    )  # fmt: skip


def _settings() -> SegmentationSettings:
    return SegmentationSettings(
        sop_instance_uid="2.25.7", series_uid="2.25.8", series_number=9003, series_description="IRIS",
        made_at=datetime(2026, 1, 2, tzinfo=UTC), task="total",
        algorithm=Algorithm("threshold total", "1", Code("123105", "DCM", "Histogram Analysis")),
    )  # fmt: skip


def _make_result(ledger: Ledger, folder: Path, volume: Volume, labels: np.ndarray) -> None:
    names = tuple(frame.sop_instance_uid for frame in volume.frames)
    planned = PlannedJob(
        JOB_KEY, volume.series_uid, "slot", "ct", "total", {}, "threshold", 0, names, (), ("seg",), "h"
    )
    with ledger.transaction() as transaction:
        complete_study(transaction, StudyPlan(volume.study_uid, len(names), (planned,), ()), evidence="")
        for event in (JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED):
            transaction.move_job(JOB_KEY, event)
        transaction.move_job(JOB_KEY, JobEvent.SEGMENTED, columns={"labels_sha256": "d" * 64})
    made = [_encoded(folder, volume, labels, _settings())]
    if needs_another_grid(volume):
        even, settings = (
            even_volume(volume),
            replace(_settings(), sop_instance_uid="2.25.70", series_uid="2.25.80"),
        )
        made.append(_encoded(folder, even, labels_on_even(folder, volume, labels), settings))
    job = job_of(ledger, JOB_KEY)
    assert job is not None
    with ledger.transaction() as transaction:
        record_result(transaction, job, Result(tuple(made), "h", ()), lambda output: ())


def _encoded(
    folder: Path, volume: Volume, labels: np.ndarray, settings: SegmentationSettings
) -> ResultObject:
    path = folder / "results" / JOB_KEY / f"{settings.sop_instance_uid}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = encode_segmentation(volume, labels, NAMES, settings, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ResultObject(
        "seg", str(path.relative_to(folder)), digest, encoded.sop_class_uid, encoded.sop_instance_uid
    )


def labels_on_even(folder: Path, volume: Volume, labels: np.ndarray) -> np.ndarray:
    """The same labels on the planes of the even grid."""
    grid, path = grid_of(volume), folder / "labels.nii.gz"
    write_labels(frames_on_grid(labels, volume, grid.shape, grid.affine_ras), grid.affine_ras, path)
    return labels_on_frames(path, even_volume(volume))
