"""Whether a file that was put is a NIfTI image, by its first bytes: before a machine is paid for it.

NIfTI-1 and NIfTI-2 begin with the size of their header, in either byte order, and say "n+1" or "n+2" where
image and header are one file (nifti1.h, nifti2.h).
"""

import zlib
from typing import Final

ENOUGH_BYTES: Final = 1 << 16
"""A compressed header fits in there many times over."""
_GZIP: Final = b"\x1f\x8b"
_WHOLE_HEADER: Final = 544
_KINDS: Final = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}
"""The header's size, and where it says what it is."""


def why_no_image(beginning: bytes) -> str:
    """Why these are not the first bytes of an image that the job reads; empty where they are.

    Parameters
    ----------
    beginning
        The first `ENOUGH_BYTES` of the file, or all where it is shorter.
    """
    if not beginning.startswith(_GZIP):
        return "the file is not compressed; send it as .nii.gz (gzip)"
    try:
        header = zlib.decompressobj(wbits=31).decompress(beginning, _WHOLE_HEADER)
    except zlib.error:
        return "the file is damaged: it cannot be unpacked; compress it again (gzip)"
    for size, (at, magic) in _KINDS.items():
        is_this = size in (int.from_bytes(header[:4], "little"), int.from_bytes(header[:4], "big"))
        if is_this and header[at : at + 4] == magic:
            return ""
    return "the file is no NIfTI image of one file (.nii.gz); convert it, then upload the result"
