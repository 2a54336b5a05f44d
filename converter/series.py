"""Reads a series' headers and judges it: which of its images form a volume, and what is odd about each.

Nothing here raises on odd data: what forms no volume is left over with the reason.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from pydicom.errors import InvalidDicomError

from .errors import UnusableSeries
from .volume import Finding, Frame, Usability, Volume, slice_normal

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

FEWEST_SLICES = 3
SAME_ORIENTATION = 1e-3
"""Direction cosines that differ by less are the same: 0.06 degrees."""
SAME_PLACE_MM = 0.01
EVEN_SPACING = 0.02
"""Relative: distances between slices that differ by less count as equal."""
TILT_MM = 0.05
"""A sideways shift from slice to slice above this is a gantry tilt."""

MIXED = Finding(
    "mixed_orientation", "Its images have several orientations or sizes, and too few of this one."
)
NO_GEOMETRY = Finding("no_geometry", "The image does not say where it lies in the patient.")
NO_FRAME_OF_REFERENCE = Finding("no_frame_of_reference", "Its images name no frame of reference.")
MULTI_FRAME = Finding("multiframe", "Multi-frame images cannot be converted by this version.")


@dataclass(frozen=True)
class Judgement:
    """What a series holds: its stacks, usable or not, and the images that belong to none."""

    volumes: tuple[Volume, ...]
    left_over: tuple[tuple[Path, Finding], ...]


@dataclass(frozen=True)
class _Image:
    path: Path
    header: Dataset
    position: NDArray[np.float64]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    size: tuple[int, int]
    frame_of_reference_uid: str

    def is_like(self, other: "_Image") -> bool:
        return (
            self.size == other.size
            and self.frame_of_reference_uid == other.frame_of_reference_uid
            and bool(np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-3))
            and bool(np.allclose(self.orientation, other.orientation, rtol=0, atol=SAME_ORIENTATION))
        )


def read_header(path: Path) -> Dataset:
    """Read a header up to its pixel data, without judging single values.

    Raises
    ------
    OSError, pydicom.errors.InvalidDicomError
    """
    with config.disable_value_validation():
        return dcmread(path, stop_before_pixels=True)


def read_series(folder: Path) -> Volume:
    """Read the one usable volume among the DICOM files of a folder.

    Raises
    ------
    UnusableSeries
        There is none, or more than one.
    OSError
    """
    instances = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            instances.append((path, read_header(path)))
        except InvalidDicomError:
            continue
    if not instances:
        raise UnusableSeries("there is no DICOM file in that folder; name the folder of one series")
    if len({str(header.get("SeriesInstanceUID")) for _, header in instances}) > 1:
        raise UnusableSeries("the folder holds more than one series; name the folder of one")
    return _only_usable(judge_series(instances), allow_left_over=True)


def volume_of(paths: Sequence[Path]) -> Volume:
    """Read the volume that exactly these files form.

    Raises
    ------
    UnusableSeries
        They form none, or do not all belong to it.
    OSError
    """
    try:
        instances = [(path, read_header(path)) for path in paths]
    except InvalidDicomError:
        raise UnusableSeries("one of its files is not DICOM any more; send the study again") from None
    return _only_usable(judge_series(instances), allow_left_over=False)


def _only_usable(judgement: Judgement, *, allow_left_over: bool) -> Volume:
    usable = [volume for volume in judgement.volumes if volume.usability is Usability.USABLE]
    if len(usable) == 1 and (allow_left_over or (len(judgement.volumes) == 1 and not judgement.left_over)):
        return usable[0]
    if len(usable) > 1:
        raise UnusableSeries(f"the series holds {len(usable)} volumes (phases, echoes or times); pick one")
    reasons = [finding.sentence for volume in judgement.volumes for finding in volume.findings]
    reasons += [finding.sentence for _, finding in judgement.left_over]
    raise UnusableSeries("no volume: " + " ".join(dict.fromkeys(reasons)))


def judge_series(instances: Sequence[tuple[Path, Dataset]]) -> Judgement:
    """Sort the images of one series into volumes.

    A series is split by orientation and image size, and where several images lie at each position by echo,
    image type, phase, time or acquisition.

    Parameters
    ----------
    instances
        Files with their headers, in any order.
    """
    left_over: list[tuple[Path, Finding]] = []
    images: list[_Image] = []
    for path, header in instances:
        image = _image(path, header)
        if isinstance(image, Finding):
            left_over.append((path, image))
        else:
            images.append(image)
    groups = _alike(images)
    volumes: list[Volume] = []
    for group in groups:
        if len(group) < FEWEST_SLICES and len(groups) > 1:
            left_over += [(image.path, MIXED) for image in group]
        else:
            volumes += [_volume(stack) for stack in _stacks(group)]
    volumes.sort(key=lambda volume: (volume.usability is not Usability.USABLE, _first_number(volume)))
    return Judgement(tuple(volumes), tuple(left_over))


def _image(path: Path, header: Dataset) -> _Image | Finding:
    try:
        if int(header.get("NumberOfFrames") or 1) > 1 or "PerFrameFunctionalGroupsSequence" in header:
            return MULTI_FRAME
        position = np.array([float(v) for v in header.ImagePositionPatient])
        orientation = tuple(float(v) for v in header.ImageOrientationPatient)
        spacing_mm = (float(header.PixelSpacing[0]), float(header.PixelSpacing[1]))
        size = (int(header.Rows), int(header.Columns))
        frame_of_reference_uid = str(header.get("FrameOfReferenceUID") or "")
        cosines = np.array(orientation).reshape(2, 3)
    except (AttributeError, TypeError, ValueError, IndexError, LookupError):
        return NO_GEOMETRY
    numbers = np.array([*position, *orientation, *spacing_mm])
    is_sound = (
        position.shape == (3,)
        and bool(np.isfinite(numbers).all())
        and min(spacing_mm) > 0
        and min(size) > 0
        and bool(np.allclose(np.linalg.norm(cosines, axis=1), 1, atol=1e-2))
        and abs(float(cosines[0] @ cosines[1])) < 1e-2
    )
    if not is_sound:
        return NO_GEOMETRY
    return _Image(path, header, position, orientation, spacing_mm, size, frame_of_reference_uid)


def _alike(images: Sequence[_Image]) -> list[list[_Image]]:
    groups: list[list[_Image]] = []
    for image in images:
        for group in groups:
            if image.is_like(group[0]):
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


# -- several images at one position ----------------------------------------------------------------------


def _attribute(keyword: str) -> Callable[[_Image], str]:
    def value(image: _Image) -> str:
        try:
            return str(image.header.get(keyword))
        except (ValueError, TypeError, LookupError):
            return ""

    return value


SPLITS = (
    "EchoNumbers",
    "EchoTime",
    "ImageType",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "KVP",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContrastBolusAgent",
    "ConvolutionKernel",
)
"""What tells the volumes of one series apart, in this order."""


def _stacks(group: list[_Image]) -> Iterator[list[_Image]]:
    """Split images of one orientation into stacks that have one image at each position."""
    places = _places(group)
    most = max(len(place) for place in places)
    if most == 1 or len(places) < FEWEST_SLICES:
        yield group
        return
    for keyword in SPLITS:
        by_value: dict[str, list[_Image]] = defaultdict(list)
        for image in group:
            by_value[_attribute(keyword)(image)].append(image)
        if len(by_value) > 1 and all(_has_one_image_at_each_place(stack) for stack in by_value.values()):
            yield from by_value.values()
            return
    yield group


def _has_one_image_at_each_place(stack: list[_Image]) -> bool:
    return len(stack) >= FEWEST_SLICES and len(_places(stack)) == len(stack)


def _places(group: Sequence[_Image]) -> list[list[_Image]]:
    """The images at each position along the normal, in ascending order."""
    heights = _heights(group)
    places: list[list[_Image]] = []
    last = -np.inf
    for index in np.argsort(heights, kind="stable"):
        if heights[index] - last > SAME_PLACE_MM:
            places.append([])
        places[-1].append(group[index])
        last = heights[index]
    return places


def _heights(group: Sequence[_Image]) -> NDArray[np.float64]:
    return np.array([image.position for image in group]) @ slice_normal(group[0].orientation)


# -- one stack ---------------------------------------------------------------------------------------------


def _volume(stack: list[_Image]) -> Volume:
    order = np.argsort(_heights(stack), kind="stable")
    images = [stack[index] for index in order]
    first = images[0]
    heights = _heights(images)
    findings, is_usable = _findings(images, heights)
    return Volume(
        series_uid=str(first.header.get("SeriesInstanceUID", "")),
        study_uid=str(first.header.get("StudyInstanceUID", "")),
        frame_of_reference_uid=first.frame_of_reference_uid,
        frames=tuple(
            Frame(
                image.path,
                str(image.header.get("SOPInstanceUID", "")),
                str(image.header.get("SOPClassUID", "")),
                (float(image.position[0]), float(image.position[1]), float(image.position[2])),
            )
            for image in images
        ),
        headers=tuple(image.header for image in images),
        orientation_lps=first.orientation,
        rows=first.size[0],
        columns=first.size[1],
        pixel_spacing_mm=first.spacing_mm,
        slice_spacing_mm=float(np.median(np.diff(heights))) if len(heights) > 1 else 0.0,
        findings=tuple(findings),
        usability=Usability.USABLE if is_usable else Usability.UNUSABLE,
    )


def _findings(images: Sequence[_Image], heights: NDArray[np.float64]) -> tuple[list[Finding], bool]:
    distances = np.diff(heights)
    if len(images) > 1 and heights[-1] - heights[0] <= SAME_PLACE_MM:
        return [Finding("no_volume", "All its images lie at one position.")], False
    if len(images) < FEWEST_SLICES:
        return [Finding("too_few", f"It has {len(images)} images; a volume needs {FEWEST_SLICES}.")], False
    if distances.min() <= SAME_PLACE_MM:
        twice = int((distances <= SAME_PLACE_MM).sum())
        return [Finding("duplicates", f"{twice} of its positions hold more than one image.")], False
    findings = [finding for finding in (_spacing_finding(distances),) if finding is not None]
    if not images[0].frame_of_reference_uid:
        findings.append(NO_FRAME_OF_REFERENCE)
    tilt, is_straight = _tilt(images, heights)
    if not is_straight:
        return [*findings, Finding("not_aligned", "Its slices are shifted sideways without a rule.")], False
    return [*findings, *([tilt] if tilt else [])], True


def _spacing_finding(distances: NDArray[np.float64]) -> Finding | None:
    """A gap is a distance that is a multiple of the others; anything else uneven is its own kind."""
    step = float(distances.min())
    if distances.max() - step <= EVEN_SPACING * step:
        return None
    multiples = distances / step
    missing = int(np.rint(multiples).sum()) - len(distances)
    if np.abs(multiples - np.rint(multiples)).max() <= EVEN_SPACING * multiples.max():
        slices = "slice is" if missing == 1 else "slices are"
        return Finding("gap", f"{missing} {slices} missing between its first and its last one.")
    return Finding("uneven_spacing", f"Its slices lie {step:.4g} to {float(distances.max()):.4g} mm apart.")


def _tilt(images: Sequence[_Image], heights: NDArray[np.float64]) -> tuple[Finding | None, bool]:
    """The sideways shift along the stack; False where it follows no straight line."""
    positions = np.array([image.position for image in images])
    sideways = positions - np.outer(heights, slice_normal(images[0].orientation))
    sideways = sideways - sideways[0]
    along = heights - heights[0]
    slope = (along @ sideways) / (along @ along)
    rest_mm = float(np.abs(sideways - np.outer(along, slope)).max())
    if rest_mm > max(0.5, 0.5 * min(images[0].spacing_mm)):
        return None, False
    shift_mm = float(np.linalg.norm(slope)) * float(np.median(np.diff(heights)))
    if shift_mm <= TILT_MM:
        return None, True
    angle = float(np.degrees(np.arctan(np.linalg.norm(slope))))
    return Finding("gantry_tilt", f"Its slices are tilted by {angle:.1f} degrees against their axis."), True


def _first_number(volume: Volume) -> int:
    try:
        return min(int(header.get("InstanceNumber") or 0) for header in volume.headers)
    except (TypeError, ValueError):
        return 0
