"""Running dcm2niix on the files of one volume, and understanding what it did.

It exits with 0 on nearly everything, so it is judged by its files: the names say what it took the images for,
the sizes whether they are whole. Of what it says only what is about pixels is passed on, in our words.
"""

import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import dcm2niix
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from converter.errors import ConversionFailed

T = TypeVar("T")


class Dcm2niixFailed(ConversionFailed):
    """Its result cannot be used; copies with uncompressed pixels may help."""


TIMEOUT_S = 900.0
_LONGEST_LOG = 1 << 18
_PASSED_ON = {
    "Only loaded": "an image is shorter than it should be",
    "Unable to decode": "an image's compression is none that it knows",
    "Unable to decompress": "an image's compression is none that it knows",
    "Failed to decode": "an image cannot be decoded",
    "RLE header corrupted": "an image cannot be decoded",
    "DICOM appears corrupt": "an image is damaged",
    "Conversion aborted due to corrupt file": "an image is damaged",
    "Unable to write": "there was no room for its image",
}
"""Of its warnings and errors those that say something about pixels, and what they say. The copies that it
gets hold nothing else that could be odd; its own words may quote paths."""

_MEANING = {
    1: "it failed",
    2: "it found no valid images",
    4: "an image is corrupt",
    5: "its input folder is invalid",
    6: "its output folder is invalid",
    7: "its output folder is read-only",
    8: "some images are bad",
    9: "a file could not be renamed",
    10: "the volume is incomplete",
}
"""Exit codes, from its `nii_dicom.h`."""

_TUNABLES = "glibc.malloc.hugetlb=1"
"""Huge pages, where the system has them: a sixth less of its time goes into getting memory."""
_LIST = "images.txt"
_OUTPUT = "volume"
_BY_PRODUCTS = re.compile(r"_(Tilt|Eq|Crop|ADC|ROI)[^_]*")
"""What it makes besides, of the same slices: resampled, cut, computed, or an overlay."""
_KINDS = (
    (re.compile(r"_e[\d.]+"), "echo"),
    (re.compile(r"_(ph|real|imaginary|fieldmaphz)"), "phase and magnitude"),
    (re.compile(r"_c[^_]+"), "coil"),
    (re.compile(r"_t[\d.]+"), "trigger time"),
    (re.compile(r"_i\d+"), "image number"),
)
"""What it tells images apart by, from what it puts behind their name."""


@dataclass(frozen=True, eq=False)
class Unpacked:
    """The image that dcm2niix wrote: voxels (i, j, k) as stored, their scaling, and their place in RAS mm."""

    voxels: NDArray[Any]
    slope: float
    intercept: float
    affine_ras: NDArray[np.float64]
    warnings: tuple[str, ...]


