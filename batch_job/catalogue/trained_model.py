"""A model folder of nnU-Net as it lies on the disk: what it finds, in what, and which weights it has.

Dataset501_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres/
    dataset.json          labels and channels
    plans.json            spacing, patch, how images are read
    fold_0/checkpoint_final.pth, fold_1/...
    labels.csv            not nnU-Net's: other names for its labels, and codes (`label_table`)
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batch_job.refusals import ContractError, ModelError

from . import EngineFacts, StructureCodes, TaskFacts
from .label_table import LabelTable, read_label_table
from .settings import EngineSettings

CHECKPOINT: Final = "checkpoint_final.pth"
TABLE: Final = "labels.csv"
READERS: Final = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")
"""Those of nnU-Net's ways to read images that know where a voxel lies."""
NO_LABELS: Final = ("background", "ignore")
HIGHEST_LABEL: Final = 255


@dataclass(frozen=True)
class TrainedModel:
    """What can be known of a model without loading it."""

    folder: Path
    dataset: str
    """`Dataset501_Liver`."""
    channel: str
    """What its one channel is called."""
    labels: Mapping[int, str]
    codes: Mapping[str, StructureCodes]
    """Of structures by name, where `labels.csv` says some."""
    spacing_mm: tuple[float, ...]
    """Of its networks' voxels, in their order of axes; two numbers where they see slices."""
    patch: tuple[int, ...]
    """The size of what they see at once, in voxels."""
    axes: tuple[int, ...]
    """Which axis of (z, y, x) each of the networks' three is."""
    checkpoints: tuple[Path, ...]
    """One for each fold that is there, in order."""

    @property
    def digest(self) -> str:
        """Tells models apart: of its two files and what its checkpoints say of their parts."""
        digest = hashlib.sha256()
        for path in (self.folder / name for name in ("dataset.json", "plans.json", TABLE)):
            if path.exists():
                digest.update(path.read_bytes())
        for path in self.checkpoints:
            digest.update(path.parent.name.encode() + checkpoint_digest(path))
        return digest.hexdigest()

    @property
    def weights(self) -> str:
        """Dataset and digest, for the manifest and results; fit for a DICOM header."""
        return f"{self.dataset} {self.digest[:12]}"


def read_model(folder: Path) -> TrainedModel:
    """Read a model folder; its checkpoints may lie elsewhere.

    Raises
    ------
    ModelError
        It is no such folder, or a model that the engine cannot run; the text says why.
    """
    dataset, plans = (_record(folder, name) for name in ("dataset.json", "plans.json"))
    try:
        table = _table(folder, _labels(dataset["labels"]))
        configuration = _configuration(plans, folder.name.split("__")[-1])
        channels = dataset.get("channel_names") or dataset["modality"]
        model = TrainedModel(
            folder=folder,
            dataset=str(plans["dataset_name"]),
            channel=str(next(iter(channels.values()))),
            labels=table.names,
            codes=table.codes,
            spacing_mm=tuple(map(float, configuration["spacing"])),
            patch=tuple(map(int, configuration["patch_size"])),
            axes=tuple(map(int, plans["transpose_forward"])),
            checkpoints=tuple(sorted(folder.glob(f"fold_*/{CHECKPOINT}"))),
        )
        reader = plans["image_reader_writer"]
    except (KeyError, TypeError, AttributeError, StopIteration, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"model: {folder} is not as nnU-Net 2 writes it ({error!r})") from None
    if len(channels) != 1:
        raise ModelError(f"model: {folder} wants {len(channels)} images at once; a job has one")
    if configuration.get("previous_stage"):
        raise ModelError(f"model: {folder} is the second stage of a cascade; use one that stands alone")
    if reader not in READERS:
        raise ModelError(f"model: {folder} reads by {reader}, which does not say where a voxel lies")
    return model


def complete(facts: EngineFacts, settings: EngineSettings) -> EngineFacts:
    """The facts with the model's own: its one task, the labels, and which weights it has.

    Raises
    ------
    ModelError
    """
    if not settings.model:
        raise ModelError("model is empty; name the folder that has dataset.json, plans.json and fold_0")
    model = read_model(Path(settings.model))
    modality = settings.modality or ("CT" if model.channel.upper() == "CT" else "")
    if not modality:
        raise ModelError(
            f'modality is empty, and the model\'s channel "{model.channel}" does not say it; set it to "MR"'
        )
    task = settings.task or model.dataset
    own = TaskFacts(modality=modality, labels=dict(model.labels))
    return facts.completed(task, own, weights=model.weights, structures=model.codes)


def checkpoint_digest(path: Path) -> bytes:
    """Tell weights apart by what the archive says of its parts (CRC-32, size); an old one is no archive."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    with zipfile.ZipFile(path) as archive:
        parts = [(part.filename, part.CRC, part.file_size) for part in archive.infolist()]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _record(folder: Path, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / name).read_bytes())
    except OSError:
        way_out = "name the folder that has dataset.json, plans.json and fold_0"
        raise ModelError(f"model: there is no {name} in {folder}; {way_out}") from None
    except ValueError:
        raise ModelError(f"model: {name} in {folder} is no JSON") from None
    return found


def _configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration of the plans, with what it takes from the one that it inherits from.

    Raises
    ------
    ModelError
    """
    if name not in plans["configurations"]:
        there = ", ".join(plans["configurations"])
        raise ModelError(
            f"model: the folder's name must end with a configuration of its plans ({there}), as in"
            " nnUNetTrainer__nnUNetPlans__3d_fullres"
        )
    own = plans["configurations"][name]
    parent = own.get("inherits_from")
    return {**_configuration(plans, parent), **own} if parent else dict(own)


def _table(folder: Path, labels: dict[int, str]) -> LabelTable:
    """The names and codes of the table in the folder; the model's own names where there is none."""
    path = folder / TABLE
    if not path.exists():
        return LabelTable(labels, {})
    try:
        table = read_label_table(path)
    except ContractError as error:
        raise ModelError(f"model: in {folder}: {error}") from None
    if table.names.keys() != labels.keys():
        raise ModelError(f"model: {TABLE} in {folder} names other values than its dataset.json")
    return table


def _labels(said: dict[str, Any]) -> dict[int, str]:
    """Value to name.

    Raises
    ------
    ModelError
        Labels are regions, which overlap, or too many for a label map of 8 bits.
    """
    if any(isinstance(value, list) for value in said.values()):
        raise ModelError("model: its labels are regions that overlap, which no label map can say")
    labels = {int(value): name for name, value in said.items() if name not in NO_LABELS and int(value)}
    if not labels or max(labels) > HIGHEST_LABEL:
        raise ModelError(f"model: its labels must be from 1 to {HIGHEST_LABEL}")
    return dict(sorted(labels.items()))
