"""The image library (TID 1600): which images were measured, and what they have in common."""

from collections.abc import Iterator

from converter.reading.headers import text_of
from converter.series import Volume
from converter.source_header import source_header

from . import concepts
from .items import Items, Relation

LIBRARY = "1600"


def image_library(items: Items, volume: Volume) -> bytes:
    """One group of all images, each object once; what is said of all stands at the group (TID 1602)."""
    uids = dict.fromkeys((frame.sop_class_uid, frame.sop_instance_uid) for frame in volume.frames)
    images = (items.image(concepts.SOURCE, *each) for each in uids)
    group = items.container(concepts.IMAGE_LIBRARY_GROUP, [*_descriptors(items, volume), *images])
    return items.container(concepts.IMAGE_LIBRARY, [group], LIBRARY)


def _descriptors(items: Items, volume: Volume) -> Iterator[bytes]:
    context = Relation.HAS_ACQUISITION_CONTEXT
    modality = text_of(volume.header, "Modality")
    if modality:
        yield items.code(context, concepts.MODALITY, concepts.modality_code(modality))
    uid = str(source_header(volume).FrameOfReferenceUID)
    yield items.uid(context, concepts.FRAME_OF_REFERENCE_UID, uid)
    row_mm, column_mm = volume.pixel_spacing_mm
    for name, number, unit in (
        (concepts.ROWS, volume.rows, concepts.PIXELS),
        (concepts.COLUMNS, volume.columns, concepts.PIXELS),
        (concepts.HORIZONTAL_SPACING, column_mm, concepts.MILLIMETRE),
        (concepts.VERTICAL_SPACING, row_mm, concepts.MILLIMETRE),
    ):
        yield items.number(context, name, number, unit)
