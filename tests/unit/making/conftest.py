"""A ledger with one segmented job whose images and label map lie on the disk, and the step encode."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from batch_job.contract import (
    LABELS_NAME,
    MANIFEST_NAME,
    STATISTICS_NAME,
    EngineInfo,
    Flag,
    Manifest,
    OutputFile,
)
from converter.nifti.conversion import convert_volume
from converter.series import read_series
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.config import Config
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import JobRow
from gateway.ledger.results import current_objects
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of
from gateway.making.allotment import Takes
from gateway.making.encode import Encode

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
def segmented(tmp_path: Path, small_study: Path) -> Iterator[Callable[..., Segmented]]:
    """Makes it, with these outputs."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:

        def make(
            *outputs: str,
            found: bool = True,
            config: Config | None = None,
            statistics: Mapping[str, Any] | None = None,
            flags: Sequence[Flag] = (),
            takes: Mapping[str, Takes] | None = None,
            label: str = "bone",
        ) -> Segmented:
            store = FolderStore(tmp_path / "objects")
            found_as = label if found else ""
            manifest = _put_result(store, small_study, tmp_path, statistics, flags, found_as)
            _fill(ledger, small_study, outputs, manifest.outputs[LABELS_NAME].sha256)
            workplace = Workplace(ledger, tmp_path)
            results = JobResults(store, workplace)
            step = Encode(ledger, workplace, results, config or Config(), b"key", takes or {})
            return Segmented(ledger, step, tmp_path)

        yield make


def _fill(ledger: Ledger, study: Path, outputs: tuple[str, ...], labels_sha256: str) -> None:
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
        JOB_KEY, first.SeriesInstanceUID, "slot", "ct", "tissue", {}, "threshold", 0, names, ("old", "kept"),
        outputs, "h",
    )  # fmt: skip
    with ledger.transaction() as transaction:
        complete_study(
            transaction, StudyPlan(first.StudyInstanceUID, len(names), (planned,), ()), evidence=""
        )
    with ledger.transaction() as transaction:
        for event in (JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED):
            transaction.move_job(JOB_KEY, event)
        columns = {"labels_sha256": labels_sha256, "segmented_at": "2026-01-02T03:04:05.000000Z"}
        transaction.move_job(JOB_KEY, JobEvent.SEGMENTED, columns=columns)


def _put_result(
    store: FolderStore,
    study: Path,
    folder: Path,
    statistics: Mapping[str, Any] | None,
    flags: Sequence[Flag],
    found: str,
) -> Manifest:
    convert_volume(read_series(study), folder / "image.nii.gz")
    image: Any = nib.load(folder / "image.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    labels[20:30, 20:30, 2:5] = 1 if found else 0
    nib.save(nib.Nifti1Image(labels, image.affine), folder / LABELS_NAME)
    names = [LABELS_NAME]
    if statistics is not None:
        (folder / STATISTICS_NAME).write_text(json.dumps(statistics))
        names.append(STATISTICS_NAME)
    manifest = Manifest(
        job_key=JOB_KEY,
        outputs={name: _output(folder / name) for name in names},
        labels={1: found or "bone"},
        engine=EngineInfo(name="threshold", version="1", weights=""),
        seconds={},
        peak_rss_mb=1,
        attempt=1,
        flags=tuple(flags),
    )
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    for name in (*names, MANIFEST_NAME):
        store.put(job_object(JOB_KEY, name), folder / name)
    return manifest


def _output(path: Path) -> OutputFile:
    content = path.read_bytes()
    return OutputFile(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
