"""Writing NIfTI files: geometry, type and voxels, nothing else, and whole or not at all.

The header is made anew, so that nothing of the patient is left in it; the same voxels give the same bytes.
"""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import takewhile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip_threaded
from numpy.typing import NDArray

from ..staged_file import StagedFile
from ..voxels.paged import planes_of

COMPRESSION_LEVEL = 1
"""Of ISA-L's four: 300 noisy slices take 0.65 s to 85 MB on one core; level 0 takes 0.61 s to 97 MB, level 2
0.78 s to 83 MB, level 3 0.96 s to 82 MB. zlib's level 1 takes three times as long."""
COMPRESSION_THREADS = min(4, os.cpu_count() or 1)
LOOK_S = 0.25
_BLOCK_BYTES = 1 << 20
"""Bytes depend on this size, and not on the number of threads."""


def write_labels(labels: NDArray[np.uint8], affine_ras: NDArray[np.float64], out: Path) -> None:
    """Write a label map, (i, j, k) uint8, in one step and with deterministic bytes.

    Raises
    ------
    OSError
    """
    i, j, k = labels.shape
    stage(planes_of(labels.transpose(2, 1, 0)), (i, j, k), labels.dtype, affine_ras, out).commit()


def stage(
    planes: Iterable[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    affine_ras: NDArray[np.float64],
    out: Path,
) -> StagedFile:
    """Write a NIfTI-1 file beside `out`, gzipped where that ends in `.gz`; finished, to be committed.

    Parameters
    ----------
    planes
        One for each k, each (j, i), with any strides. Each may change when the next is asked for.
    shape
        Voxels along i, j and k.
    affine_ras
        4 x 4, mm.

    Raises
    ------
    OSError
        Nothing is left of the file then, nor after whatever `planes` raises.
    """
    pieces = (np.ascontiguousarray(plane).data.cast("B") for plane in planes)
    return stage_bytes(_header(shape, dtype, affine_ras), pieces, out)


def stage_bytes(header: bytes, voxels: Iterable[bytes | memoryview], out: Path) -> StagedFile:
    """Write a NIfTI file of bytes as they come, as `stage` does with planes.

    Each piece may change when the next is asked for. That happens in another thread: an interrupt (Ctrl-C)
    within the compressor would leave it waiting for ever. Whatever `voxels` raises is passed on, and nothing
    is left of the file then.
    """
    given_up, finished = threading.Event(), list[StagedFile]()
    writer = ThreadPoolExecutor(1)
    try:
        writing = writer.submit(_stage_bytes, header, voxels, out, given_up, finished)
        while not wait([writing], LOOK_S).done:
            pass  # a signal that another thread got is seen here only when this one wakes up
        return writing.result()
    except BaseException:
        given_up.set()  # first, so that one of the two threads sees what the other did
        for staged in finished:
            staged.discard()
        raise
    finally:
        writer.shutdown(wait=False)


def _stage_bytes(
    header: bytes,
    voxels: Iterable[bytes | memoryview],
    out: Path,
    given_up: threading.Event,
    finished: list[StagedFile],
) -> StagedFile:
    wanted = takewhile(lambda _: not given_up.is_set(), voxels)
    staged = StagedFile(out)
    try:
        if out.name.endswith(".gz"):
            with igzip_threaded.open(
                staged,
                "wb",
                compresslevel=COMPRESSION_LEVEL,
                threads=COMPRESSION_THREADS,
                block_size=_BLOCK_BYTES,
            ) as compressing:
                compressing.write(header)
                for piece in wanted:
                    compressing.write(piece)
        else:
            staged.write(header)
            for piece in wanted:
                staged.write(bytes(piece))
        staged.finish()
    except BaseException:
        staged.discard()
        raise
    finished.append(staged)
    if given_up.is_set():
        staged.discard()
    return staged


def _header(shape: tuple[int, int, int], dtype: np.dtype[Any], affine_ras: NDArray[np.float64]) -> bytes:
    """348 bytes, and 4 that say that no extension follows."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_qform(affine_ras, code=1)
    header.set_sform(affine_ras, code=1)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    return bytes(header.binaryblock) + bytes(4)
