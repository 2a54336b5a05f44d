"""Where labels landed: a DICOM-SEG, read by pydicom alone, against the pixels of the series that it is for.

Nothing of the converter is used here, so that it can be measured with the same yardstick as its peers.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from pydicom.pixels.processing import apply_rescale

from benchmarks.geometry.engine import NAMES, Engine

SAME_PLACE_MM = 0.01


@dataclass(frozen=True)
class Slice:
    """Labels of one slice with its place: `affine` takes (column, row, 1) to LPS mm, shape (3, 3)."""

    affine: NDArray[np.float64]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Landing:
    """How far from where they belong the labels are.

    `exact`: every labelled pixel is on the right one, and no other. `off_mm`: the farthest that a label's
    middle is from its true middle; None where a label has gone altogether.
    """

    exact: bool
    off_mm: float | None

    def in_words(self, engine: Engine) -> str:
        """For the table. The middle of noise is always in the middle, so of noise no distance is said."""
        if self.exact:
            return "exact"
        if self.off_mm is None:
            return "labels lost"
        if not engine.bodies:
            return "not exact"
        return f"{self.off_mm:.1f} mm" if self.off_mm < 10 else f"{self.off_mm:.0f} mm"


def landing(segmentation: Path, truths: Sequence[Sequence[Slice]]) -> Landing:
    """Measure a segmentation against the nearest of several truths (phases of a 4D series are several)."""
    found = list(segmented(segmentation))
    landings = [_landing(found, truth) for truth in truths]
    return min(landings, key=lambda one: (not one.exact, np.inf if one.off_mm is None else one.off_mm))


def truths(
    folder: Path, engine: Engine, decoded: Path | None = None, where: Mapping[str, str] | None = None
) -> list[list[Slice]]:
    """What the engine should mark, straight from the source's pixels.

    Files whose names differ before an underscore are volumes of their own. `decoded` holds the same series
    in a transfer syntax that pydicom decodes. Only what `where` says of an attribute is taken.
    """
    volumes: dict[str, list[Slice]] = defaultdict(list)
    for path in sorted((decoded or folder).iterdir()):
        header = dcmread(path, specific_tags=list(where or {}))
        if all(str(header.get(keyword)) == value for keyword, value in (where or {}).items()):
            volumes[path.name.rpartition("_")[0]] += (_marked(*one, engine) for one in source_slices(path))
    return [slices for slices in volumes.values() if any(one.labels.any() for one in slices)]


def source_slices(path: Path) -> Iterator[tuple[Slice, NDArray[Any]]]:
    """Every frame of an image: its place, nothing marked, and its rescaled values."""
    with config.disable_value_validation():
        dataset = dcmread(path)
        values = apply_rescale(dataset.pixel_array, dataset)
    for plane, groups in zip(values.reshape(-1, *values.shape[-2:]), _groups(dataset), strict=True):
        yield Slice(_affine(groups), np.zeros(plane.shape, np.uint8)), plane


def _marked(one: Slice, values: NDArray[Any], engine: Engine) -> Slice:
    labels = (values > engine.limit).astype(np.uint8)
    if engine.bodies:  # two balls of different brightness
        labels[labels > 0] = np.where(values[labels > 0] > 900, 1, 2)
    return Slice(one.affine, labels)


def segmented(path: Path) -> Iterator[Slice]:
    """Every frame of a BINARY segmentation, its mask filled with the label of its segment's name.

    Ours says the name in Tracking ID, and words in the Segment Label, where others have the name; BOA says it
    in Segment Description.
    """
    seg = dcmread(path)
    label_of = {item.SegmentNumber: _label_of(item) for item in seg.SegmentSequence}
    masks = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for mask, groups in zip(masks, _groups(seg), strict=True):
        label = label_of[groups("SegmentIdentificationSequence").ReferencedSegmentNumber]
        yield Slice(_affine(groups), (mask * label).astype(np.uint8))


def _label_of(segment: Dataset) -> int:
    """0 for what is neither of the two bodies."""
    words = [segment.get(keyword, "") for keyword in ("TrackingID", "SegmentLabel", "SegmentDescription")]
    return next((label for label, name in NAMES.items() if name in map(str.lower, words)), 0)


def _groups(dataset: Dataset) -> Iterator[Any]:
    """For each frame a function from a functional group's keyword to its item, its own or the shared one."""
    if "DetectorInformationSequence" in dataset:
        yield from (lambda keyword, one=one: one for one in _of_tomogram(dataset))
        return
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        yield lambda keyword: dataset
        return
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for own in dataset.PerFrameFunctionalGroupsSequence:
        yield lambda keyword, own=own: (own if keyword in own else shared)[keyword][0]


