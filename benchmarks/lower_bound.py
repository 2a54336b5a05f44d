"""What nobody can do without who writes what we write and looks at it again, and nothing else.

`encode` finds nothing and packs nothing: the bits lie in a finished segmentation. It unpacks the label map,
writes those bits, reads them back and compares them. `convert` reads pixels, compresses them as they are, has
dcm2niix unpack the same files in parts, and compares. Neither reads headers or takes a digest; both have what
they wrote on disk at the end, and use two threads or processes where we do.

Run as `python -m benchmarks.lower_bound WHAT ...`.
"""

import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, igzip_threaded
from numpy.typing import NDArray

from benchmarks.case_files import CaseFiles
from benchmarks.stopwatch import timed

PIECE_BYTES = 1 << 22
LEVEL, THREADS, BLOCK_BYTES = 1, 4, 1 << 20
"""Of gzip, as the converter's."""
PART_FILES = 38
"""dcm2niix is fastest with so many at a time; the converter does the same."""


class Differs(Exception):
    """What was read again is not what was written."""


def encode(labels: Path, segmentation: Path, out: Path) -> None:
    """Unpack the label map, while all frames of a finished segmentation are written and read back."""
    facts = CaseFiles(segmentation.parent).read_facts()
    length = facts["segment_frames"] * facts["rows"] * facts["columns"] // 8
    with segmentation.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    bits = np.frombuffer(content, np.uint8)[-length:]
    with timed(), ThreadPoolExecutor(1) as pool:
        writing = pool.submit(_write_and_read_back, bits, out)
        igzip.decompress(labels.read_bytes())
        writing.result()


def _write_and_read_back(bits: NDArray[np.uint8], out: Path) -> None:
    pieces = [bits[begin : begin + PIECE_BYTES] for begin in range(0, bits.size, PIECE_BYTES)]
    with out.open("w+b", buffering=0) as stream, ThreadPoolExecutor(1) as pool:
        flushed: Future[None] | None = None
        for piece in pieces:
            stream.write(piece.data)
            if flushed is None or flushed.done():
                flushed = pool.submit(os.fsync, stream.fileno())
        flushed = pool.submit(os.fsync, stream.fileno())
        stream.seek(0)
        buffer = np.empty(PIECE_BYTES, np.uint8)
        for piece in pieces:
            again = buffer[: piece.size]
            if stream.readinto(again.data) != piece.size or (again != piece).any():
                raise Differs
        flushed.result()


def convert(series: Path, out: Path, dcm2niix: str) -> None:
    """Compress pixels, while dcm2niix unpacks the part of the files before, and compare."""
    facts = CaseFiles(series.parent).read_facts()
    shape = facts["rows"], facts["columns"]
    with timed(), ThreadPoolExecutor(1) as pool, out.open("wb") as stream:
        files = sorted(series.iterdir())
        checks = []
        with igzip_threaded.open(
            stream, "wb", compresslevel=LEVEL, threads=THREADS, block_size=BLOCK_BYTES
        ) as compressing:
            for part in (files[begin : begin + PART_FILES] for begin in range(0, len(files), PART_FILES)):
                frames = [_pixels(path, shape) for path in part]
                checks.append(pool.submit(_check, frames, part, dcm2niix))
                for frame in frames:
                    compressing.write(frame.data.cast("B"))
        stream.flush()
        os.fsync(stream.fileno())
        for check in checks:
            check.result()


def _pixels(path: Path, shape: tuple[int, int]) -> NDArray[np.int16]:
    """The last element of a file of the case, with rows from the bottom up."""
    begin = path.stat().st_size - 2 * shape[0] * shape[1]
    return np.ascontiguousarray(np.fromfile(path, "<i2", offset=begin).reshape(shape)[::-1])


def _check(frames: Sequence[NDArray[np.int16]], files: Sequence[Path], dcm2niix: str) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "list.txt").write_text("".join(f"{path}\n" for path in files))
        options = ["-b", "n", "-z", "n", "-m", "y", "-x", "i", "-f", "part", "-o", name, "-s", "y"]
        command = [dcm2niix, *options, str(folder / "list.txt")]
        environment = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", **os.environ}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        theirs: Any = np.memmap(folder / "part.nii", "<i2", "r", 352, (len(frames), *frames[0].shape))
        if any((a != b).any() for a, b in zip(theirs, frames, strict=True)):
            raise Differs


if __name__ == "__main__":
    what, first, second, third = sys.argv[1:]
    if what == "encode":
        encode(Path(first), Path(second), Path(third))
    else:
        convert(Path(first), Path(second), third)
