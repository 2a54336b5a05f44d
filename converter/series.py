"""A DICOM series, judged by its headers: which volumes it holds, and what is odd about them.

A volume is a stack of at least three images of one series, single-frame images or frames of multi-frame ones:
same size, spacing, direction and frame of reference, one image at each position. Coordinates are LPS (PS3.3
C.7.6.2.1.1), in mm.
"""

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config

from .choice import Choice, first_of, how_to_choose
from .errors import UnusableSeries
from .inputs import AnyPath, SeriesFiles, Source
from .reading.copies import COPY, without_copies
from .reading.header_file import HeaderReader, read_header
from .reading.headers import Finding, plane_of, text_of
from .reading.mosaic import TILED, is_mosaic, tile_headers
from .reading.multiframe import frame_headers
from .reading.nuclear import is_nuclear, slice_headers
from .reading.refusals import is_multiframe, why_no_image
from .reading.stacks import Image, Stack, by_distance, split_by_grid, split_by_kind
from .reading.verdicts import NOTES, WARNINGS, described, findings_of, is_evenly_spaced

__all__ = [
    "Choice",
    "Finding",
    "Frame",
    "HeaderReader",
    "Judgement",
    "Usability",
    "Volume",
    "judge",
    "judge_series",
    "parse_frame_name",
    "read_header",
    "read_series",
    "the_whole",
    "volume_of",
    "volume_of_frames",
]


class Usability(StrEnum):
    """Whether a volume can be converted."""

    USABLE = "usable"
    USABLE_WITH_WARNING = "usable_with_warning"
    """It can be converted, and its findings should be read."""
    UNUSABLE = "unusable"


_NO_FRAME_OF_REFERENCE = Finding(
    "no_frame_of_reference",
    "the images name no frame of reference; the images of one series share theirs (PS3.3 C.7.4.1), so a "
    "result gets one that is derived from the series",
)


_LOST = frozenset({"no_geometry", "no_pixels", "no_uids", "undecodable", "mosaic", "multiframe"})
"""What an image is left out for that may be a slice, damaged; others are something else."""


@dataclass(frozen=True)
class Frame:
    """One image of a volume: a file, or a frame of a multi-frame one, which several frames then share."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    position_lps_mm: tuple[float, float, float]
    """Centre of the first pixel (ImagePositionPatient)."""
    frame_number: int | None = None
    """Number of the frame in a multi-frame object, or of the tile in a mosaic, from 1; None for an image that
    is one frame."""

    @property
    def name(self) -> str:
        """What no other frame is called: the SOP Instance UID, with "#7" for frame 7 of several."""
        return (
            self.sop_instance_uid
            if self.frame_number is None
            else f"{self.sop_instance_uid}#{self.frame_number}"
        )


def parse_frame_name(name: str) -> tuple[str, int | None]:
    """Take a frame's name apart: SOP Instance UID, and number of the frame of several, else None."""
    uid, _, number = name.partition("#")
    return uid, int(number) if number else None


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
    """Every frame's header without pixels, in the order of `frames`; of a frame of a multi-frame object as a
    single-frame image would have it."""
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
        images, copies = without_copies(images)
        left_over += [(copy.path, COPY) for copy, _ in copies]
        copied = frozenset(original.identity for _, original in copies)
        stacks = [part for grid in split_by_grid(images) for part in split_by_kind(grid, is_evenly_spaced)]
        siblings = [stack for stack in stacks if not stack.is_scout]
        series_of = {path: text_of(header, "SeriesInstanceUID") for path, header in instances}
        lost = [(series_of[path], finding) for path, finding in left_over if finding.code in _LOST]
        directions = {tuple(np.round(stack.images[0].plane.normal, 2)) for stack in siblings}
        volumes = [
            _volume(stack, _Beside(len(siblings), 0 if stack.is_scout else len(directions), copied, lost))
            for stack in stacks
        ]
    volumes.sort(key=lambda volume: (-len(volume.frames), volume.frames[0].name))
    return Judgement(tuple(volumes), tuple(left_over))


