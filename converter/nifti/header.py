"""The header of a NIfTI file that somebody gives: read as it stands, or refused with what is wrong."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

from ..errors import UnusableImage

_GZIP: Final = b"\x1f\x8b"
_BROKEN: Final[tuple[type[Exception], ...]] = (EOFError, zlib.error, cast(Any, isal_zlib.error))


@contextmanager
def telling_what_is_wrong() -> Iterator[None]:
    """Whatever is raised on a file's bytes is an UnusableImage, one sentence; the disk's errors stay."""
    try:
        yield
    except _BROKEN:
        raise UnusableImage("the file is damaged: what is compressed in it cannot be unpacked") from None
    except (HeaderDataError, HeaderTypeError, KeyError, ValueError, OverflowError):
        raise UnusableImage("the file's header is damaged, or it is no NIfTI image") from None
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's, not the file's
        raise UnusableImage("the file is damaged: what is compressed in it cannot be unpacked") from None


def is_gzipped(source: BinaryIO) -> bool:
    """Whether it begins as gzip does, whatever its name is."""
    begin = source.read(len(_GZIP))
    source.seek(0)
    return begin == _GZIP


def unpacked(source: BinaryIO) -> BinaryIO:
    """What is in a file, gzipped or not; it can seek."""
    return cast(BinaryIO, igzip.IGzipFile(fileobj=source, mode="rb")) if is_gzipped(source) else source


def read_header(stream: BinaryIO) -> Any:
    """The header as nibabel has it: NIfTI-1 or NIfTI-2, in either byte order, one file."""
    start = stream.read(4)
    sizes = {int.from_bytes(start, order) for order in ("little", "big")}
    kind = nib.Nifti1Header if 348 in sizes else nib.Nifti2Header if 540 in sizes else None
    if kind is None:
        raise UnusableImage("the file is no NIfTI image (.nii or .nii.gz)")
    content = start + exactly(stream, kind.sizeof_hdr - 4)
    header: Any = cast(Any, kind)(content, check=False)
    if bytes(header["magic"].item())[:2] != b"n+":
        raise UnusableImage("the file is half of a NIfTI pair, or an Analyze header; save it as one .nii")
    return header


def exactly(stream: BinaryIO, count: int) -> bytes:
    """So many bytes; UnusableImage where there are fewer."""
    content = stream.read(count)
    if len(content) != count:
        raise UnusableImage("the file ends before its voxels do; it was cut off on its way")
    return content


def shape_of(header: Any) -> tuple[int, int, int]:
    """Three lengths; further axes of length one are none."""
    dimensions = [int(number) for number in header["dim"]]
    if not 1 <= dimensions[0] <= 7:
        raise UnusableImage("the file's header is damaged: it names no dimensions")
    shape = dimensions[1 : dimensions[0] + 1]
    while len(shape) > 3 and shape[-1] == 1:
        del shape[-1]
    if len(shape) != 3:
        raise UnusableImage(f"the image has {len(shape)} dimensions; one 3D image is needed")
    if min(shape) < 1:
        raise UnusableImage("the image has no voxels: an axis of its grid is shorter than one")
    return shape[0], shape[1], shape[2]


def number_type_of(header: Any) -> np.dtype[Any]:
    """The type of its voxels, which are plain numbers."""
    dtype: np.dtype[Any] = np.dtype(header.get_data_dtype())
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnusableImage("the image's voxels are no plain numbers but complex or coloured; convert it")
    return dtype


def require_place(header: Any) -> None:
    """Without qform and sform there is only a guess where the voxels lie, left and right included."""
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise UnusableImage("the image does not say where left and right is (neither qform nor sform is set)")
