"""Parts of result objects as bytes, for what is composed without objects: many frames, many pictures.

As pydicom's objects such parts take most of the time that writing takes (`converter.explicit_vr`).
"""

from collections.abc import Sequence
from typing import Final

from pydicom import Dataset
from pydicom.charset import default_encoding, encode_string
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info

from converter.explicit_vr import element, sequence, text_element
from converter.reading.mosaic import TILED
from converter.series import Frame, Volume
from converter.terminology import Code

SEGMENTATION: Final = Code("113076", "DCM", "Segmentation")
"""How results are derived of images (PS3.16 CID 7203)."""
SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
"""What a referenced image is for (PS3.16 CID 7202)."""

LONGEST_CODE_VALUE: Final = 16
"""PS3.5 6.2, value representation SH; a longer one is a Long Code Value."""


def element_bytes(dataset: Dataset, encodings: list[str]) -> bytes:
    """Elements as pydicom writes them, explicit VR little endian; `encodings` are Python's names."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset, encodings)
    return buffer.getvalue()


def meta_bytes(meta: FileMetaDataset) -> bytes:
    """The File Meta Information (PS3.10 7.1), without the preamble."""
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()


def coded(tag: int, code: Code, more: bytes = b"", encodings: Sequence[str] = (default_encoding,)) -> bytes:
    """A sequence with one coded concept (PS3.3 8.8), and in its item what modifies that.

    Parameters
    ----------
    encodings
        Python's names of the object's character sets: a structure's name may be in any.
    """
    is_long = len(code.value) > LONGEST_CODE_VALUE
    value = b"" if is_long else text_element(0x00080100, "SH", code.value)
    meaning = element(0x00080104, "LO", encode_string(code.meaning, encodings))
    long_value = text_element(0x00080119, "UC", code.value) if is_long else b""
    return sequence(tag, [value + text_element(0x00080102, "SH", code.scheme) + meaning + long_value + more])


def instances_of(volume: Volume) -> list[Frame]:
    """One frame for each instance: those of a multi-frame image share theirs."""
    return list({frame.sop_instance_uid: frame for frame in volume.frames}.values())


def reference(frame: Frame) -> bytes:
    """The elements that name an instance (PS3.3 10.8)."""
    return text_element(0x00081150, "UI", frame.sop_class_uid) + text_element(
        0x00081155, "UI", frame.sop_instance_uid
    )


def frame_named(volume: Volume, frame: Frame) -> int | None:
    """The number by which a frame is named in its object; the tiles of a mosaic are no frames."""
    return None if volume.has_finding(TILED.code) else frame.frame_number


def source_image(volume: Volume, number: int, said: bytes = b"") -> bytes:
    """The item of a Source Image Sequence for one frame (PS3.3 C.7.6.1.1.4); `said` stands in it too."""
    frame = volume.frames[number]
    named = frame_named(volume, frame)
    frame_number = b"" if named is None else text_element(0x00081160, "IS", str(named))
    return reference(frame) + frame_number + said + coded(0x0040A170, SOURCE_IMAGE)


def referenced_series(volume: Volume, references: Sequence[bytes]) -> bytes:
    """The Common Instance Reference Module (PS3.3 C.12.2)."""
    series = sequence(0x0008114A, references) + text_element(0x0020000E, "UI", volume.series_uid)
    return sequence(0x00081115, [series])