def judge(source: Source) -> Judgement:
    """Judge the images of one series, wherever they are: what had to be unpacked goes with the volumes.

    Raises
    ------
    UnusableSeries
        There are no files, or one of them is no DICOM and should be; the text says why.
    OSError
        A file cannot be read.
    """
    files = SeriesFiles(source)
    judgement = judge_series(files.headers())
    for volume in judgement.volumes:
        weakref.finalize(volume, files.keep)
    return judgement


def read_series(source: Source, choice: Choice | None = None) -> Volume:
    """Read the one usable volume of a series, or the one that is chosen.

    Parameters
    ----------
    source
        A folder of DICOM files (not its subfolders), one with a DICOMDIR, a file, a zip, or a list of files.

    Raises
    ------
    UnusableSeries
        There is none, or more than one; the text says why, and how to choose.
    OSError
        A file cannot be read.
    """
    return _the_one(judge(source), choice)


def volume_of(paths: Sequence[AnyPath]) -> Volume:
    """Make the one usable volume out of exactly these files, with all their frames.

    Raises
    ------
    UnusableSeries
        They are no volume, more than one, or some of them are not part of it.
    OSError
        A file cannot be read.
    """
    return the_whole(judge(list(paths)))


def the_whole(judgement: Judgement) -> Volume:
    """The one usable volume of images that are all part of it; raises as `volume_of` does."""
    volume = _the_one(judgement)
    images = sum(len(other.frames) for other in judgement.volumes) + len(judgement.left_over)
    if len(volume.frames) != images:
        others = images - len(volume.frames)
        raise UnusableSeries(f"{others} of {images} images are not part of the volume; leave them out")
    return volume


def volume_of_frames(frames: Sequence[tuple[Path, int | None]]) -> Volume:
    """Make the volume of exactly these images, or frames of multi-frame files.

    Parameters
    ----------
    frames
        Path and number of each, as `Frame` has them.

    Raises
    ------
    UnusableSeries
        They are no volume.
    OSError
        A file cannot be read.
    """
    wanted, reader = set(frames), HeaderReader()
    judgement = judge_series([(path, reader.read(path)) for path in dict.fromkeys(p for p, _ in frames)])
    for volume in judgement.volumes:
        if {(frame.path, frame.frame_number) for frame in volume.frames} == wanted:
            return _the_one(Judgement((volume,), ()))
    raise UnusableSeries(f"the {len(wanted)} images are no volume any more; send the study again")


def _the_one(judgement: Judgement, choice: Choice | None = None) -> Volume:
    volumes = (choice or Choice()).among(judgement.volumes)
    usable = [volume for volume in volumes if volume.usability is not Usability.UNUSABLE]
    if len(usable) == 1:
        return usable[0]
    if usable:
        raise UnusableSeries(f"the images make {len(usable)} volumes; {how_to_choose(judgement.volumes)}")
    findings = [finding for volume in volumes for finding in volume.findings]
    reasons = [finding.sentence for finding in findings if finding.code not in WARNINGS | NOTES]
    reasons += [finding.sentence for _, finding in judgement.left_over]
    named = first_of(list(dict.fromkeys(reasons)), "reasons")
    raise UnusableSeries("; ".join(named) or "there are no images")


# -- images -------------------------------------------------------------------------------------------------


def _images(
    instances: Sequence[tuple[Path, Dataset]],
) -> tuple[list[Image], list[tuple[Path, Finding]]]:
    images: list[Image] = []
    left_over: list[tuple[Path, Finding]] = []
    seen: set[str] = set()
    for path, header in instances:
        uid = text_of(header, "SOPInstanceUID")
        finding = why_no_image(header)
        if finding is None and uid in seen:
            finding = Finding("duplicates", "a copy of an image that is there already")
        if finding is not None:
            left_over.append((path, finding))
            continue
        seen.add(uid)
        for image in _images_of(path, header):
            if isinstance(image, Finding):
                left_over.append((path, image))
            else:
                images.append(image)
    return images, left_over


def _images_of(path: Path, header: Dataset) -> Iterable[Image | Finding]:
    """The images that one file holds, or why they are none."""
    several: list[Dataset] | Finding | None = None
    if is_multiframe(header):
        several = slice_headers(header) if is_nuclear(header) else frame_headers(header)
    elif is_mosaic(header):
        several = tile_headers(header)
    if isinstance(several, Finding):
        yield several
        return
    for number, single in enumerate(several or [header], start=1):
        plane = plane_of(single)
        frame_number = number if several is not None else None
        yield plane if isinstance(plane, Finding) else Image(path, single, plane, frame_number)


