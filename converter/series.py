"""A DICOM series, judged by its headers: which volumes it holds, and what is odd about them.

A volume is a stack of at least three single-frame images of one series: same size, spacing, direction and
frame of reference, one image at each position. Coordinates are LPS (PS3.3 C.7.6.2.1.1), in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config

from .errors import UnusableSeries
from .headers import Finding, plane_of, read_header, text_of, why_no_slice
from .stacks import Image, by_distance, findings_of, is_scout, split_by_grid, split_by_kind

__all__ = [
    "Finding",
    "Frame",
    "Judgement",
    "Usability",
    "Volume",
    "judge_series",
    "read_header",
    "read_series",
    "volume_of",
]


class Usability(StrEnum):
    """Whether a volume can be converted."""

    USABLE = "usable"
    UNUSABLE = "unusable"


_STILL_USABLE = frozenset({"gap", "uneven_spacing", "gantry_tilt", "no_frame_of_reference"})
"""Findings that leave a volume usable; every other one makes it unusable."""

_NO_FRAME_OF_REFERENCE = Finding(
    "no_frame_of_reference",
    "the images name no frame of reference; the images of one series share theirs (PS3.3 C.7.4.1), so a "
    "result gets one that is derived from the series",
)


@dataclass(frozen=True)
class Frame:
    """One image of a volume."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    position_lps_mm: tuple[float, float, float]
    """Centre of the first pixel (ImagePositionPatient)."""
    frame_number: int | None = None
    """Number of the frame in a multi-frame object, from 1; None for a single-frame image."""


@dataclass(frozen=True)
class Volume:
    """A stack of images, sorted along the slice normal (row direction cross column direction), ascending.

    Made by `judge_series`, `read_series` and `volume_of`. An unusable one may have several images at a
    position, or only one image.
    """

    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    frames: tuple[Frame, ...]
    headers: tuple[Dataset, ...]
    """Every frame's header without pixels, in the order of `frames`."""
    orientation_lps: tuple[float, float, float, float, float, float]
    """Row cosines, then column cosines (ImageOrientationPatient)."""
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    """Between rows, between columns (PixelSpacing)."""
    slice_spacing_mm: float
    """Median distance between neighbours along the slice normal; 0 for fewer than two positions."""
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
        """The slice normal, a unit vector of shape (3,)."""
        normal = np.cross(self.orientation_lps[:3], self.orientation_lps[3:])
        return np.asarray(normal / np.linalg.norm(normal))

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """Where voxels are: (column index, row index, frame index, 1) to LPS in mm, shape (4, 4).

        Exact where slices are evenly spaced; its third column is then the step from slice to slice, which
        leans against the slice normal under gantry tilt. For uneven spacing it is the mean step, and
        `geometry.frame_affines` has the truth for each frame.
        """
        affine = np.eye(4)
        affine[:3, 0] = np.array(self.orientation_lps[:3]) * self.pixel_spacing_mm[1]
        affine[:3, 1] = np.array(self.orientation_lps[3:]) * self.pixel_spacing_mm[0]
        first, last = (np.array(self.frames[i].position_lps_mm) for i in (0, -1))
        affine[:3, 2] = (last - first) / (len(self.frames) - 1) if len(self.frames) > 1 else self.normal_lps
        affine[:3, 3] = first
        return affine


@dataclass(frozen=True)
class Judgement:
    """What a series holds: volumes, the largest first, and files that are part of none, with the reason."""

    volumes: tuple[Volume, ...]
    left_over: tuple[tuple[Path, Finding], ...]


def judge_series(instances: Sequence[tuple[Path, Dataset]]) -> Judgement:
    """Judge the images of one series; never raises on odd data.

    Parameters
    ----------
    instances
        Each file with its header, in any order.

    Returns
    -------
    Judgement
        Split by direction, size and frame of reference, and where several images are at each position by
        echo, phase, energy, time or acquisition. Scouts never share a volume with others.
    """
    with config.disable_value_validation():
        images, left_over = _images(instances)
        stacks = [stack for grid in split_by_grid(images) for stack in split_by_kind(grid)]
        directions = {
            tuple(np.round(stack[0].plane.normal, 2)) for stack in stacks if not is_scout(stack[0].header)
        }
        volumes = [_volume(by_distance(stack), mixed=len(directions) > 1) for stack in stacks]
    volumes.sort(key=lambda volume: (-len(volume.frames), volume.frames[0].sop_instance_uid))
    return Judgement(tuple(volumes), tuple(left_over))


