"""The test patient: balls at known places in a body, in four positions that a scanner may have.

Each series shows all balls; no flip or turn maps them onto themselves. What is inside is known from the
balls' places in millimetres alone (LPS), whatever encodes or decodes it.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from converter.uids import derived_uid

NAME: Final = "TEST^IRIS^NO PATIENT"
PATIENT_ID: Final = "IRIS-TEST"
SAID: Final = "IRIS TEST - phantom, no patient"
_NUMBER: Final = re.compile(r"IRIS[0-9A-F]{10}")
"""Accession numbers, unless somebody said otherwise."""
AIR_HU: Final = -1000
BODY_HU: Final = 40
BODY_MM: Final = (104.0, 72.0)
"""Half axes of the body across and from front to back; it goes on above and below the images."""
ROWS, COLUMNS, SLICES = 112, 120, 30
"""So many that rules for thin, whole scans take it."""
PIXEL_MM: Final = (1.5, 2.0)
"""Between rows, between columns."""
STEP_MM: Final = 3.0
"""Between slices, along their normal."""
TILT: Final = PIXEL_MM[0] / STEP_MM
"""Tangent of the gantry's tilt: slices are off by a whole row each, so that values between them are exact."""


@dataclass(frozen=True)
class Ball:
    """One ball; `middle_mm` is from the phantom's middle to the left, the back and up (LPS).

    `value` and `name` are those of the engine `threshold`.
    """

    name: str
    value: int
    middle_mm: tuple[float, float, float]
    radius_mm: float
    hu: int
    where: str


MADE_FOR: Final = ("threshold", "tissue")
"""The engine and its task whose labels of the phantom are known beforehand, in every voxel."""
BODY: Final = 3
BALLS: Final = (
    Ball("bone", 1, (-40.0, 22.0, 9.0), 16.0, 1200, "right, back"),
    Ball("adipose_tissue", 2, (45.0, -20.0, -8.0), 21.0, -100, "left, front"),
    Ball("gas", 4, (-30.0, -28.0, -14.0), 13.0, -900, "right, front"),
)
NAMES: Final[Mapping[int, str]] = {**{ball.value: ball.name for ball in BALLS}, BODY: "soft_tissue"}
"""By label value, as the engine `threshold` has them."""


@dataclass(frozen=True)
class Pose:
    """How the slices lie: direction of rows and of columns (LPS), lean of the stack along its columns."""

    name: str
    patient_position: str
    rows_lps: tuple[float, float, float]
    columns_lps: tuple[float, float, float]
    lean: float = 0.0
    """So far each slice is moved along its columns for each millimetre of height."""


def _tilted_columns() -> tuple[float, float, float]:
    """Of a gantry whose top leans away from the feet; the table moves along the body all the same."""
    angle = np.arctan(TILT)
    return (0.0, round(float(np.cos(angle)), 8), -round(float(np.sin(angle)), 8))


def _oblique() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Turned by 20 degrees about the body's axis, then by 12 degrees about the rows."""
    a, b = np.radians(20.0), np.radians(12.0)
    row = (np.cos(a), np.sin(a), 0.0)
    column = (-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b))
    return tuple(np.round(row, 8).tolist()), tuple(np.round(column, 8).tolist())


POSES: Final = (
    Pose("axial", "HFS", (1, 0, 0), (0, 1, 0)),
    Pose("prone", "HFP", (-1, 0, 0), (0, -1, 0)),
    Pose("oblique", "HFS", *_oblique()),
    Pose("tilted", "HFS", (1, 0, 0), _tilted_columns(), lean=-TILT),
)


@dataclass(frozen=True)
class Series:
    """One series of the phantom, from its lowest slice up."""

    pose: Pose
    series_uid: str
    sop_instance_uids: Sequence[str]
    frame_of_reference_uid: str
    files: Sequence[Path]

    @cached_property
    def corners_mm(self) -> NDArray[np.float64]:
        """The centre of each slice's first pixel, LPS."""
        return _corners_mm(self.pose)

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """What is in each pixel, (slices, rows, columns): values of `NAMES`, 0 for none."""
        return labels_at(places_mm(self.pose, self.corners_mm))


@dataclass(frozen=True)
class Phantom:
    """The study in a folder."""

    study_uid: str
    accession_number: str
    patient: str
    """Name and Patient ID."""
    series: Sequence[Series]

    def may_be(self, accession_number: str, study_description: str) -> bool:
        """Whether a study is this one by what it says beside its UID; another run's has its own number."""
        if study_description == SAID and not _NUMBER.fullmatch(accession_number):
            return True
        return accession_number == self.accession_number

    @property
    def files(self) -> list[Path]:
        """All images, series by series."""
        return [path for one in self.series for path in one.files]


