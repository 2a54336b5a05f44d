"""A colour picture as the Pixel Data of a DICOM object, plain or compressed without loss."""

import io
from contextlib import nullcontext
from itertools import pairwise
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from converter.errors import EncodingFailed, is_the_machines
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
    """The element Pixel Data of one picture, (rows, columns, 3), in parts.

    What is compressed is read back, by another codec where there is one, and compared with what was drawn.

    Raises
    ------
    EncodingFailed
        It is not the same.
    """
    if syntax == ExplicitVRLittleEndian:
        length = picture.nbytes + picture.nbytes % 2
        return [pixel_data_header("OB", length), picture.tobytes(), bytes(picture.nbytes % 2)]
    frame = _run_lengths(picture) if syntax == RLELossless else _compressed(picture, syntax)
    if not np.array_equal(_decoded(frame, picture.shape, syntax), picture):
        raise EncodingFailed("a compressed picture does not read back as it was drawn; nothing was written")
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


def _decoded(frame: bytes, shape: tuple[int, ...], syntax: UID) -> NDArray[np.uint8]:
    """The picture of a compressed frame, (rows, columns, 3); any other array where that is damaged."""
    rows, columns = shape[:2]
    try:
        if syntax == RLELossless:
            offsets = [*np.frombuffer(frame, "<u4", 4)[1:].tolist(), len(frame)]
            colours = [
                Image.frombytes("L", (columns, rows), frame[begin:end], "packbits", "L")
                for begin, end in pairwise(offsets)
            ]
            return np.stack([np.asarray(colour) for colour in colours], axis=-1)
        if syntax == JPEG2000Lossless:
            with Image.open(io.BytesIO(frame)) as read:
                return np.asarray(read)
        return _by_pydicom(frame, rows, columns, syntax)
    except Exception as error:  # whatever a codec raises
        if is_the_machines(error):
            raise
        return np.zeros(0, np.uint8)


def _by_pydicom(frame: bytes, rows: int, columns: int, syntax: UID) -> NDArray[np.uint8]:
    from pydicom.pixels.decoders.base import get_decoder

    said: Any = {
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": 3,
        "bits_allocated": 8,
        "bits_stored": 8,
        "pixel_representation": 0,
        "photometric_interpretation": photometric_of(syntax),
        "planar_configuration": planar_configuration_of(syntax),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    decoded, _ = get_decoder(syntax).as_array(encapsulate([frame], has_bot=True), **said)
    return np.asarray(decoded, np.uint8)


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
