"""Writing NIfTI files: geometry, type and voxels, nothing else, and whole or not at all.

The header is made anew, so that nothing of the patient is left in it; the same voxels give the same bytes.
"""

import hashlib
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip_threaded
from numpy.typing import NDArray

COMPRESSION_LEVEL = 2
"""Of ISA-L's four: 300 slices take 0.62 s to 69 MB on one core; level 1 takes 0.56 s to 71 MB, level 0 no
less to 81 MB. zlib's level 1 takes 2.0 s, libdeflate's 0.9 s, for 66 MB."""
COMPRESSION_THREADS = min(4, os.cpu_count() or 1)
_FLUSH_BYTES = 1 << 24
_BLOCK_BYTES = 1 << 20
"""Bytes depend on this size, and not on the number of threads."""


@dataclass(frozen=True)
class Staged:
    """A file that is whole and on disk, but not yet under its name."""

    temporary: Path
    out: Path
    sha256: str

    def commit(self) -> None:
        """Give it its name; OSError."""
        self.temporary.replace(self.out)
        folder = os.open(self.out.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Remove it, if it is still there."""
        self.temporary.unlink(missing_ok=True)


def write_labels(labels: NDArray[np.uint8], affine_ras: NDArray[np.float64], out: Path) -> None:
    """Write a label map, (i, j, k) uint8, in one step and with deterministic bytes.

    Raises
    ------
    OSError
    """
    stage(labels.transpose(2, 1, 0), affine_ras, out).commit()


def stage(planes: NDArray[Any], affine_ras: NDArray[np.float64], out: Path) -> Staged:
    """Write a NIfTI-1 file beside `out`, gzipped where that ends in `.gz`, and have it on disk.

    Parameters
    ----------
    planes
        (k, j, i); any strides, only one plane at a time is copied.
    affine_ras
        4 x 4, mm.

    Raises
    ------
    OSError
        Nothing is left of the file then.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    try:
        with temporary.open("wb") as stream, _Digesting(stream) as digesting:
            if out.name.endswith(".gz"):
                with igzip_threaded.open(
                    digesting,
                    "wb",
                    compresslevel=COMPRESSION_LEVEL,
                    threads=COMPRESSION_THREADS,
                    block_size=_BLOCK_BYTES,
                ) as compressing:
                    _write(planes, affine_ras, cast(BinaryIO, compressing))
            else:
                _write(planes, affine_ras, cast(BinaryIO, digesting))
            stream.flush()
            os.fsync(stream.fileno())  # nothing is left to do for it but what came last
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return Staged(temporary, out, digesting.sha256.hexdigest())


class _Digesting(io.RawIOBase):
    """Passes on what is written, digests it, and has it go to the disk meanwhile, so that the end is near."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._flusher = ThreadPoolExecutor(1)
        self._flushed: Future[None] | None = None
        self._unflushed = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        self._unflushed += self._stream.write(content)
        if self._unflushed > _FLUSH_BYTES and (self._flushed is None or self._flushed.done()):
            self._raise_if_lost()
            self._unflushed = 0
            self._flushed = self._flusher.submit(os.fsync, self._stream.fileno())
        return len(content)

    def close(self) -> None:
        self._flusher.shutdown()
        super().close()
        self._raise_if_lost()

    def _raise_if_lost(self) -> None:
        """The system says only once that something did not reach the disk."""
        flushed, self._flushed = self._flushed, None
        if flushed is not None:
            flushed.result()


def _write(planes: NDArray[Any], affine_ras: NDArray[np.float64], stream: BinaryIO) -> None:
    stream.write(_header(planes, affine_ras))
    for plane in planes:
        stream.write(np.ascontiguousarray(plane).data.cast("B"))


def _header(planes: NDArray[Any], affine_ras: NDArray[np.float64]) -> bytes:
    """348 bytes, and 4 that say that no extension follows."""
    header = nib.Nifti1Header()
    header.set_data_dtype(planes.dtype)
    header.set_data_shape(planes.shape[::-1])
    header.set_qform(affine_ras, code=1)
    header.set_sform(affine_ras, code=1)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    return bytes(header.binaryblock) + bytes(4)
