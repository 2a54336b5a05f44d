"""Whether what a contender wrote is right: a ratio to a wrong output is worth nothing.

Run as `python -m benchmarks.checking WHAT CASE_FOLDER OUT_FOLDER`; prints what is wrong.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from benchmarks.case_files import CaseFiles

CHECKED_SLICES = 12
SAME_PLACE = 1e-3
"""In voxels, or mm."""


def check(what: str, files: CaseFiles, out: Path) -> str:
    """What is wrong; empty when nothing is."""
    written = [path for path in sorted(out.iterdir()) if path.suffix != ".json"]
    if len(written) != 1:
        return f"it wrote {len(written)} files instead of one"
    checks = {
        "segmentation": _segmentation,
        "labels": _labels,
        "image": _image,
        "array": _array,
        "size": _size,
        "compressed size": _compressed_size,
    }
    return checks[what](files, written[0])


def _segmentation(files: CaseFiles, path: Path) -> str:
    """By pydicom alone: no reader that competes judges a writer that does."""
    seg = dcmread(path)
    numbers = {item["SegmentLabel"]: item["labelID"] for item in json.loads(files.segments.read_text())}
    value_of = np.zeros(256, np.uint8)
    for item in seg.SegmentSequence:
        if item.SegmentNumber:  # highdicom describes the background too
            # Ours says the name in Tracking ID, and words in the label.
            value_of[item.SegmentNumber] = numbers.get(item.SegmentLabel) or numbers[item.TrackingID]
    wanted = _frames(files)
    written = np.zeros_like(wanted)
    heights = _heights_mm(files)
    for groups, number, mask in _segment_frames(seg):
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        written[int(np.abs(heights - float(position[2])).argmin())][mask] = value_of[number]
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    if float(orientation[4]) < 0:  # dcmqi keeps the rows of the label map's file
        written = written[:, ::-1]
    return _difference(written, wanted)


def _segment_frames(seg: Dataset) -> Iterator[tuple[Dataset, int, NDArray[np.bool_]]]:
    """Every frame's groups with a segment number and where it is."""
    shape = (seg.Rows, seg.Columns)
    if seg.SegmentationType == "BINARY":
        packed = np.frombuffer(seg.PixelData, np.uint8)
        size = shape[0] * shape[1] // 8
        for frame, groups in enumerate(seg.PerFrameFunctionalGroupsSequence):
            bits = np.unpackbits(packed[frame * size : (frame + 1) * size], bitorder="little")
            number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            yield groups, number, bits.reshape(shape).astype(bool)
        return
    for plane, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        for number in np.flatnonzero(np.bincount(plane.ravel())):
            yield groups, int(number), plane == number


def _heights_mm(files: CaseFiles) -> NDArray[np.float64]:
    """Of the slices, from the feet to the head; their files are numbered so."""
    headers = (dcmread(path, stop_before_pixels=True) for path in sorted(files.series.iterdir()))
    return np.array([float(header.ImagePositionPatient[2]) for header in headers])


def _array(files: CaseFiles, path: Path) -> str:
    return _difference(np.load(path), _frames(files))


def _labels(files: CaseFiles, path: Path) -> str:
    """It may cover a part of the grid: dcmqi writes only the slices that lie between its segments' ends."""
    written, wanted = _canonical(path), _canonical(files.labels)
    to_grid = np.linalg.inv(wanted.affine) @ written.affine
    first = np.rint(to_grid[:3, 3]).astype(int)
    moved = np.eye(4)
    moved[:3, 3] = first
    last = first + written.shape
    if not np.allclose(to_grid, moved, atol=SAME_PLACE) or (first < 0).any() or (last > wanted.shape).any():
        return "the label map lies elsewhere"
    whole = np.zeros(wanted.shape, np.uint8)
    whole[tuple(map(slice, first, last))] = np.asanyarray(written.dataobj)
    return _difference(whole, np.asanyarray(wanted.dataobj))


def _image(files: CaseFiles, path: Path) -> str:
    written, place = _canonical(path), _canonical(files.labels)
    if not np.allclose(written.affine, place.affine, atol=SAME_PLACE):
        return "the image lies elsewhere"
    values = np.asanyarray(written.dataobj)
    slices = sorted(files.series.iterdir())
    for number in np.linspace(0, len(slices) - 1, CHECKED_SLICES).astype(int):
        pixels = dcmread(slices[number]).pixel_array
        if wrong := _difference(values[:, :, number], pixels[::-1, ::-1].T):
            return wrong
    return ""


def _size(files: CaseFiles, path: Path) -> str:
    facts = files.read_facts()
    wanted = facts["segment_frames"] * facts["rows"] * facts["columns"] // 8
    return "" if path.stat().st_size == wanted else "it wrote another number of bytes than it had to"


def _compressed_size(files: CaseFiles, path: Path) -> str:
    facts = files.read_facts()
    wanted = facts["slices"] * facts["rows"] * facts["columns"] * 2
    with gzip.open(path) as stream:
        written = sum(map(len, iter(partial(stream.read, 1 << 22), b"")))
    return "" if written == wanted else "it compressed another number of bytes than it had to"


def _frames(files: CaseFiles) -> NDArray[np.uint8]:
    """The label map, (frames, rows, columns): the patient's front at row 0, left at the last column."""
    canonical = np.asanyarray(_canonical(files.labels).dataobj)
    frames: NDArray[np.uint8] = canonical[::-1, ::-1].transpose(2, 1, 0)
    return frames


def _canonical(path: Path) -> Any:
    return nib.as_closest_canonical(nib.load(path))


def _difference(written: NDArray[Any], wanted: NDArray[Any]) -> str:
    if written.shape != wanted.shape:
        return f"it has the shape {written.shape} instead of {wanted.shape}"
    wrong = int(np.count_nonzero(written != wanted))
    return f"{wrong} of {wanted.size} voxels are wrong" if wrong else ""


if __name__ == "__main__":
    sentence = check(sys.argv[1], CaseFiles(Path(sys.argv[2])), Path(sys.argv[3]))
    sys.stdout.write(json.dumps({"wrong": sentence}) + "\n")
    sys.exit(bool(sentence))
