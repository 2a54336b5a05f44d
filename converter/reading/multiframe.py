"""A multi-frame image as single frames: for each a header as a single-frame image would have it.

What a frame's header says is spread over functional groups, shared by all frames or its own (PS3.3
C.7.6.16): sequences of one item each, one for the plane's position, one for its pixels' size, and so on. Here
they are laid flat, under the keywords that single-frame images use, so that whoever judges, chooses and names
images need not know of two kinds.
"""

from collections.abc import Iterable
from contextlib import suppress

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

from .headers import Finding, numbers_of

Elements = dict[BaseTag, DataElement | RawDataElement]


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return BaseTag(tag)


_SHARED, _PER_FRAME = _tag("SharedFunctionalGroupsSequence"), _tag("PerFrameFunctionalGroupsSequence")

_GROUPS = tuple(
    map(
        _tag,
        (
            # What single-frame images said, of an object that was made of them (PS3.3 C.7.6.16.2.25), first:
            # where a group says the same, the group counts.
            "UnassignedSharedConvertedAttributesSequence",
            "UnassignedPerFrameConvertedAttributesSequence",
            "FrameContentSequence",
            "PlanePositionSequence",
            "PlaneOrientationSequence",
            "PixelMeasuresSequence",
            "PixelValueTransformationSequence",
            "FrameVOILUTSequence",
            "TemporalPositionSequence",
            "CardiacSynchronizationSequence",
            "RespiratorySynchronizationSequence",
            "CTImageFrameTypeSequence",
            "CTAcquisitionTypeSequence",
            "CTAcquisitionDetailsSequence",
            "CTReconstructionSequence",
            "CTXRayDetailsSequence",
            "MRImageFrameTypeSequence",
            "MREchoSequence",
            "MRTimingAndRelatedParametersSequence",
            "MRModifierSequence",
            "MRDiffusionSequence",
            "PETFrameTypeSequence",
        ),
    )
)
"""Groups that are taken over; others (coils, anatomy, references, a vendor's own) say nothing of use here."""

_CALLED = {
    _tag(in_group): _tag(in_single)
    for in_group, in_single in {
        "FrameType": "ImageType",
        "EffectiveEchoTime": "EchoTime",
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "FrameAcquisitionDateTime": "AcquisitionDateTime",
        "NominalCardiacTriggerDelayTime": "TriggerTime",
        "InversionTimes": "InversionTime",
    }.items()
}
"""What a group's attribute is called in single-frame images."""

_OF_THE_OBJECT = frozenset(
    map(
        _tag,
        (
            "SharedFunctionalGroupsSequence",
            "PerFrameFunctionalGroupsSequence",
            "NumberOfFrames",
            "DimensionOrganizationSequence",
            "DimensionIndexSequence",
            "ImagePositionPatient",
            "SliceLocation",
            "InstanceNumber",
        ),
    )
)
"""Attributes of an object that say nothing of a single frame, also where it has them against the rules."""

_SHORT_BYTES = 1024


def frame_headers(header: Dataset) -> list[Dataset] | Finding:
    """Give each frame's header, in the order of the frames, or say why there are none.

    The headers share their elements' values with each other and with the object's: read them, and change
    nothing.
    """
    if _PER_FRAME not in header:
        return Finding(
            "multiframe",
            "a multi-frame image does not say where each of its frames lies; send single-frame images, or "
            "the enhanced multi-frame object with functional groups",
        )
    try:
        own = header[_PER_FRAME].value
        shared = header[_SHARED].value if _SHARED in header else []
        said = numbers_of(header, "NumberOfFrames", 1)
        if said is not None and said[0] != len(own):
            return Finding(
                "multiframe",
                f"a multi-frame image has {said[0]:.0f} frames and describes {len(own)}; send it again",
            )
        common = {**_of_the_object(header), **_flat(shared[:1])}
        return [single_header(header, {**common, **_flat([groups])}) for groups in own]
    except Exception:  # whatever a parser raises on malformed sequences
        return Finding("multiframe", "a multi-frame image's description of its frames cannot be read")


def single_header(header: Dataset, elements: Elements) -> Dataset:
    """A header of these elements that is read as the object's own is."""
    single = Dataset(elements)
    implicit, little_endian = header.original_encoding
    single.set_original_encoding(implicit, little_endian, header.original_character_set)
    if "file_meta" in header.__dict__:
        single.file_meta = header.file_meta
    if hasattr(header, "pixels_at"):
        single.pixels_at = header.pixels_at
    return single


def _of_the_object(header: Dataset) -> Elements:
    """What is said of all frames; short values are converted once for all of them."""
    elements: Elements = {}
    for element in list(header.values()):
        if element.tag in _OF_THE_OBJECT:
            continue
        is_short = isinstance(element, RawDataElement) and len(element.value or b"") <= _SHORT_BYTES
        if is_short and element.VR != "SQ":
            with suppress(Exception):  # malformed: it stays as it is, unreadable for whoever asks for it
                element = header[element.tag]
        elements[element.tag] = element
    return elements


def _flat(items: Iterable[Dataset]) -> Elements:
    elements: Elements = {}
    for groups in items:
        for tag in _GROUPS:
            if tag not in groups:
                continue
            for group in groups[tag].value[:1]:
                for element in group.values():
                    named = _CALLED.get(element.tag)
                    if named is None:
                        elements[element.tag] = element
                    else:
                        value = group[element.tag]
                        elements[named] = DataElement(named, value.VR, value.value, already_converted=True)
    return elements
