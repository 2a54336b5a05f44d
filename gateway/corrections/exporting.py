"""A correction as a folder of files for training: image, our labels, the corrected ones, and what they mean.

Nothing of a patient's header goes into it, nor a text that a person typed: names are the engine's own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from converter.edited.origin import read_origin
from converter.nifti.conversion import convert_volume
from converter.nifti.file import write_labels
from converter.voxels.geometry import frames_on_grid
from converter.voxels.grid import grid_of
from converter.voxels.grid import source_of as images_of
from gateway.adapters.durable import make_folder, remove_folder, sync_folder, write_durably
from gateway.files.workplace import Workplace
from gateway.ledger.corrections import source_results
from gateway.ledger.instances import current_instance
from gateway.ledger.records import CorrectionRow
from gateway.ledger.store import Ledger
from gateway.workers.attempts import CannotGoOn

from .comparing import Comparison, compare_with_ours
from .linking import Source, source_of

CONTRACT: Final = 1
IMAGE_NAME: Final = "image.nii.gz"
LABELS_NAME: Final = "labels.nii.gz"
CORRECTED_NAME: Final = "corrected.nii.gz"
DESCRIPTION_NAME: Final = "correction.json"
LARGEST_VALUE: Final = 255


@dataclass(frozen=True)
class Numbers:
    """What numbers the label maps have: by segment number, and by number the name."""

    ours: Mapping[int, int]
    edited: Mapping[int, int]
    names: Mapping[int, str]


def export_correction(row: CorrectionRow, ledger: Ledger, data_dir: Path, folder: Path) -> bool:
    """Write one into a folder of its own below `folder`; False where it is there already.

    The folder takes its name when all is on disk: what was ended in the middle is done anew.

    Raises
    ------
    CannotGoOn, ConverterError
        It cannot be done: images or results are not here any more.
    OSError
    """
    target, part = folder / str(row.key), folder / f".{row.key}.part"
    if target.exists():
        return False
    source, comparison = _compare_again(row, ledger, data_dir)
    numbers = _numbers(comparison)
    if part.exists():
        remove_folder(part)
    make_folder(part)
    convert_volume(images_of(comparison.volume), part / IMAGE_NAME)
    _write_map(comparison.ours.numbers, numbers.ours, comparison, part / LABELS_NAME)
    _write_map(comparison.edited.numbers, numbers.edited, comparison, part / CORRECTED_NAME)
    description = json.dumps(_description(row, source, comparison, numbers), indent=1)
    write_durably(part / DESCRIPTION_NAME, f"{description}\n".encode())
    part.rename(target)
    sync_folder(folder)
    return True


def _compare_again(row: CorrectionRow, ledger: Ledger, data_dir: Path) -> tuple[Source, Comparison]:
    instance = current_instance(ledger, row.sop_instance_uid)
    results = source_results(ledger, row.study_uid)
    job = next((job for job in results.jobs if job.job_key == row.job_key), None)
    if instance is None or instance.removed_at is not None or job is None:
        raise CannotGoOn("it was removed here with the images of its study")
    path = data_dir / instance.path
    source = source_of(job, results.objects, data_dir)
    return source, compare_with_ours(path, read_origin(path), source, Workplace(ledger, data_dir))


def _numbers(comparison: Comparison) -> Numbers:
    """Ours are the engine's own; what is new takes those that are free above them."""
    ours = {one.number: one.label_value or one.number for one in comparison.ours.segments}
    names = {ours[one.number]: one.label for one in comparison.ours.segments}
    edited: dict[int, int] = {}
    added = 0
    for one in comparison.edited.agreements:
        if one.edited_number is None:
            continue
        if one.number is not None:
            edited[one.edited_number] = ours[one.number]
            continue
        added += 1
        value = max(names, default=0) + 1
        if value > LARGEST_VALUE:
            raise CannotGoOn("its label map has no number left for a structure that was added")
        edited[one.edited_number], names[value] = value, f"added_{added}"
    return Numbers(ours, edited, names)


def _write_map(
    segments: NDArray[np.uint8], values: Mapping[int, int], comparison: Comparison, out: Path
) -> None:
    table = np.zeros(LARGEST_VALUE + 1, np.uint8)
    table[list(values)] = list(values.values())
    grid = grid_of(images_of(comparison.volume))
    labels = frames_on_grid(table[segments], comparison.volume, grid.shape, grid.affine_ras)
    write_labels(labels, grid.affine_ras, out)


def _description(
    row: CorrectionRow, source: Source, comparison: Comparison, numbers: Numbers
) -> dict[str, Any]:
    """What the numbers mean and how far both differ; the order of keys is that of the docs."""
    segments = source.origin.segments if source.origin is not None else ()
    structures = []
    for one, both in zip(comparison.structures, comparison.edited.agreements, strict=True):
        is_ours = both.number is not None
        value = numbers.ours[both.number or 0] if is_ours else numbers.edited[both.edited_number or 0]
        measured = {**one.model_dump(exclude={"structure"}), "change_ml": one.change_ml}
        structures.append({"label": value, "structure": numbers.names[value], **measured})
    return {
        "contract": CONTRACT,
        "key": row.key,
        "job_key": row.job_key,
        "task": source.job.task,
        "engine": source.job.engine,
        "engine_version": segments[0].algorithm_version if segments else "",
        "options": source.job.options,
        "evidence": row.evidence,
        "labels": {str(value): name for value, name in sorted(numbers.names.items())},
        "overlapping_pixels": comparison.edited.overlapping,
        "structures": structures,
    }
