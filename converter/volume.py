"""A volume: images of one series that form a stack, and what was found about it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset


class Usability(StrEnum):
    """Whether a stack can be converted at all."""

    USABLE = "usable"
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class Finding:
    """Something noteworthy: a code for programs, a sentence for people, no patient data."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Frame:
    """One image of a stack; `position_lps_mm` is the centre of its top left pixel."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    position_lps_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Volume:
    """One stack of images, sorted along its slice normal (row cosines x column cosines).

    `orientation_lps` holds row cosines and column cosines (PS3.3 C.7.6.2.1.1); `pixel_spacing_mm` the
    distance between rows and the distance between columns (PS3.3 10.7.1.3); `headers` one header for each
    frame, without pixels. `frame_of_reference_uid` is empty where the images name none.
    """

    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    frames: tuple[Frame, ...]
    headers: tuple[Dataset, ...] = field(repr=False)
    orientation_lps: tuple[float, ...]
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    findings: tuple[Finding, ...]
    usability: Usability

    @property
    def header(self) -> Dataset:
        """The first frame's header."""
        return self.headers[0]

    def has_finding(self, code: str) -> bool:
        """Whether a finding of this code was made."""
        return any(finding.code == code for finding in self.findings)

    @property
    def normal_lps(self) -> NDArray[np.float64]:
        """The direction in which the frames are sorted, a unit vector."""
        return slice_normal(self.orientation_lps)

    @property
    def positions_lps_mm(self) -> NDArray[np.float64]:
        """Every frame's position, (frames, 3)."""
        return np.array([frame.position_lps_mm for frame in self.frames])

    def frame_affine_lps(self, frame: int) -> NDArray[np.float64]:
        """4 x 3, mm: takes (column index, row index, 1) of one frame to LPS (PS3.3 Equation C.7.6.2.1-1)."""
        affine = np.zeros((4, 3))
        row_spacing_mm, column_spacing_mm = self.pixel_spacing_mm
        affine[:3, 0] = np.array(self.orientation_lps[:3]) * column_spacing_mm
        affine[:3, 1] = np.array(self.orientation_lps[3:]) * row_spacing_mm
        affine[:3, 2] = self.frames[frame].position_lps_mm
        affine[3, 2] = 1
        return affine

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """4 x 4, mm: takes (column, row, frame index, 1) to LPS; exact where the spacing is even."""
        affine = np.eye(4)
        affine[:, :2] = self.frame_affine_lps(0)[:, :2]
        affine[:3, 3] = self.frames[0].position_lps_mm
        steps = max(len(self.frames) - 1, 1)
        affine[:3, 2] = (self.positions_lps_mm[-1] - self.positions_lps_mm[0]) / steps
        if len(self.frames) == 1:
            affine[:3, 2] = self.normal_lps
        return affine


def slice_normal(orientation_lps: tuple[float, ...]) -> NDArray[np.float64]:
    """Row cosines x column cosines, a unit vector."""
    normal = np.cross(orientation_lps[:3], orientation_lps[3:])
    return np.asarray(normal / np.linalg.norm(normal))
