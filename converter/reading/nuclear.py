"""A reconstructed nuclear medicine tomogram as single frames (PS3.3 C.8.4); it has no functional groups.

The detector says where its first slice lies; the others follow along the normal, by a step whose sign says to
which side (C.8.4.15). Planar and whole-body images lie nowhere, and gated ones are time series.
"""

from contextlib import suppress

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag
from pydicom.uid import NuclearMedicineImageStorage

from .headers import Finding, numbers_of, plane_of, text_of
from .multiframe import Elements, single_header

_DETECTOR = BaseTag(0x00540022)
_POSITION, _ORIENTATION = BaseTag(0x00200032), BaseTag(0x00200037)


def is_nuclear(header: Dataset) -> bool:
    """Whether it is a nuclear medicine image."""
    return text_of(header, "SOPClassUID") == NuclearMedicineImageStorage


def slice_headers(header: Dataset) -> list[Dataset] | Finding:
    """Give each slice's header, in the order of the frames, or say why there are none."""
    kind = "".join(text_of(header, "ImageType").upper().split("\\")[2:3])
    if kind != "RECON TOMO":
        return Finding(
            "no_volume",
            "a nuclear medicine image that is no reconstructed tomogram (planar, whole body, gated or before "
            "reconstruction); send the reconstructed slices",
        )
    frames = numbers_of(header, "NumberOfFrames", 1) or (1.0,)
    numbers = numbers_of(header, "SliceVector", int(frames[0]))
    step = numbers_of(header, "SpacingBetweenSlices", 1)
    common = _with_the_place_of_the_first(header)
    plane = plane_of(single_header(header, common))
    if isinstance(plane, Finding):
        return plane
    if numbers is None or step is None or step[0] == 0:
        return Finding(
            "no_geometry",
            "a nuclear medicine tomogram does not say how its slices follow each other (Slice Vector, "
            "Spacing Between Slices); a volume cannot be built of it",
        )
    headers = []
    for number in numbers:
        place = plane.position_mm + (number - 1) * step[0] * plane.normal
        position = DataElement(_POSITION, "FD", np.asarray(place).tolist(), already_converted=True)
        headers.append(single_header(header, {**common, _POSITION: position}))
    return headers


def _with_the_place_of_the_first(header: Dataset) -> Elements:
    elements: Elements = {element.tag: element for element in header.values() if element.tag != _DETECTOR}
    with suppress(Exception):  # whatever a parser raises on a malformed sequence: the place is missing then
        detector = header[_DETECTOR].value[0]
        elements |= {tag: detector[tag] for tag in (_POSITION, _ORIENTATION)}
    return elements
