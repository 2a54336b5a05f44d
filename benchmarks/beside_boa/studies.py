"""The studies: balls at known places in slices of every direction that both sides say they take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from pydicom import Dataset
from pydicom.uid import generate_uid

from benchmarks.geometry.engine import Engine
from benchmarks.geometry.phantoms import Edit, Phantom

ENGINE: Final = Engine(limit=500, bodies=2)
"""What the stand-in for a network marks; both sides run it (`stand_in.py`)."""

_PRONE: Final = (-1, 0, 0, 0, -1, 0)
_TILTED: Final = Phantom(lean=(0.0, 0.27))


def _shuffled(dataset: Dataset, number: int) -> None:
    dataset.InstanceNumber = 1 + (number * 7) % 25


GEOMETRIES: Final[Sequence[tuple[str, Phantom]]] = (
    ("supine", Phantom()),
    ("prone", Phantom(_PRONE, patient_position="HFP")),
    ("feet first", Phantom((-1, 0, 0, 0, 1, 0), patient_position="FFS")),
    ("feet first, prone", Phantom((1, 0, 0, 0, -1, 0), patient_position="FFP")),
    ("decubitus right", Phantom((0, 1, 0, -1, 0, 0), patient_position="HFDR")),
    ("decubitus left, feet first", Phantom((0, 1, 0, 1, 0, 0), patient_position="FFDL")),
    ("oblique", Phantom(turned_degrees=(17.0, -9.0, 31.0))),
    ("gantry tilt", _TILTED),
    ("gantry tilt, prone", replace(_TILTED, orientation_lps=_PRONE, patient_position="HFP")),
    ("unevenly spaced", Phantom(steps_mm=(2.4, 3.2, 4.4, 2.8, 5.0))),
    ("from the top down", Phantom(backwards=True)),
    ("numbered in no order", Phantom(edit=_shuffled)),
)
"""All are CT, ImageType `AXIAL`, more than ten slices, normals within 31 degrees of the long axis: what BOA's
callback and its validation let pass. Sagittal and coronal stacks, which it refuses, are left out."""

How = Literal["once", "sent again", "interleaved", "late slice", "very late slice"]
HOW: Final[Sequence[How]] = (
    "once",
    "once",
    "sent again",
    "interleaved",
    "interleaved",
    "late slice",
    "once",
    "once",
    "sent again",
    "very late slice",
)
"""How one study after the other is sent, again and again; two interleaved ones are sent as one."""


@dataclass(frozen=True)
class Study:
    """One study: its files in the order in which they are sent."""

    name: str
    how: How
    uid: str
    folder: Path
    files: Sequence[Path]

    @property
    def late(self) -> Path:
        """The slice that comes late: in the middle of the stack, or its last one, study by study."""
        return self.files[-1 if int(self.name.split()[0]) % 20 < 10 else len(self.files) // 2]


def made(folder: Path, count: int) -> list[Study]:
    """Write so many studies, each of a patient of its own; the same at every call."""
    studies = []
    for number in range(count):
        title, phantom = GEOMETRIES[number % len(GEOMETRIES)]
        of = folder / f"{number:02}"
        of.mkdir(parents=True)
        uid = _uid(number, "study")
        files = replace(phantom, edit=_as_a_patient(number, phantom.edit)).write(of)
        studies.append(Study(f"{number:02} {title}", HOW[number % len(HOW)], uid, of, files))
    return studies


def _as_a_patient(number: int, also: Edit | None) -> Edit:
    def edit(dataset: Dataset, index: int) -> None:
        dataset.PatientID, dataset.PatientName = f"BESIDE-{number:02}", f"Test^Beside{number:02}"
        dataset.AccessionNumber, dataset.StudyDescription = f"B{number:04}", "Beside the peer"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(number, "study"), _uid(number, "series")
        dataset.FrameOfReferenceUID = _uid(number, "frame")
        dataset.SOPInstanceUID = _uid(number, f"image {index}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        if also is not None:
            also(dataset, index)

    return edit


def _uid(number: int, what: str) -> str:
    return str(generate_uid(entropy_srcs=["beside", str(number), what]))
