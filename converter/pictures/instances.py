"""A picture as an object: Secondary Capture (PS3.3 A.8.1) that says where in the patient it lies.

What all pictures of a series share is composed once; a series has hundreds of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config
from pydicom.charset import convert_encodings
from pydicom.tag import Tag
from pydicom.uid import UID, SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds

from converter.explicit_vr import GROUP_LENGTH, PREAMBLE, element, elements, sequence, text_element
from converter.results.bytes import (
    SEGMENTATION,
    element_bytes,
    instances_of,
    meta_bytes,
    reference,
    referenced_series,
    source_image,
)
from converter.results.header import (
    ObjectKind,
    add_frame_of_reference,
    add_lossy_compression,
    code_item,
    of_this_header,
    result_header,
)
from converter.results.settings import ResultSettings
from converter.series import Volume
from converter.source_header import source_header

from .codecs import photometric_of, pixel_data, planar_configuration_of
from .planes import patient_orientation

_META_UID: Final = 0x00020003
_OWN: Final = {
    "SOPInstanceUID": 0x00080018,
    "ReferencedSeriesSequence": 0x00081115,
    "SourceImageSequence": 0x00082112,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
}
"""What differs from picture to picture; the pixels come last."""


def result_object(volume: Volume, settings: ResultSettings, kind: ObjectKind) -> Dataset:
    """Begin an object with what its source says of patient and study.

    Raises
    ------
    EncodingFailed
        It cannot be made with this series' header.
    """
    with of_this_header("a picture"):
        return result_header(source_header(volume), settings, kind)


def picture_header(
    volume: Volume, settings: ResultSettings, shape: tuple[int, int], syntax: UID, derivation: str
) -> Dataset:
    """What is said of a colour picture of this size, whatever it shows.

    Raises
    ------
    EncodingFailed
        It cannot be said with this series' header.
    """
    picture = result_object(volume, settings, ObjectKind(SecondaryCaptureImageStorage, "OT", syntax))
    add_lossy_compression(picture, source_header(volume))
    picture.Laterality = ""
    picture.ConversionType, picture.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    picture.BurnedInAnnotation = "NO"  # nothing that tells who it is (PS3.3 C.7.6.1.1)
    picture.DerivationDescription = derivation
    picture.DerivationCodeSequence = [code_item(SEGMENTATION)]
    picture.Rows, picture.Columns = shape
    picture.SamplesPerPixel, picture.PhotometricInterpretation = 3, photometric_of(syntax)
    picture.PlanarConfiguration = planar_configuration_of(syntax)
    picture.BitsAllocated = picture.BitsStored = 8
    picture.HighBit, picture.PixelRepresentation = 7, 0
    return picture


def add_plane(
    picture: Dataset,
    volume: Volume,
    orientation_lps: Sequence[float],
    pixel_spacing_mm: tuple[float, float],
    thickness_mm: float | None,
) -> None:
    """Say where pictures lie (PS3.3 C.7.6.2), all but their positions."""
    source = source_header(volume)
    add_frame_of_reference(picture, source)
    picture.PatientOrientation = patient_orientation(orientation_lps)
    picture.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in orientation_lps]
    picture.PixelSpacing = [format_number_as_ds(float(value)) for value in pixel_spacing_mm]
    picture.SliceThickness = (
        source.SliceThickness if thickness_mm is None else format_number_as_ds(float(thickness_mm))
    )


def add_references(result: Dataset, volume: Volume, keyword: str) -> None:
    """Name all source images in a sequence, and in the Common Instance Reference Module (PS3.3 C.12.2)."""
    references = []
    for frame in instances_of(volume):
        item = Dataset()
        item.ReferencedSOPClassUID = frame.sop_class_uid
        item.ReferencedSOPInstanceUID = frame.sop_instance_uid
        references.append(item)
    setattr(result, keyword, references)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = volume.series_uid, references
    result.ReferencedSeriesSequence = [series]


@dataclass(frozen=True)
class OwnFacts:
    """What differs from picture to picture; `position_lps_mm` None for one that lies nowhere."""

    sop_instance_uid: str
    number: int
    sources: Sequence[int]
    position_lps_mm: tuple[float, float, float] | None = None


class Instances:
    """Composes the objects of a series.

    Parameters
    ----------
    shared
        Of `picture_header`.
    """

    def __init__(self, shared: Dataset, volume: Volume) -> None:
        self._volume, self._instances = volume, instances_of(volume)
        self._meta = _around_uid(meta_bytes(shared.file_meta))
        self._syntax = UID(str(shared.file_meta.TransferSyntaxUID))
        self.sop_class_uid = str(shared.SOPClassUID)
        encodings = convert_encodings(shared.get("SpecificCharacterSet"))
        self._parts: list[bytes] = []
        begin = 0
        with config.disable_value_validation():
            for tag in (*_OWN.values(), 0x7FE00010):
                self._parts.append(element_bytes(shared[Tag(begin) : Tag(tag)], encodings))
                begin = tag + 1

    @cached_property
    def _all(self) -> tuple[bytes, bytes]:
        """What a picture of all frames refers to."""
        return self._referring(range(len(self._volume.frames)))

    def file(self, own: OwnFacts, picture: NDArray[np.uint8]) -> list[bytes]:
        """The file of one picture, (rows, columns, 3), in parts."""
        everything = len(own.sources) == len(self._volume.frames)
        series, sources = self._all if everything else self._referring(own.sources)
        position = b""
        if own.position_lps_mm is not None:
            numbers = [format_number_as_ds(value) for value in own.position_lps_mm]
            position = text_element(_OWN["ImagePositionPatient"], "DS", *numbers)
        uid = text_element(_OWN["SOPInstanceUID"], "UI", own.sop_instance_uid)
        number = text_element(_OWN["InstanceNumber"], "IS", str(own.number))
        varying = (uid, series, sources, number, position, b"")
        data = [part for pair in zip(self._parts, varying, strict=True) for part in pair]
        return [PREAMBLE, self._meta_of(own.sop_instance_uid), *data, *pixel_data(picture, self._syntax)]

    def _meta_of(self, sop_instance_uid: str) -> bytes:
        """The File Meta Information (PS3.10 7.1)."""
        uid = text_element(_META_UID, "UI", sop_instance_uid)
        length = len(self._meta[0]) + len(uid) + len(self._meta[1])
        return element(GROUP_LENGTH, "UL", length.to_bytes(4, "little")) + self._meta[0] + uid + self._meta[1]

    def _referring(self, numbers: Sequence[int]) -> tuple[bytes, bytes]:
        """Referenced Series and Source Image Sequence."""
        volume = self._volume
        names = {volume.frames[number].sop_instance_uid for number in numbers}
        instances = [frame for frame in self._instances if frame.sop_instance_uid in names]
        items = [source_image(volume, number) for number in numbers]
        return (
            referenced_series(volume, [reference(frame) for frame in instances]),
            sequence(_OWN["SourceImageSequence"], items),
        )


def _around_uid(meta: bytes) -> tuple[bytes, bytes]:
    """What stands in the File Meta Information between its length and the object's UID, and behind that."""
    parts = {part.tag: part for part in elements(meta, 0, len(meta))}
    uid = parts[_META_UID]
    return meta[parts[GROUP_LENGTH].end : uid.begin], meta[uid.end :]