# -- volumes ------------------------------------------------------------------------------------------------


class _Beside(NamedTuple):
    """What else a series holds: so many stacks with this one, in so many directions, and copies of images."""

    siblings: int
    directions: int
    copied: frozenset[tuple[str, int]]
    """Identities of images of which there were copies."""
    lost: Sequence[tuple[str, Finding]]
    """Series Instance UIDs, where known, of images that may belong to a volume and are in none, and why."""


def _volume(stack: Stack, beside: _Beside) -> Volume:
    """Make a volume of a stack."""
    images = by_distance(stack.images)
    first = images[0]
    findings = _findings(stack, images, beside)
    distance = np.array([image.plane.position_mm for image in images]) @ first.plane.normal
    return Volume(
        series_uid=text_of(first.header, "SeriesInstanceUID"),
        study_uid=text_of(first.header, "StudyInstanceUID"),
        frame_of_reference_uid=text_of(first.header, "FrameOfReferenceUID"),
        frames=tuple(_frame(image) for image in images),
        headers=tuple(image.header for image in images),
        orientation_lps=(*first.plane.row_cosine.tolist(), *first.plane.column_cosine.tolist()),
        rows=first.plane.rows,
        columns=first.plane.columns,
        pixel_spacing_mm=first.plane.pixel_spacing_mm,
        slice_spacing_mm=float(np.median(np.diff(distance))) if len(distance) > 1 else 0.0,
        findings=findings,
        usability=_usability(findings),
    )


def _findings(stack: Stack, images: Sequence[Image], beside: _Beside) -> tuple[Finding, ...]:
    """What is odd about a volume, the fatal first."""
    findings = list(findings_of(images))
    if beside.directions > 1 and any(finding.code == "too_few" for finding in findings):
        findings.insert(
            0,
            Finding(
                "mixed_orientation",
                f"the series mixes images of {beside.directions} directions, as scouts do",
            ),
        )
    if stack.is_scout:
        findings.insert(0, Finding("scout", "scout images, not a volume"))
    if is_mosaic(images[0].header):
        findings.append(TILED)
    if not text_of(images[0].header, "FrameOfReferenceUID"):
        findings.append(_NO_FRAME_OF_REFERENCE)
    if twice := sum(image.identity in beside.copied for image in images):
        findings.append(
            Finding(
                "copies",
                f"{twice} of {len(images)} images are there again under other UIDs; one of each is taken",
            )
        )
    if lost := _left_out(text_of(images[0].header, "SeriesInstanceUID"), beside.lost):
        findings.append(lost)
    if stack.told_by and _usability(findings) is not Usability.UNUSABLE:
        findings.append(
            Finding(
                "split",
                f"its series holds {beside.siblings} stacks of images, told apart by "
                f"{', '.join(stack.told_by)}; this one has {described(images)}",
            )
        )
    return tuple(findings)


def _left_out(series_uid: str, lost: Sequence[tuple[str, Finding]]) -> Finding | None:
    """Why images are in no volume that may have been in this one, at whose ends no gap would say so."""
    reasons = [finding.sentence for of_series, finding in lost if of_series in ("", series_uid)]
    if not reasons:
        return None
    which = "1 image is" if len(reasons) == 1 else f"{len(reasons)} images are"
    why = "; ".join(first_of(list(dict.fromkeys(reasons)), "reasons"))
    return Finding("left_out", f"{which} left out, and may have been a part of this volume: {why}")


def _usability(findings: Iterable[Finding]) -> Usability:
    codes = {finding.code for finding in findings} - NOTES
    if codes - WARNINGS:
        return Usability.UNUSABLE
    return Usability.USABLE_WITH_WARNING if codes else Usability.USABLE


def _frame(image: Image) -> Frame:
    x, y, z = image.plane.position_mm.tolist()
    return Frame(
        path=image.path,
        sop_instance_uid=image.sop_instance_uid,
        sop_class_uid=text_of(image.header, "SOPClassUID"),
        position_lps_mm=(x, y, z),
        frame_number=image.frame_number,
    )
