"""The benchmark beside BOA: what it sends, and how it counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from benchmarks.beside_boa.counting import counted
from benchmarks.beside_boa.orthancs import Orthanc
from benchmarks.beside_boa.plan import mishaps, sendings
from benchmarks.beside_boa.studies import ENGINE, HOW, Study, made
from benchmarks.geometry.engine import NAMES
from benchmarks.geometry.landing import truths
from benchmarks.geometry.ours import SETTINGS
from converter.seg.encoder import encode_segmentation
from converter.series import read_series


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    return made(tmp_path_factory.mktemp("beside") / "studies", len(HOW))


@pytest.fixture(scope="module")
def segmentation(studies: list[Study], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the first study, as it should be."""
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    volume = read_series(studies[0].folder)
    (truth,) = truths(studies[0].folder, ENGINE)
    by_height = sorted(truth, key=lambda one: one.affine[2, 2])
    encode_segmentation(volume, np.stack([one.labels for one in by_height]), NAMES, SETTINGS, path)
    return path


@dataclass
class Holding:
    """A PACS that has these results."""

    held: list[Path]

    def results(self, _uid: str, _into: Path) -> Iterator[Path]:
        return iter(self.held)


def found(study: Study, held: list[Path], folder: Path) -> str:
    return counted(study, cast(Orthanc, Holding(held)), folder / "fetched").found


def test_plan_sends_every_slice_and_has_twenty_mishaps(studies: list[Study]) -> None:
    planned = sendings(studies)
    sent = [path for each in planned for path in each.files]
    again = [path for study in studies if study.how == "sent again" for path in study.files]
    assert sorted(sent) == sorted([*(path for study in studies for path in study.files), *again])
    assert [each.at_s for each in planned] == sorted(each.at_s for each in planned)
    assert len(mishaps()) == 20


def test_result_that_lies_on_the_bodies_is_right_and_counts_once(
    studies: list[Study], segmentation: Path, tmp_path: Path
) -> None:
    assert found(studies[0], [segmentation], tmp_path) == "right, once"


def test_result_of_other_slices_is_wrong_and_none_is_none(
    studies: list[Study], segmentation: Path, tmp_path: Path
) -> None:
    tilted = studies[7]
    assert found(tilted, [segmentation], tmp_path) == "wrong"
    assert found(tilted, [], tmp_path / "another") == "none"


def test_result_that_is_there_twice_is_not_once_until_one_is_rejected(
    studies: list[Study], segmentation: Path, tmp_path: Path
) -> None:
    assert found(studies[0], [segmentation, segmentation], tmp_path) == "right, more than once"
    note, study, series, instance = Dataset(), Dataset(), Dataset(), Dataset()
    note.SOPClassUID, note.SOPInstanceUID, note.Modality = KeyObjectSelectionDocumentStorage, "2.25.9", "KO"
    instance.ReferencedSOPInstanceUID = SETTINGS.sop_instance_uid
    series.ReferencedSOPSequence, study.ReferencedSeriesSequence = [instance], [series]
    note.CurrentRequestedProcedureEvidenceSequence = [study]
    note.ensure_file_meta()
    note.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    note.save_as(tmp_path / "note.dcm", enforce_file_format=True)
    assert found(studies[0], [segmentation, tmp_path / "note.dcm"], tmp_path / "rejected") == "none"
