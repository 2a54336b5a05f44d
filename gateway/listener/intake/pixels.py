"""Whether the pixel data of an object is there as a whole, as its header says."""

from typing import BinaryIO, Final

from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from .attributes import header_text, header_texts, whole_number
from .refusals import Damaged

IMAGES_OF_USE = frozenset(
    {
        CTImageStorage,
        MRImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
    }
)
"""SOP classes whose instances can be slices of a volume."""
ELEMENT_HEADER_BYTES: Final = 12
"""Tag, representation and length of pixel data at their longest (PS3.5 7.1.2)."""
_FACTORS: Final = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0"


def check_may_lack_pixels(header: Dataset) -> None:
    """Make sure that an object without pixel data is none that has to have them.

    Raises
    ------
    Damaged
    """
    if header_text(header, "SOPClassUID") in IMAGES_OF_USE:
        raise Damaged("no_pixels", "the image has no pixel data; send it again")


def check_native_pixels(
    header: Dataset, transfer_syntax: UID, element_header: bytes, element_bytes: int
) -> None:
    """Make sure that native pixel data is as long as it says, and as the image's header says.

    Parameters
    ----------
    element_header
        The element's first `ELEMENT_HEADER_BYTES`.
    element_bytes
        How many bytes of the element, and of what follows, are there.

    Raises
    ------
    Damaged
    """
    order = "little" if transfer_syntax.is_little_endian else "big"
    value_at = 8 if transfer_syntax.is_implicit_VR else 12
    length = int.from_bytes(element_header[value_at - 4 : value_at], order)  # type: ignore[arg-type]
    present = element_bytes - value_at
    expected = _expected_pixel_bytes(header)
    if present < length or (expected is not None and length < expected):
        needed = max(length, expected or 0)
        raise Damaged(
            "pixels_cut_short", f"the pixel data has {min(present, length)} of {needed} bytes; send it again"
        )


def check_encapsulated_pixels(stream: BinaryIO, pixels_at: int) -> None:
    """Walk the items of encapsulated pixel data to their delimiter (PS3.5 A.4).

    Raises
    ------
    Damaged
    """
    stream.seek(pixels_at + ELEMENT_HEADER_BYTES)
    while (item := stream.read(8))[:4] == _ITEM:
        stream.seek(int.from_bytes(item[4:], "little"), 1)
    if item[:4] != _SEQUENCE_DELIMITER:
        raise Damaged("pixels_cut_short", "the compressed pixel data has no end; send it again")


def _expected_pixel_bytes(header: Dataset) -> int | None:
    """How many bytes native pixel data should have (PS3.5 8.1.1); None when the header does not say."""
    texts = header_texts(header, (*_FACTORS, "NumberOfFrames", "PhotometricInterpretation"))
    numbers = [whole_number(texts[keyword]) for keyword in _FACTORS]
    if any(n is None for n in numbers):
        return None
    rows, columns, samples, bits = (n or 0 for n in numbers)
    frames = whole_number(texts["NumberOfFrames"]) or 1
    if texts["PhotometricInterpretation"].startswith("YBR_FULL_422"):
        samples = 2
    return rows * columns * samples * frames * bits // 8
