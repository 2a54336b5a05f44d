"""The whole way, for the properties: DICOM, NIfTI, label map, DICOM-SEG, back; with readers of their own.

Headers are read by pydicom, segmentations by highdicom: neither by the converter.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest

from converter.nifti import conversion
from converter.nifti.conversion import convert_volume
from converter.results.settings import Algorithm
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import Volume
from converter.terminology import Code
from converter.voxels.geometry import LPS_FROM_RAS, labels_on_frames
from converter.voxels.grid import even_volume
from tests.property.made_up_series import Phantom, places_by_uid, written

NAMES = {value: f"part {value}" for value in range(1, 256)}
SETTINGS = SegmentationSettings(
    sop_instance_uid="2.25.1",
    series_uid="2.25.2",
    series_number=9003,
    series_description="made up (research use)",
    made_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    task="tissue",
    algorithm=Algorithm("threshold tissue", "1.0.0", Code("123104", "DCM", "Morphological Operations")),
)


@dataclass(frozen=True)
class Work:
    """A series in a folder, and what became of it."""

    folder: Path
    volume: Volume
    image: Any

    @property
    def voxels_mm(self) -> np.ndarray:
        """Where the NIfTI's voxels are: (i, j, k, 3), LPS."""
        index = np.stack([*np.indices(self.image.shape), np.ones(self.image.shape)], -1)
        return np.asarray(index @ (LPS_FROM_RAS @ self.image.affine).T)[..., :3]

    def returned(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Labels on the NIfTI's grid as label map, as segmentation, and read from it: a plane an image."""
        nib.save(nib.Nifti1Image(labels.astype(np.uint8), self.image.affine), self.folder / "labels.nii")
        return self.encoded(self.folder / "labels.nii")

    def encoded(self, labels: Path) -> dict[str, np.ndarray]:
        on_frames = labels_on_frames(labels, self.volume)
        encode_segmentation(self.volume, on_frames, NAMES, SETTINGS, self.folder / "seg.dcm")
        seg = hd.seg.segread(self.folder / "seg.dcm")
        uids = list(places_by_uid(self.folder / "dicom"))
        planes = seg.get_pixels_by_source_instance(
            uids, combine_segments=True, assert_missing_frames_are_empty=True
        )
        return dict(zip(uids, label_values(seg)[planes], strict=True))

    def on_even_grid(self, labels: Path) -> tuple[np.ndarray, np.ndarray]:
        """Labels as a segmentation on an even grid: what it shows, and where that is by its own header.

        (frames, rows, columns), and of that (..., 3) in LPS mm.
        """
        even = even_volume(self.volume)
        encode_segmentation(even, labels_on_frames(labels, even), NAMES, SETTINGS, self.folder / "even.dcm")
        seg = hd.seg.segread(self.folder / "even.dcm")
        shared = seg.SharedFunctionalGroupsSequence[0]
        row, column = numbers(shared.PlaneOrientationSequence[0].ImageOrientationPatient).reshape(2, 3)
        spacing = numbers(shared.PixelMeasuresSequence[0].PixelSpacing)
        groups = seg.PerFrameFunctionalGroupsSequence
        first = np.array([numbers(each.PlanePositionSequence[0].ImagePositionPatient) for each in groups])
        rows, columns = np.mgrid[: seg.Rows, : seg.Columns][..., None]
        places = first[:, None, None] + rows * spacing[0] * column + columns * spacing[1] * row
        return seg.pixel_array.reshape(places.shape[:3]) > 0, places


def numbers(values: Any) -> np.ndarray:
    """Decimal strings as numbers."""
    return np.array([float(value) for value in values])


def label_values(seg: hd.seg.Segmentation) -> np.ndarray:
    """Segment number to label value, by the segment's name."""
    values = np.zeros(256, np.uint8)
    for segment in seg.SegmentSequence:
        values[segment.SegmentNumber] = int(segment.TrackingID.removeprefix("part "))
    return values


def work_on(phantom: Phantom, folder: str, *, noise: bool = False) -> Work:
    """Series of an odd number of slices are converted as large ones are, a part at a time."""
    volume = written(phantom, Path(folder) / "dicom", noise=noise)
    with pytest.MonkeyPatch.context() as small_parts:
        if len(volume.frames) % 2:
            small_parts.setattr(conversion, "PART_PIXELS", 5 * volume.rows * volume.columns)
            small_parts.setattr(conversion, "FEWEST_FRAMES", 4)
        convert_volume(volume, Path(folder) / "input.nii")
    return Work(Path(folder), volume, in_memory(Path(folder) / "input.nii"))


def in_memory(path: Path) -> Any:
    image: Any = nib.load(path)
    return nib.Nifti1Image(np.asanyarray(image.dataobj).copy(), image.affine)


def stacked(planes: dict[str, np.ndarray], like: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([planes[uid] for uid in like])
