"""One plane of a segmentation as the bytes of a compressed frame, and back, for what we write.

RLE is written and read here, since label maps are nearly all runs and NumPy finds these at once; JPEG-LS and
whatever others use is left to highdicom's and pydicom's codecs.
"""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from converter.errors import is_the_machines

from .planes import run_starts

DEFLATED_IMAGE_FRAME: Final = UID("1.2.840.10008.1.2.8.1")
"""Deflated Image Frame Compression (PS3.5 A.4.13); not in pydicom's dictionary."""

NATIVE: Final = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
"""Pixel data is one value in these (PS3.5 A.1 to A.3, A.5)."""

DEFLATE_LEVEL: Final = 1
"""Masks are mostly empty: the next levels take twice as long for a few per cent."""
LONGEST_RUN: Final = 128
RLE_HEADER: Final = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
"""One segment, which begins behind the header (PS3.5 G.5)."""


class UndecodableFrame(ValueError):
    """A frame's bytes are damaged, or no codec knows them."""


def is_encapsulated(syntax: UID) -> bool:
    """Whether pixel data is frames in fragments; pydicom says that only of what its dictionary has."""
    return syntax not in NATIVE


def raw_deflate() -> "zlib._Compress":
    """A compressor to RFC 1951, without zlib's header (PS3.5 A.4.13, A.5)."""
    return zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def encode_plane(plane: NDArray[np.uint8], syntax: UID) -> bytes:
    """Compress a plane of 8 bit numbers, (rows, columns)."""
    if syntax == RLELossless:
        return _run_lengths(plane)
    if syntax == DEFLATED_IMAGE_FRAME:
        return deflate_frame(plane.tobytes())
    from highdicom.frame import encode_frame  # late: most of what is read and written does without

    encoded: bytes = encode_frame(
        np.ascontiguousarray(plane),
        transfer_syntax_uid=syntax,
        bits_allocated=8,
        bits_stored=8,
        photometric_interpretation="MONOCHROME2",
        pixel_representation=0,
    )
    return encoded


def decode_plane(content: bytes, shape: tuple[int, int], syntax: UID) -> NDArray[np.uint8]:
    """Decompress a plane of 8 bit numbers.

    Raises
    ------
    UndecodableFrame
    """
    if syntax == DEFLATED_IMAGE_FRAME:
        return _plane_of(inflate_frame(content, shape[0] * shape[1]), shape)
    if syntax == RLELossless:
        plane = _from_run_pairs(content, shape)
        if plane is not None:
            return plane
    from highdicom.frame import decode_frame

    try:
        decoded = decode_frame(
            content,
            transfer_syntax_uid=syntax,
            rows=shape[0],
            columns=shape[1],
            samples_per_pixel=1,
            bits_allocated=8,
            bits_stored=8,
            photometric_interpretation="MONOCHROME2",
            pixel_representation=0,
        )
    except Exception as error:  # whatever a codec raises on bytes from outside
        if is_the_machines(error):
            raise
        raise UndecodableFrame("a frame cannot be decoded") from None
    return np.asarray(decoded, np.uint8).reshape(shape)


def deflate_frame(content: bytes) -> bytes:
    """Compress one frame (PS3.5 A.4.13)."""
    compressor = raw_deflate()
    return compressor.compress(content) + compressor.flush()


def inflate_frame(content: bytes, size: int) -> bytes:
    """Decompress one frame of `size` bytes.

    Raises
    ------
    UndecodableFrame
    """
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
    except zlib.error:
        raise UndecodableFrame("a frame cannot be inflated") from None
    if len(inflated) != size:
        raise UndecodableFrame("a frame has another size than its rows and columns")
    return inflated


def _plane_of(content: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8).reshape(shape)


# -- run lengths (PS3.5 G) ----------------------------------------------------------------------------------


def _run_lengths(plane: NDArray[np.uint8]) -> bytes:
    """Every run as a count and a value; one of a single pixel is a literal, two bytes as well (PS3.5 G.3)."""
    flat = np.ascontiguousarray(plane).ravel()
    starts = run_starts(flat, plane.shape[1])  # runs do not go on over rows (PS3.5 G.3.1)
    lengths = np.diff(starts, append=flat.size)
    pieces = -(-lengths // LONGEST_RUN)
    counts = np.full(int(pieces.sum()), LONGEST_RUN)
    counts[np.cumsum(pieces) - 1] = lengths - LONGEST_RUN * (pieces - 1)
    pairs = np.empty((counts.size, 2), np.uint8)
    pairs[:, 0] = (257 - counts) & 0xFF
    pairs[:, 1] = np.repeat(flat[starts], pieces)
    return RLE_HEADER + pairs.tobytes()


def _from_run_pairs(content: bytes, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode what consists of runs and literals of one only, as written here; None for anything else."""
    if content[:8] != RLE_HEADER[:8]:
        return None
    stream = np.frombuffer(content, np.uint8, offset=len(RLE_HEADER))
    pairs = stream[: stream.size // 2 * 2].reshape(-1, 2)
    counts, values = pairs[:, 0], pairs[:, 1]
    if ((counts > 0) & (counts <= 128)).any():
        return None
    lengths = np.where(counts == 0, 1, 257 - counts.astype(np.int64))
    if lengths.sum() != shape[0] * shape[1]:
        return None
    return np.repeat(values, lengths).reshape(shape)
