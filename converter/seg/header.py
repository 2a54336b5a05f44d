"""All of a segmentation but its frames: highdicom makes and validates it, on one stand-in for its sources.

highdicom's time goes with source images and frames, so it is shown one source image of one pixel. What it
would have made of all of them (references, spacing, organisation) is made here; a test compares the whole
object with highdicom's own.
"""

from collections.abc import Sequence
from datetime import UTC, timedelta, timezone, tzinfo
from importlib import metadata

import highdicom as hd
import numpy as np
from highdicom.spatial import get_volume_positions
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from converter.geometry import positions_lps_mm
from converter.series import Volume
from converter.source_header import first_source_header, take_over
from converter.terminology import Structure
from converter.uids import derived_uid

from .segments import private_scheme, segment_descriptions
from .settings import MANUFACTURER, MODEL_NAME, SegmentationSettings, SegmentationType


def segmentation_header(
    volume: Volume,
    values: Sequence[int],
    structures: Sequence[Structure],
    used_frames: NDArray[np.int64],
    settings: SegmentationSettings,
    *,
    is_overlapping: bool = False,
) -> Dataset:
    """Make the object with the functional groups of a single frame, as a pattern for all others.

    Parameters
    ----------
    volume
        With the rows, columns and positions of the frames to be written.
    values, structures
        The engine's number and the description of each segment.
    used_frames
        The volume's frames on which anything is, in the order of writing.
    """
    source = first_source_header(volume)
    source.Rows = source.Columns = 1
    source.SOPClassUID = CTImageStorage  # one frame, whatever the sources are; references are made elsewhere
    seg: Dataset = hd.seg.Segmentation(
        source_images=[source],
        specific_character_set=None,  # taken over below: highdicom refuses some that the standard allows
        pixel_array=np.ones((1, 1, 1), np.uint8),
        segmentation_type=settings.encoding.type.value,
        segment_descriptions=segment_descriptions(values, structures, volume, settings),
        series_instance_uid=settings.series_uid,
        series_number=settings.series_number,
        sop_instance_uid=settings.sop_instance_uid,
        instance_number=settings.instance_number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=metadata.version("iris-gateway"),
        device_serial_number="1",
        content_label="SEGMENTATION",
        content_description=settings.task[:64],
        content_creator_name="Gateway^IRIS",
        series_description=settings.series_description,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    seg.file_meta.TransferSyntaxUID = settings.encoding.syntax
    seg.Rows, seg.Columns = volume.rows, volume.columns
    if settings.encoding.type is SegmentationType.LABELMAP:
        # Background is what Pixel Padding Value says (Supplement 243). An item for it would shift the colours
        # of all others in OHIF, although PS3.3 C.8.20.2.3.3 wants one for each value that pixels have.
        seg.SegmentSequence = seg.SegmentSequence[1:]
    if is_overlapping:
        seg.SegmentsOverlap = "YES"
    if settings.encoding.is_cropped:
        pattern = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
        pattern.SourceImageSequence[0].SpatialLocationsPreserved = "NO"
    _add_spacing(seg, volume, used_frames)
    take_over(volume, seg)
    _make_deterministic(seg, settings)
    if any(found.is_private for found in structures):
        seg.CodingSchemeIdentificationSequence = [private_scheme()]
    return seg


def _add_spacing(seg: Dataset, volume: Volume, used_frames: NDArray[np.int64]) -> None:
    """The distance between slices, and whether frames make a 3D volume (PS3.3 C.7.6.16.2.1, C.7.6.17)."""
    positions = positions_lps_mm(volume)
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing_mm, _ = get_volume_positions(positions.tolist(), volume.orientation_lps)
    if spacing_mm is None:
        measures.pop("SpacingBetweenSlices", None)
    else:
        measures.SpacingBetweenSlices = format_number_as_ds(float(spacing_mm))
    seg.pop("DimensionOrganizationType", None)
    if len(used_frames) > 1 and not names_segments(seg):
        used_mm, _ = get_volume_positions(positions[used_frames].tolist(), volume.orientation_lps, sort=False)
        if used_mm is not None and used_mm > 0:
            seg.DimensionOrganizationType = "3D"


def names_segments(seg: Dataset) -> bool:
    """Whether each frame says which segment it shows: not in a label map, nor where there is one only."""
    return seg.SegmentationType == SegmentationType.BINARY and len(seg.SegmentSequence) > 1


def _make_deterministic(seg: Dataset, settings: SegmentationSettings) -> None:
    """Replace what highdicom takes from the clock and from chance.

    Times are in the source's time zone where it names one, since that counts for the study's date and time
    too (PS3.3 C.12.1.1.8); else in UTC.
    """
    made_at = settings.made_at.astimezone(_time_zone(seg))
    day, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S.%f")
    for prefix in ("Content", "Series", "InstanceCreation"):
        setattr(seg, f"{prefix}Date", day)
        setattr(seg, f"{prefix}Time", time)
    for equipment in seg.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S.%f%z")
    organization = derived_uid(settings.sop_instance_uid, "dimension organization")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _time_zone(seg: Dataset) -> tzinfo:
    offset = str(seg.get("TimezoneOffsetFromUTC") or "")
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