def _of_tomogram(dataset: Dataset) -> Iterator[Dataset]:
    """The plane of each slice of a reconstructed tomogram (PS3.3 C.8.4.9.1.1, C.8.4.11)."""
    detector = dataset.DetectorInformationSequence[0]
    row, column = np.reshape([float(v) for v in detector.ImageOrientationPatient], (2, 3))
    step_mm = float(dataset.SpacingBetweenSlices) * np.cross(row, column)
    for number in dataset.SliceVector:
        plane = Dataset()
        plane.PixelSpacing, plane.ImageOrientationPatient = (
            dataset.PixelSpacing,
            detector.ImageOrientationPatient,
        )
        corner = np.array([float(v) for v in detector.ImagePositionPatient]) + (number - 1) * step_mm
        plane.ImagePositionPatient = corner.round(6).tolist()
        yield plane


def _affine(groups: Any) -> NDArray[np.float64]:
    row, column = np.reshape(
        [float(v) for v in groups("PlaneOrientationSequence").ImageOrientationPatient], (2, 3)
    )
    between_rows, between_columns = (float(v) for v in groups("PixelMeasuresSequence").PixelSpacing)
    corner = [float(v) for v in groups("PlanePositionSequence").ImagePositionPatient]
    return np.column_stack([row * between_columns, column * between_rows, corner])


def _landing(found: Sequence[Slice], truth: Sequence[Slice]) -> Landing:
    off_mm = [
        np.linalg.norm(_middle_mm(found, label) - _middle_mm(truth, label))
        for label in NAMES
        if any((one.labels == label).any() for one in truth)
    ]
    whole = not np.isnan(off_mm).any()
    return Landing(_is_exact(found, truth), float(max(off_mm)) if whole else None)


def _middle_mm(slices: Sequence[Slice], label: int) -> NDArray[np.float64]:
    """The mean place of a label's pixels, LPS; NaN where there are none."""
    total, count = np.zeros(3), 0
    for one in slices:
        row, column = np.nonzero(one.labels == label)
        total += (one.affine @ [column, row, np.ones_like(row)]).sum(axis=1)
        count += len(row)
    return total / count if count else np.full(3, np.nan)


def _is_exact(found: Sequence[Slice], truth: Sequence[Slice]) -> bool:
    """Whether the labelled pixels are the truth's; the frames may be cut in another direction."""
    laid = [np.zeros_like(one.labels) for one in truth]
    return all(_lay(one, truth, laid) for one in found if one.labels.any()) and all(
        np.array_equal(labels, one.labels) for labels, one in zip(laid, truth, strict=True)
    )


def _lay(one: Slice, truth: Sequence[Slice], laid: Sequence[NDArray[np.uint8]]) -> bool:
    """Lay a frame's labelled pixels onto the slices that they lie in; False where one hits no pixel."""
    row, column = np.nonzero(one.labels)
    places = (one.affine @ [column, row, np.ones_like(row)]).T
    left = np.ones(len(row), bool)
    for to, labels in zip(truth, laid, strict=True):
        whole, off_mm = _nearest_pixels(places, to)
        hit = (off_mm < SAME_PLACE_MM) & (whole >= 0).all(axis=1) & (whole < labels.shape[::-1]).all(axis=1)
        labels[whole[hit, 1], whole[hit, 0]] = one.labels[row[hit], column[hit]]
        left &= ~hit
    return not left.any()


def _nearest_pixels(
    places_mm: NDArray[np.float64], to: Slice
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each place the nearest pixel of a slice, (column, row), and how far off its middle it is."""
    index = (places_mm - to.affine[:, 2]) @ np.linalg.pinv(to.affine[:, :2]).T
    whole = np.rint(index).astype(np.int64)
    middles_mm = whole @ to.affine[:, :2].T + to.affine[:, 2]
    return whole, np.linalg.norm(places_mm - middles_mm, axis=1)
