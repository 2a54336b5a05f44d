"""DICOM-SEG back to labels on the slices of its source; reads the bits itself, so it can check a writer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from .errors import LabelsDoNotFit
from .geometry import frames_on_grid, positions_lps_mm
from .nifti import convert_volume, write_labels
from .series import Volume

SAME_PLACE_MM = 0.01
LABEL_VALUE = re.compile(r"label value (\d{1,3})$")


@dataclass(frozen=True)
class Segment:
    """One segment: its label, the engine's own label value where it is given, its colour as 0 to 255."""

    number: int
    label: str
    label_value: int | None
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Groups:
    """One frame's functional groups, its own and the shared ones."""

    own: Dataset
    shared: Dataset

    def __getitem__(self, keyword: str) -> Any:
        for groups in (self.own, self.shared):
            if keyword in groups:
                return groups[keyword].value
        raise KeyError(keyword)


@dataclass(frozen=True)
class ReadSegmentation:
    """A segmentation on the frames of its source.

    `numbers` is (frames, rows, columns), uint8, segment numbers, 0 for none.
    """

    numbers: NDArray[np.uint8]
    segments: tuple[Segment, ...]


def read_segmentation(path: Path, volume: Volume) -> ReadSegmentation:
    """Read a BINARY segmentation onto the frames of its source.

    Frames are told apart by the source instance that they name, and where they name none by their position;
    where they name one, its position must agree.

    Raises
    ------
    LabelsDoNotFit
        No BINARY segmentation of this volume, or segments overlap.
    OSError
    """
    try:
        seg = dcmread(path)
    except InvalidDicomError:
        raise LabelsDoNotFit("the segmentation is no DICOM file") from None
    if seg.get("SOPClassUID") != SegmentationStorage or seg.get("SegmentationType") != "BINARY":
        raise LabelsDoNotFit("the object is no BINARY segmentation")
    if (seg.Rows, seg.Columns) != (volume.rows, volume.columns):
        raise LabelsDoNotFit("the segmentation has other rows and columns than the series")
    if len(seg.SegmentSequence) > 255:
        raise LabelsDoNotFit("the segmentation has more than 255 segments")
    numbers = np.zeros((len(volume.frames), volume.rows, volume.columns), np.uint8)
    try:
        _fill(numbers, seg, _Places(volume))
        segments = tuple(_segment(item) for item in seg.SegmentSequence)
    except (LookupError, AttributeError, ValueError, TypeError, OverflowError):
        raise LabelsDoNotFit("the segmentation does not say which segment a frame shows, and where") from None
    return ReadSegmentation(numbers, segments)


def _fill(numbers: NDArray[np.uint8], seg: Dataset, where: "_Places") -> None:
    for item, mask in _frames(seg):
        plane = numbers[where.frame_of(item)]
        if plane[mask].any():
            raise LabelsDoNotFit("its segments overlap; a label map cannot hold them")
        plane[mask] = item["SegmentIdentificationSequence"][0].ReferencedSegmentNumber


def decode_segmentation(path: Path, volume: Volume, out: Path) -> dict[int, str]:
    """Write a segmentation as a label map NIfTI on the grid that `convert_volume` gives.

    Values are the engine's own where every segment says its one, else the segment numbers.

    Returns
    -------
    dict
        The label table.

    Raises
    ------
    LabelsDoNotFit, ConversionFailed, OSError
    """
    read = read_segmentation(path, volume)
    own_values = [segment.label_value for segment in read.segments]
    has_own = None not in own_values and len(set(own_values)) == len(own_values)
    table = {
        (segment.label_value or 0) if has_own else segment.number: segment.label for segment in read.segments
    }
    values = np.zeros(256, np.uint8)
    values[[segment.number for segment in read.segments]] = list(table)
    with TemporaryDirectory(prefix="iris-decode-") as folder:
        grid: Any = nib.load(convert_volume(volume, Path(folder) / "grid.nii").path)
        labels = frames_on_grid(values[read.numbers], volume, grid.shape, grid.affine)
        write_labels(labels, grid.affine, out)
    return table


class _Places:
    """Which frame of the volume a frame of the segmentation lies on."""

    def __init__(self, volume: Volume) -> None:
        self._by_uid = {frame.sop_instance_uid: number for number, frame in enumerate(volume.frames)}
        self._positions_mm = positions_lps_mm(volume)

    def frame_of(self, item: Groups) -> int:
        """Its number; LabelsDoNotFit where it lies elsewhere."""
        position_mm = np.array([float(v) for v in item["PlanePositionSequence"][0].ImagePositionPatient])
        off_mm = np.linalg.norm(self._positions_mm - position_mm, axis=1)
        uid = _source_uid(item)
        number = self._by_uid.get(uid, -1) if uid else int(off_mm.argmin())
        if number < 0 or off_mm[number] > SAME_PLACE_MM:
            raise LabelsDoNotFit("the segmentation was made on another series")
        return number


def _source_uid(item: Groups) -> str:
    try:
        return str(item["DerivationImageSequence"][0].SourceImageSequence[0].ReferencedSOPInstanceUID)
    except (KeyError, AttributeError, IndexError):
        return ""


def _frames(seg: Dataset) -> Iterator[tuple[Groups, NDArray[np.bool_]]]:
    """Each frame's functional groups with its mask; bits are packed without padding (PS3.5 8.1.1).

    A functional group is either the frame's own or shared by all (PS3.3 C.7.6.16): with one segment only,
    what says the segment is shared.
    """
    shared = seg.get("SharedFunctionalGroupsSequence") or [Dataset()]
    packed = np.frombuffer(seg.PixelData, np.uint8)
    pixels = seg.Rows * seg.Columns
    for number, item in enumerate(seg.PerFrameFunctionalGroupsSequence):
        first, last = number * pixels, (number + 1) * pixels
        bits = np.unpackbits(packed[first // 8 : -(-last // 8)], bitorder="little")
        mask = bits[first % 8 : first % 8 + pixels]
        if mask.size != pixels:
            raise LabelsDoNotFit("the segmentation's pixel data is cut short")
        yield Groups(item, shared[0]), mask.reshape(seg.Rows, seg.Columns).astype(bool)


def _segment(item: Dataset) -> Segment:
    match = LABEL_VALUE.search(str(item.get("SegmentDescription") or ""))
    value = int(match[1]) if match and 1 <= int(match[1]) <= 255 else None
    return Segment(int(item.SegmentNumber), str(item.SegmentLabel), value, _rgb(item))


def _rgb(item: Dataset) -> tuple[int, int, int]:
    lab = item.get("RecommendedDisplayCIELabValue")
    if lab is None:
        return (255, 200, 0)
    red, green, blue = hd.color.CIELabColor.from_dicom_value(tuple(lab)).to_rgb()
    return int(red), int(green), int(blue)
