"""A colour picture as the Pixel Data of a DICOM object, plain or compressed without loss."""

import io
from contextlib import nullcontext
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from converter.explicit_vr import (
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    delimiter,
    pixel_data_header,
)

STRIP_OFFSETS: Final = 273
STRIP_BYTES: Final = 279
"""Tags of TIFF."""


_one_at_a_time = Lock()
"""pylibjpeg-openjpeg 2.6 ends the process when two threads encode (seen)."""


def photometric_of(syntax: UID) -> str:
    """The Photometric Interpretation of colour pictures (PS3.5 8.2.4: JPEG 2000 turns colours itself)."""
    return "YBR_RCT" if syntax == JPEG2000Lossless else "RGB"


def planar_configuration_of(syntax: UID) -> int:
    """1 where a segment holds one colour (PS3.5 G.2)."""
    return int(syntax == RLELossless)


def pixel_data(picture: NDArray[np.uint8], syntax: UID) -> list[bytes]:
    """The element Pixel Data of one picture, (rows, columns, 3), in parts."""
    if syntax == ExplicitVRLittleEndian:
        length = picture.nbytes + picture.nbytes % 2
        return [pixel_data_header("OB", length), picture.tobytes(), bytes(picture.nbytes % 2)]
    frame = _run_lengths(picture) if syntax == RLELossless else _compressed(picture, syntax)
    head = pixel_data_header("OB", UNDEFINED_LENGTH)
    return [head, encapsulate([frame], has_bot=True), delimiter(SEQUENCE_END)]


def _compressed(picture: NDArray[np.uint8], syntax: UID) -> bytes:
    from pydicom.pixels.encoders.base import get_encoder  # late: most pictures are not compressed

    with _one_at_a_time if syntax == JPEG2000Lossless else nullcontext():
        encoded: bytes = get_encoder(syntax).encode(
            np.ascontiguousarray(picture),
            rows=picture.shape[0],
            columns=picture.shape[1],
            samples_per_pixel=3,
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            photometric_interpretation=photometric_of(syntax),
            planar_configuration=0,
            number_of_frames=1,
        )
    return encoded


def _run_lengths(picture: NDArray[np.uint8]) -> bytes:
    """One segment a colour (PS3.5 G.2); PackBits of TIFF, row by row, as Pillow writes them."""
    segments = []
    for colour in range(3):
        packed = _packed(np.ascontiguousarray(picture[..., colour]))
        segments.append(packed + bytes(len(packed) % 2))
    offsets = np.zeros(16, "<u4")
    offsets[0] = 3
    offsets[1:4] = 64 + np.cumsum([0, *map(len, segments[:2])])
    return offsets.tobytes() + b"".join(segments)


def _packed(plane: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(plane).save(buffer, "TIFF", compression="packbits")
    written = buffer.getvalue()
    with Image.open(io.BytesIO(written)) as read:
        tags = read.tag_v2  # type: ignore[attr-defined]
        strips = zip(tags[STRIP_OFFSETS], tags[STRIP_BYTES], strict=True)
        return b"".join(written[begin : begin + length] for begin, length in strips)