class Dcm2niix:
    """One run of dcm2niix, in a temporary folder that goes with it; leaving it ends the process.

    Used as a context manager. The process works from the beginning on; `result` waits for it.

    Parameters
    ----------
    files
        Of one frame each.
    """

    def __init__(self, files: Sequence[Path], timeout_s: float) -> None:
        self._files, self._timeout_s = files, timeout_s

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="iris-dcm2niix-")
        try:
            self._folder = Path(self._temporary.name)
            (self._folder / "out").mkdir()
            lines = b"".join(os.fsencode(file) + b"\n" for file in self._files)
            (self._folder / _LIST).write_bytes(lines)
            self._process = self._start()
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
        self._process.wait()
        self._temporary.cleanup()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [str(dcm2niix.bin)]
        command += ["-g", "i"]  # no one's defaults file
        command += ["-b", "n", "-z", "n", "-f", _OUTPUT]
        command += ["-m", "y"]  # one volume, whatever differs between its images
        command += ["-x", "i"]  # neither cropped nor turned
        command += ["-p", "n"]  # scaled as the standard's attributes say, also where a vendor has others
        command += ["-o", "out", "-s", "y", _LIST]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env={"GLIBC_TUNABLES": _TUNABLES, **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its children end with it
            )

    def end(self) -> None:
        """Have it end now, if it works yet."""
        if self._process.poll() is None:  # else its number may be another one's by now
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def result(self) -> Unpacked:
        """Wait for the image; its file is gone with what is read here.

        Raises
        ------
        ConversionFailed
            It did not end in time.
        Dcm2niixFailed
            It crashed, failed, or did not write one image.
        OSError
            There was no room for the image.
        MemoryError
            The system killed it, as it does where memory runs out.
        """
        code = self._wait()
        warnings = self._warnings()
        said = f" ({'; '.join(warnings)})" if warnings else ""
        if code == -signal.SIGKILL:
            raise MemoryError("dcm2niix was ended for want of memory")
        if code < 0:
            self._raise_if_full(0)
            raise Dcm2niixFailed(f"dcm2niix crashed on the images (signal {-code}); they are malformed{said}")
        if code > 0:
            self._raise_if_full(0)
            meaning = _MEANING.get(code, "an unknown error")
            raise Dcm2niixFailed(f"dcm2niix ended with code {code}, {meaning}{said}")
        return self._read(self._chosen(said), warnings)

    def _wait(self) -> int:
        """Its exit code at once when it ends: `Popen.wait` with a limit looks every 50 ms only."""
        is_late = threading.Event()

        def end_late() -> None:
            is_late.set()
            self.end()

        timer = threading.Timer(self._timeout_s, end_late)
        timer.start()
        try:
            code = self._process.wait()
        finally:
            timer.cancel()
        if is_late.is_set():
            raise ConversionFailed(
                f"dcm2niix did not end within {self._timeout_s:g} s; the images may be malformed"
            )
        return code

    def _warnings(self) -> tuple[str, ...]:
        with (self._folder / "log").open("rb") as log:
            said = log.read(_LONGEST_LOG).decode("utf-8", "replace")
        known = (sentence for words, sentence in _PASSED_ON.items() if words in said)
        return tuple(f"dcm2niix says that {sentence}" for sentence in dict.fromkeys(known))

    def _chosen(self, said: str) -> Path:
        """The one file that holds the slices as they are."""
        suffixes = {
            path: path.stem.removeprefix(_OUTPUT) for path in sorted((self._folder / "out").glob("*.nii"))
        }
        images = [path for path, suffix in suffixes.items() if not _BY_PRODUCTS.match(suffix)]
        if not images:
            raise Dcm2niixFailed(f"dcm2niix wrote no image of the slices{said}")
        if len(images) > 1:
            kinds = [
                name for pattern, name in _KINDS if any(pattern.search(suffixes[path]) for path in images)
            ]
            by = f", by {' and '.join(kinds)}" if kinds else ""
            raise Dcm2niixFailed(
                f"dcm2niix made {len(images)} images of one volume{by}; "
                "the series mixes several kinds of image, have them sent as series of their own"
            )
        return images[0]

    def _read(self, path: Path, warnings: tuple[str, ...]) -> Unpacked:
        try:
            with path.open("rb") as stream:
                header = nib.Nifti1Header.from_fileobj(stream)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            offset, affine = int(header["vox_offset"]), header.get_best_affine()
        except (nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError, ValueError, KeyError):
            raise Dcm2niixFailed("dcm2niix wrote a file that is no NIfTI; the images are malformed") from None
        if len(shape) != 3:
            raise Dcm2niixFailed(f"dcm2niix wrote an image of {len(shape)} dimensions; it is no volume")
        if path.stat().st_size != offset + int(np.prod(shape)) * dtype.itemsize:
            self._raise_if_full(int(np.prod(shape)) * dtype.itemsize)
            raise Dcm2niixFailed("dcm2niix wrote a file that is cut short; the images are malformed")
        slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
        scaled = bool(slope and np.isfinite([slope, intercept]).all())
        voxels = np.memmap(path, dtype, "r", offset, shape, order="F")
        path.unlink()  # the map holds it; its memory serves the next run
        return Unpacked(voxels, slope if scaled else 1.0, intercept if scaled else 0.0, affine, warnings)

    def _raise_if_full(self, needed: int) -> None:
        """A full disk passes; the images are not to blame for it."""
        if shutil.disk_usage(self._folder).free <= max(needed, 1 << 20):
            raise OSError(errno.ENOSPC, "no room for temporary images")


class Runs:
    """Runs of dcm2niix, one after the other, beside whoever asks for them; closing ends the one at work."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(1)
        self._run: Dcm2niix | None = None
        self._is_closed = False

    def begin(self, files: Sequence[Path], look: Callable[[Unpacked], T]) -> Future[T]:
        """Have files unpacked, and the image looked at; what either raises is the outcome's."""
        return self._pool.submit(self._unpack, files, look)

    def close(self) -> None:
        """End the run that is at work, and begin no other."""
        self._is_closed = True
        if self._run is not None:
            self._run.end()
        self._pool.shutdown(cancel_futures=True)

    def _unpack(self, files: Sequence[Path], look: Callable[[Unpacked], T]) -> T:
        with Dcm2niix(files, self._timeout_s) as self._run:
            if self._is_closed:
                self._run.end()  # whoever closed this may have looked before it was there
            return look(self._run.result())
