"""The engine `container`: a program or a container image of one's own, which finds what it finds.

It gets `input.nii.gz` and an empty folder, and leaves `labels.nii.gz` and `labels.csv` there (`label_table`).
A line `progress 0.4 what it does` on its standard output says how far it is; what else it says goes to
standard error. How it ends says what it was: 0 done, 2 an image that it cannot use, 75 come back later, 78
not set up, 137 no memory; whatever else, a defect.
"""

import gzip
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from batch_job.catalogue.label_table import read_label_table
from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_NOT_SET_UP,
    EXIT_TRANSIENT,
    ContractError,
    EngineInfo,
    EngineSettings,
    ModelError,
    engine_facts,
    recorded_facts,
)
from batch_job.errors import BadInput, ComeBackLater, NotSetUp, WrongResult
from batch_job.image import Image
from batch_job.resources import check_disk

from . import Segmented, Work
from .container_call import Call, call_of, check_call

FACTS: Final = recorded_facts("container")
LABELS: Final = "labels.nii.gz"
TABLE: Final = "labels.csv"
KILLED: Final = 137
GRID_TOLERANCE_MM: Final = 1e-2
_PROGRESS: Final = re.compile(r"progress +(0(?:\.\d+)?|1(?:\.0+)?)(?: +(.{1,40}))?\s*")


class Container:
    """The engine, for what `engine.command` or `engine.image` names."""

    @property
    def info(self) -> EngineInfo:
        """The version that is set, else the engine's own, and how the program is called."""
        version = EngineSettings.from_environment().version or FACTS.version
        return EngineInfo(name=FACTS.name, version=version, weights=engine_facts(FACTS.name).weights)

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        """Look whether program or image are there; its `info`.

        Raises
        ------
        NotSetUp
        """
        try:
            info = self.info
        except ModelError as error:
            raise NotSetUp(f"engine.{error}") from None
        check_call(EngineSettings.from_environment())
        return info

    def segment(self, work: Work) -> Segmented:
        """Let it segment one image.

        Raises
        ------
        BadInput, ComeBackLater, NotSetUp, MemoryError
            As the program says by how it ends.
        WrongResult
            It left no label map of the image, or no table of its names.
        """
        try:
            return self._segmented(work)
        except WrongResult:
            # A program says as it likes, or not at all, that it found no room for its files.
            check_disk(work.source.stat().st_size, work.scratch)
            raise

    def _segmented(self, work: Work) -> Segmented:
        kept = [work.checkpoints.get(name) for name in (LABELS, TABLE)]
        labels_file, table_file = kept
        notes = []
        if labels_file is None or table_file is None:
            labels_file, table_file = _left_by_the_program(work)
            notes = _keep(work, labels_file, table_file)
        try:
            table = read_label_table(table_file)
        except ContractError as error:
            raise WrongResult(f"the program's {error}") from None
        labels = _on_the_grid(labels_file, work.image)
        work.on_progress(1.0, "done")
        return Segmented(labels, table.names, notes=tuple(notes), codes=table.codes)


def _left_by_the_program(work: Work) -> tuple[Path, Path]:
    given, left = work.scratch / "input", work.scratch / "output"
    given.mkdir()
    left.mkdir()
    left.chmod(0o777)  # an image may run as any user; no other user of this machine reaches the scratch
    _give(work.source, given / "input.nii.gz")
    work.on_progress(0.0, "started")
    with call_of(EngineSettings.from_environment(), given / "input.nii.gz", left) as call:
        code = _follow(call, work.on_progress)
    if code:
        raise _meaning_of(code)
    found = left / LABELS, left / TABLE
    for path in found:
        # A link may lead out of the container, to what of this machine the program must not see or keep.
        if path.is_symlink() or not path.is_file():
            raise WrongResult(f"the program ended well and left no {path.name}")
    return found


def _give(source: Path, target: Path) -> None:
    """The image as the program gets it: a copy, which it may change."""
    if source.name.endswith(".gz"):
        shutil.copyfile(source, target)
        return
    with source.open("rb") as reading, gzip.open(target, "wb", compresslevel=1) as writing:
        shutil.copyfileobj(reading, writing)


def _follow(call: Call, on_progress: Callable[[float, str], None]) -> int:
    """Read what it says until it ends; its exit code."""
    told = 0.0
    for line in call.lines:
        said = _PROGRESS.fullmatch(line)
        if said is None:
            sys.stderr.write(line)
            continue
        told = max(told, float(said[1]))
        on_progress(told, said[2] or "program")
    return call.wait()


def _meaning_of(code: int) -> Exception:
    said = f"the program ended with {code}; what it says stands above in the job's log"
    match code:
        case _ if code == EXIT_BAD_INPUT:
            return BadInput(f"the image is of no use to the program; {said}")
        case _ if code == EXIT_TRANSIENT:
            return ComeBackLater(said)
        case _ if code in (EXIT_NOT_SET_UP, 125, 126, 127):  # the last three: it could not be started
            return NotSetUp(f"the program is not set up; {said}")
        case _ if code in (KILLED, -9):
            return MemoryError()
        case _:
            return WrongResult(said)


def _on_the_grid(path: Path, image: Image) -> NDArray[np.uint8]:
    """Its label map in the order of the image's axes, which it may have turned and not moved."""
    another = WrongResult(f"the program's {path.name} lies on another grid than its image; resample it there")
    try:
        written: Any = nib.load(path, mmap=False)
        if sorted(written.shape) != sorted(image.values.shape):  # before that many voxels are unpacked
            raise another
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(written.affine), nib.orientations.io_orientation(image.affine)
        )
        written = written.as_reoriented(turn)
        values = np.asanyarray(written.dataobj)
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError):
        raise WrongResult(f"the program's {path.name} is no NIfTI file of three dimensions") from None
    if values.shape != image.values.shape or not np.allclose(
        written.affine, image.affine, rtol=0, atol=GRID_TOLERANCE_MM
    ):
        raise another
    labels = np.asfortranarray(values, np.uint8) if _are_labels(values) else None
    if labels is None:
        raise WrongResult(f"the program's {path.name} has values that are no labels from 0 to 255")
    return labels


def _are_labels(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iuf" and all(
        plane.min() >= 0 and plane.max() <= 255 and bool((plane == plane.astype(np.uint8)).all())
        for plane in np.moveaxis(values, -1, 0)
    )


def _keep(work: Work, *paths: Path) -> list[str]:
    """Keep both files for a next attempt; what there is to say where that failed."""
    try:
        for path in paths:
            work.checkpoints.put(path.name, path)
    except (OSError, ComeBackLater):
        return ["the labels could not be kept for a next attempt"]
    return []