def places_mm(pose: Pose, corners_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each pixel is, (slices, rows, columns, 3), LPS (PS3.3 Equation C.7.6.2.1-1)."""
    down = np.arange(ROWS)[:, np.newaxis, np.newaxis] * PIXEL_MM[0] * np.array(pose.columns_lps)
    across = np.arange(COLUMNS)[:, np.newaxis] * PIXEL_MM[1] * np.array(pose.rows_lps)
    return np.asarray(corners_mm[:, np.newaxis, np.newaxis] + down + across)


def labels_at(places: NDArray[np.float64]) -> NDArray[np.uint8]:
    """What is at each place (..., 3), LPS in mm: a value of `NAMES`, 0 for none."""
    in_body = np.linalg.norm(places[..., :2] / np.array(BODY_MM), axis=-1) <= 1
    labels = np.where(in_body, np.uint8(BODY), np.uint8(0))
    for ball in BALLS:
        labels[np.linalg.norm(places - np.array(ball.middle_mm), axis=-1) <= ball.radius_mm] = ball.value
    return labels


def hu_of(labels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The images' values for what is there, in Hounsfield units."""
    table = np.full(256, AIR_HU, np.int16)
    table[BODY] = BODY_HU
    for ball in BALLS:
        table[ball.value] = ball.hu
    return np.asarray(table[labels])


def _corners_mm(pose: Pose) -> NDArray[np.float64]:
    row, column = np.array(pose.rows_lps), np.array(pose.columns_lps)
    normal = np.cross(row, column)
    heights = (np.arange(SLICES) - (SLICES - 1) / 2) * STEP_MM
    corner = -row * PIXEL_MM[1] * (COLUMNS - 1) / 2 - column * PIXEL_MM[0] * (ROWS - 1) / 2
    return np.asarray(np.round(corner + heights[:, np.newaxis] * (normal + pose.lean * column), 6))


def write_phantom(folder: Path, now: datetime, said: Mapping[str, str]) -> Phantom:
    """Write the study, with UIDs that nobody has.

    Parameters
    ----------
    said
        Attributes of the images that a site wants to be otherwise, by keyword: what its routing rule or its
        rule here looks at.

    Raises
    ------
    OSError
    """
    token = secrets.token_hex(16)
    said = {**_patient_and_number(token), **said}
    series = [
        _write_series(folder / pose.name, number, pose, token, now, said)
        for number, pose in enumerate(POSES, start=1)
    ]
    patient = f"{said['PatientName']} ({said['PatientID']})"
    return Phantom(derived_uid(token, "study"), said["AccessionNumber"], patient, series)


def _patient_and_number(token: str) -> dict[str, str]:
    accession_number = f"IRIS{token[:10].upper()}"
    return {"PatientName": NAME, "PatientID": PATIENT_ID, "AccessionNumber": accession_number}


def is_phantom(accession_number: str, study_description: str) -> bool:
    """Whether a study is one of these, of whatever run."""
    return study_description == SAID or _NUMBER.fullmatch(accession_number) is not None


def _write_series(
    folder: Path, number: int, pose: Pose, token: str, now: datetime, said: Mapping[str, str]
) -> Series:
    corners = _corners_mm(pose)
    pixels = hu_of(labels_at(places_mm(pose, corners)))
    stack = SliceStack(pixels, [*pose.rows_lps, *pose.columns_lps], PIXEL_MM, corners.tolist())
    study = MadeUpStudy(
        study_description=SAID,
        series_description=f"{SAID}, {pose.name}"[:64],
        series_number=number,
        patient_position=pose.patient_position,
    )
    files = write_slices(stack, folder, study)
    series_uid, frame_uid = derived_uid(token, "series", pose.name), derived_uid(token, "frame", pose.name)
    uids = []
    for path in files:
        image = dcmread(path)
        image.StudyInstanceUID = derived_uid(token, "study")
        image.SeriesInstanceUID, image.FrameOfReferenceUID = series_uid, frame_uid
        image.SOPInstanceUID = derived_uid(token, "image", pose.name, path.name)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.StudyID = said["AccessionNumber"][:16]
        image.PatientBirthDate, image.Manufacturer = "", "IRIS Gateway test phantom"
        image.ImageType, image.BurnedInAnnotation = ["ORIGINAL", "PRIMARY", "AXIAL"], "NO"
        for kind in ("Study", "Series", "Acquisition", "Content"):
            setattr(image, f"{kind}Date", now.strftime("%Y%m%d"))
            setattr(image, f"{kind}Time", now.strftime("%H%M%S"))
        for keyword, value in said.items():
            setattr(image, keyword, value)
        image.save_as(path, enforce_file_format=True)
        uids.append(str(image.SOPInstanceUID))
    return Series(pose, series_uid, uids, frame_uid, files)