def read_series(folder: Path) -> Volume:
    """Read the one usable volume in a folder of DICOM files (not its subfolders).

    Raises
    ------
    UnusableSeries
        There is none, or more than one; the text says why.
    OSError
        A file cannot be read.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise UnusableSeries("the folder holds no files; give the folder of one DICOM series")
    headers = []
    for path in paths:
        try:
            headers.append((path, read_header(path)))
        except UnusableSeries:
            if path.name.upper() != "DICOMDIR" and path.suffix.lower() in ("", ".dcm", ".ima"):
                raise
    return _the_one(judge_series(headers))


def volume_of(paths: Sequence[Path]) -> Volume:
    """Make the one usable volume out of exactly these files.

    Raises
    ------
    UnusableSeries
        They are no volume, more than one, or some of them are not part of it.
    OSError
        A file cannot be read.
    """
    judgement = judge_series([(path, read_header(path)) for path in paths])
    volume = _the_one(judgement)
    if len(volume.frames) != len(paths):
        others = len(paths) - len(volume.frames)
        raise UnusableSeries(f"{others} of {len(paths)} images are not part of the volume; leave them out")
    return volume


def _the_one(judgement: Judgement) -> Volume:
    usable = [volume for volume in judgement.volumes if volume.usability is Usability.USABLE]
    if len(usable) == 1:
        return usable[0]
    if usable:
        raise UnusableSeries(
            f"the images make {len(usable)} volumes (several series, phases, echoes or directions); "
            "give the files of one"
        )
    reasons = [
        finding.sentence
        for volume in judgement.volumes
        for finding in volume.findings
        if finding.code not in _STILL_USABLE
    ]
    reasons += [finding.sentence for _, finding in judgement.left_over]
    raise UnusableSeries("; ".join(dict.fromkeys(reasons)) or "there are no images")


def _images(
    instances: Sequence[tuple[Path, Dataset]],
) -> tuple[list[Image], list[tuple[Path, Finding]]]:
    images: dict[str, Image] = {}
    left_over = []
    for path, header in instances:
        finding = why_no_slice(header)
        plane = plane_of(header)
        if finding is not None or plane is None:
            left_over.append((path, finding or Finding("no_geometry", "it has no place in the patient")))
            continue
        image = Image(path, header, plane)
        if images.setdefault(image.sop_instance_uid, image) is not image:
            left_over.append((path, Finding("duplicates", "a copy of an image that is there already")))
    return list(images.values()), left_over


def _volume(images: Sequence[Image], mixed: bool) -> Volume:
    first = images[0]
    findings = findings_of(images)
    if is_scout(first.header):
        findings = (Finding("scout", "scout images, not a volume"), *findings)
    if mixed and any(finding.code == "too_few" for finding in findings):
        findings = (
            Finding("mixed_orientation", "the series mixes images of differing directions"),
            *findings,
        )
    frame_of_reference_uid = text_of(first.header, "FrameOfReferenceUID")
    if not frame_of_reference_uid:
        findings = (*findings, _NO_FRAME_OF_REFERENCE)
    volume = Volume(
        series_uid=text_of(first.header, "SeriesInstanceUID"),
        study_uid=text_of(first.header, "StudyInstanceUID"),
        frame_of_reference_uid=frame_of_reference_uid,
        frames=tuple(_frame(image) for image in images),
        headers=tuple(image.header for image in images),
        orientation_lps=(*first.plane.row_cosine.tolist(), *first.plane.column_cosine.tolist()),
        rows=first.plane.rows,
        columns=first.plane.columns,
        pixel_spacing_mm=first.plane.pixel_spacing_mm,
        slice_spacing_mm=0.0,
        findings=findings,
        usability=Usability.USABLE
        if all(finding.code in _STILL_USABLE for finding in findings)
        else Usability.UNUSABLE,
    )
    return replace(volume, slice_spacing_mm=_median_spacing_mm(volume))


def _median_spacing_mm(volume: Volume) -> float:
    distance = np.array([frame.position_lps_mm for frame in volume.frames]) @ volume.normal_lps
    return float(np.median(np.diff(distance))) if len(distance) > 1 else 0.0


def _frame(image: Image) -> Frame:
    x, y, z = image.plane.position_mm.tolist()
    return Frame(
        path=image.path,
        sop_instance_uid=image.sop_instance_uid,
        sop_class_uid=text_of(image.header, "SOPClassUID"),
        position_lps_mm=(x, y, z),
    )
