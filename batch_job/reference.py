"""The reference case: a made-up torso that every engine can be tried on, wherever it is installed.

It is drawn, so it needs no data and is nobody's; each engine's tasks say in the catalogue what of it they
have to find (`TaskFacts.finds`). It says that an engine works here, and nothing of how well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .contract import EngineInfo, task_facts
from .engines import Engine, NoCheckpoints, Segmented, Work, check_segmented
from .errors import WrongResult
from .image import read_image, read_size
from .resources import check_memory
from .scratch import scratch_folder

SHAPE: Final = (72, 60, 24)
SPACING_MM: Final = 3.0
NOISE: Final = 8.0

Values = Mapping[str, int]
CT_HU: Final[Values] = MappingProxyType(
    {"air": -1000, "fat": -100, "muscle": 50, "bone": 500, "marrow": 180, "lung": -800}
)
OTHER_VALUES: Final[Values] = MappingProxyType(
    {"air": 0, "fat": 900, "muscle": 400, "bone": 60, "marrow": 700, "lung": 30}
)
"""Of a scanner that is no CT; the contrast of an MR with T1 weighting."""


@dataclass(frozen=True)
class Tried:
    """What came of the reference case."""

    info: EngineInfo
    segmented: Segmented

    @property
    def found(self) -> tuple[str, ...]:
        """The names of what was found."""
        values = np.unique(self.segmented.labels)
        return tuple(self.segmented.names[int(value)] for value in values if value)


def write_reference(modality: str, path: Path) -> None:
    """Draw a torso of 216 x 180 x 72 mm as such a scanner sees it; always the same bytes.

    Parameters
    ----------
    path
        Ends with `.nii.gz` or `.nii`. The axes run to the left, back and top, as they do in most CTs.
    """
    values = CT_HU if modality == "CT" else OTHER_VALUES
    drawn = _torso(values) + np.random.default_rng(0).normal(0, NOISE, SHAPE)
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    affine[:2, 3] = [SPACING_MM * (count - 1) / 2 for count in SHAPE[:2]]
    image = nib.Nifti1Image(np.round(drawn).astype(np.int16)[::-1, ::-1], affine)
    image.set_sform(affine, 1)
    nib.save(image, path)


def try_engine(engine: Engine, name: str, task: str, options: Mapping[str, Any], parent: Path) -> Tried:
    """Segment the reference case.

    Parameters
    ----------
    options
        With every default.
    parent
        Where a folder is made for the time that it takes.

    Raises
    ------
    WrongResult
        What came is no label map of that image, or lacks what the task has to find.
    BadInput, NotSetUp, ComeBackLater, MemoryError, OSError
    """
    facts = task_facts(name, task)
    with scratch_folder(parent) as scratch:
        source = scratch / "input.nii.gz"
        write_reference(facts.modality, source)
        check_memory(read_size(source), 0)
        image = read_image(source)
        room = scratch / "engine"
        room.mkdir()
        work = Work(image, source, task, options, room, NoCheckpoints(), lambda share, what: None)
        segmented = engine.segment(work)
    check_segmented(segmented, image)
    tried = Tried(engine.info, segmented)
    if missing := [each for each in facts.finds if each not in tried.found]:
        raise WrongResult(f"{name} does not find {', '.join(missing)} in the reference case; install it anew")
    return tried


def _torso(values: Values) -> NDArray[np.float64]:
    """Voxels in RAS order: skin, fat, muscle, ribs, a vertebra, and two lungs that reach the top."""
    torso = np.full(SHAPE, values["air"], np.float64)
    top = np.arange(SHAPE[2]) >= SHAPE[2] // 3
    for part, middle, half in (
        ("muscle", (35.5, 29), (34, 26)),
        ("fat", (35.5, 29), (33, 25)),
        ("muscle", (35.5, 29), (29, 21)),
        ("bone", (35.5, 14), (7, 6)),
        ("marrow", (35.5, 14), (5, 4)),
        *(("bone", middle, (2, 2)) for middle in ((5, 29), (66, 29), (14, 44), (57, 44))),
    ):
        torso[_ellipse(middle, half)] = values[part]
    for across in (21, 50):
        torso[_ellipse((across, 31), (10, 13))[..., np.newaxis] & top] = values["lung"]
    return torso


def _ellipse(middle: tuple[float, float], half: tuple[float, float]) -> NDArray[np.bool_]:
    """An ellipse in the axial section, in voxels."""
    right, front = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray(((right - middle[0]) / half[0]) ** 2 + ((front - middle[1]) / half[1]) ** 2 <= 1)
