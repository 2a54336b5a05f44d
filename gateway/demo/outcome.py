"""What came back: the segmentations fetched from the PACS, their volumes, and a picture of each.

Everything here is made from the DICOM-SEG that the PACS gives back and the source images, never from the
label map that the engine wrote: what is shown is what a radiologist's viewer would get.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread

from converter.seg.decoder import read_segmentation
from converter.seg.settings import SOP_CLASSES
from converter.series import Volume, volume_of
from gateway.adapters.dicom.peer import Peer

from .children import DemoError
from .picture import draw_segmentation
from .retrieval import find, get
from .workplace import Study


@dataclass(frozen=True)
class Segment:
    """One segment and how much of it there is."""

    number: int
    name: str
    volume_ml: float


@dataclass(frozen=True)
class Outcome:
    """One segmentation as it came back."""

    path: Path
    description: str
    segments: tuple[Segment, ...]
    picture: Path


@dataclass(frozen=True)
class NewSeries:
    """A series that the PACS has of the study, beyond those that it came with."""

    series_uid: str
    modality: str
    description: str


def find_new_series(peer: Peer, calling_ae_title: str, study: Study) -> list[NewSeries]:
    """What came back, in the order of its numbers.

    Raises
    ------
    NotReached, DemoError
        The PACS cannot be asked, or has nothing new.
    """
    keys = dict.fromkeys(("SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber"), "")
    found = find(peer, calling_ae_title, "SERIES", StudyInstanceUID=study.study_uid, **keys)
    new = [
        NewSeries(str(one.SeriesInstanceUID), str(one.get("Modality")), str(one.get("SeriesDescription", "")))
        for one in sorted(found, key=lambda one: int(one.get("SeriesNumber") or 0))
        if str(one.SeriesInstanceUID) not in study.series_uids
    ]
    if not new:
        raise DemoError("the gateway says delivered, but the PACS shows no result of this study")
    return new


def fetch_segmentations(
    peer: Peer, calling_ae_title: str, study: Study, series: list[NewSeries], folder: Path
) -> list[Path]:
    """Fetch the segmentations among these series.

    Raises
    ------
    NotReached, DemoError
    """
    fetched: list[Path] = []
    for series_uid in (one.series_uid for one in series if one.modality == "SEG"):
        fetched += get(
            peer,
            calling_ae_title,
            folder,
            sop_class_uids=list(SOP_CLASSES.values()),
            study_uid=study.study_uid,
            series_uid=series_uid,
        )
    return fetched


def show_segmentation(path: Path, study: Study, picture: Path, caption: str) -> Outcome:
    """Measure one fetched segmentation and draw it on its source images.

    Parameters
    ----------
    path
        The segmentation as fetched.
    picture
        Where the PNG goes.

    Raises
    ------
    ConverterError
        The source images are no volume, or the segmentation does not fit them.
    DemoError
        It refers to images that are not part of the study.
    """
    header = dcmread(path, stop_before_pixels=True)
    volume = _source_of(path, study)
    description = str(header.get("SeriesDescription", "segmentation"))
    draw_segmentation(path, volume, picture, title=description, caption=caption)
    return Outcome(path, description, _measure(path, volume), picture)


def _source_of(path: Path, study: Study) -> Volume:
    header = dcmread(path, specific_tags=["ReferencedSeriesSequence"])
    uids = [
        str(instance.ReferencedSOPInstanceUID)
        for series in header.get("ReferencedSeriesSequence", [])
        for instance in series.ReferencedInstanceSequence
    ]
    missing = [uid for uid in uids if uid not in study.file_of_instance]
    if missing or not uids:
        raise DemoError(f"the segmentation refers to {len(missing)} images that are not part of the study")
    return volume_of([study.file_of_instance[uid] for uid in uids])


def _measure(path: Path, volume: Volume) -> tuple[Segment, ...]:
    """Volumes by counting voxels; the voxel is the source's pixel times its slice spacing."""
    read = read_segmentation(path, volume)
    counts = np.bincount(read.numbers.ravel(), minlength=256)
    row_mm, column_mm = volume.pixel_spacing_mm
    voxel_ml = row_mm * column_mm * volume.slice_spacing_mm / 1000.0
    return tuple(
        Segment(segment.number, segment.label, float(counts[segment.number]) * voxel_ml)
        for segment in read.segments
    )
