"""Decoding compressed pixels in processes of their own.

Codecs are programs in C and C++ that get bytes from outside. On damaged JPEG-LS one of them was seen to end
the whole process, another one never to return. Here that costs one child process, and says that the image is
damaged. A child that is killed is none of that: the system does so where memory runs out. Several children
also use several processors, which a codec in Python's threads does not.
"""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from pydicom.pixels.decoders.base import get_decoder

from converter.errors import ConversionFailed, is_the_machines
from converter.reading.headers import transfer_syntax_of

DAMAGED = "an image's pixels are damaged or do not fit its header; have the series sent again"
CHANGED = "an image is gone or was changed since its header was read; have the series sent again"

MOST_CHILDREN = 4
FRAMES_EACH = 24
"""A child takes about as long to start as so many frames to decode."""
START_S, FRAME_S = 60.0, 2.0
"""What takes longer than this hangs."""
EXIT_OF_ERRNO = 64
"""A child ends with this plus the system's number of an error: on a full disk it can write down nothing."""
OUT_OF_MEMORY = (-signal.SIGKILL, EXIT_OF_ERRNO + errno.ENOMEM)
"""How a child ends for which there is no memory: killed by the system, or by itself."""
_FIRST_CHOICE = ("pylibjpeg", "pyjpegls", "pydicom", "pillow", "gdcm")
"""pydicom's plugins, the fastest of each codec first."""


def _raise_lack_of_memory(record: logging.LogRecord) -> bool:
    """Raise it where pydicom only logs what a plugin raised, and then says that no plugin can decode."""
    if record.exc_info is not None and isinstance(record.exc_info[1], MemoryError):
        raise record.exc_info[1]
    return False  # that no plugin can decode is said here


_decoders_log = logging.getLogger(get_decoder.__module__)
_decoders_log.setLevel(logging.ERROR)  # however little a program wants to hear of pydicom
_decoders_log.addFilter(_raise_lack_of_memory)


class NoDecoder(Exception):
    """No codec for the transfer syntax is installed; the text is its name."""


@dataclass(frozen=True)
class Encoded:
    """A single-frame file, and what is to come out of it."""

    path: str
    rows: int
    columns: int
    bits: str
    """The type of one pixel's bits, as NumPy writes it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns


def decode_here(encoded: Encoded) -> NDArray[Any]:
    """Decode one file in this process: for codecs written in Python.

    Returns
    -------
    (rows, columns), the bits as they would lie in an uncompressed file

    Raises
    ------
    NoDecoder, ConversionFailed, OSError, MemoryError
    """
    bits = np.dtype(encoded.bits)
    with from_outside():
        dataset = dcmread(encoded.path)
        pixels = _by_a_plugin(dataset, encoded.rows * encoded.columns * bits.itemsize)
    if pixels.shape != encoded.shape or pixels.dtype.itemsize != bits.itemsize:
        raise ConversionFailed(DAMAGED)
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).view(bits)


@contextmanager
def from_outside() -> Iterator[None]:
    """Whatever is raised on bytes from outside, by a parser, a writer or a codec, is one ConversionFailed."""
    try:
        with config.disable_value_validation():
            yield
    except (NoDecoder, ConversionFailed):
        raise
    except FileNotFoundError:
        raise ConversionFailed(CHANGED) from None
    except Exception as error:
        if is_the_machines(error):
            raise
        raise ConversionFailed(DAMAGED) from None


def _by_a_plugin(dataset: Dataset, native_length: int) -> NDArray[Any]:
    """Decode with the first plugin that can; what all of them refuse is damaged."""
    syntax = transfer_syntax_of(dataset)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise NoDecoder(syntax.name) from None
    if not decoder.is_available:
        raise NoDecoder(syntax.name)
    if not syntax.is_compressed and len(dataset.PixelData) - native_length not in (0, 1):
        raise ConversionFailed(DAMAGED)
    available = decoder.available_plugins
    chosen = [plugin for plugin in _FIRST_CHOICE if plugin in available]
    for plugin in [*chosen, *(plugin for plugin in available if plugin not in chosen)] or [""]:
        try:
            return np.asarray(decoder.as_array(dataset, raw=True, decoding_plugin=plugin)[0])
        except Exception as error:
            if is_the_machines(error):
                raise
            continue  # another one may be able to
    raise ConversionFailed(DAMAGED)


class Children:
    """Child processes that decode files, each a part of them; leaving ends them.

    Parameters
    ----------
    folder
        For what they are told and what they answer.
    """

    def __init__(self, frames: Sequence[Encoded], folder: Path, timeout_s: float) -> None:
        self._deadline = time.monotonic() + min(timeout_s, START_S + FRAME_S * len(frames))
        count = min(MOST_CHILDREN, os.cpu_count() or 1, -(-len(frames) // FRAMES_EACH))
        self._parts = [list(frames[first::count]) for first in range(count)]
        self._outs = [folder / f"decoded-{number}" for number in range(count)]
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Children":
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            for part, out in zip(self._parts, self._outs, strict=True):
                out.with_suffix(".json").write_text(json.dumps([asdict(frame) for frame in part]))
                self._children.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "converter.unpacking.decoding", str(out)],
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        for child in self._children:
            with suppress(ProcessLookupError):
                child.kill()
            child.wait()

    def decoded(self) -> list[NDArray[Any]]:
        """Wait for all frames, in the order in which they were given; they stay in their files.

        Raises
        ------
        NoDecoder, ConversionFailed, OSError, MemoryError
        """
        for child, out in zip(self._children, self._outs, strict=True):
            self._wait(child, out)
        parts = [iter(self._read(part, out)) for part, out in zip(self._parts, self._outs, strict=True)]
        total = sum(map(len, self._parts))
        return [next(parts[number % len(parts)]) for number in range(total)]

    def _wait(self, child: "subprocess.Popen[bytes]", out: Path) -> None:
        try:
            code = child.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise ConversionFailed(DAMAGED) from None  # a codec that hangs
        if code == 0:
            return
        if code in OUT_OF_MEMORY:
            raise MemoryError("a child that decodes images was ended for want of memory")
        if code > EXIT_OF_ERRNO:
            raise OSError(code - EXIT_OF_ERRNO, os.strerror(code - EXIT_OF_ERRNO))
        said = out.with_suffix(".said")
        kind, _, text = said.read_text().partition(" ") if said.exists() else ("", "", "")
        match kind:
            case "no-decoder":
                raise NoDecoder(text)
            case "failed":
                raise ConversionFailed(text)
            case _ if code > 0 and not out.exists():
                raise RuntimeError("a child that decodes images could not begin")
            case _:  # it crashed
                raise ConversionFailed(DAMAGED)

    @staticmethod
    def _read(part: Sequence[Encoded], out: Path) -> list[NDArray[Any]]:
        frames: list[NDArray[Any]] = []
        begin = 0
        for frame in part:
            frames.append(np.memmap(out, frame.bits, "r", begin, frame.shape))
            begin += frames[-1].nbytes
        return frames


def main(out: Path) -> int:
    """Decode what is listed beside `out` into it, and say why not, beside it or by the exit code."""
    try:
        return _decode_into(out)
    except OSError as error:
        return EXIT_OF_ERRNO + (error.errno or errno.EIO)
    except MemoryError:
        return EXIT_OF_ERRNO + errno.ENOMEM


def _decode_into(out: Path) -> int:
    said = out.with_suffix(".said")
    try:
        frames = [Encoded(**described) for described in json.loads(out.with_suffix(".json").read_text())]
        with out.open("wb") as stream:
            for frame in frames:
                stream.write(decode_here(frame).data)
    except NoDecoder as missing:
        said.write_text(f"no-decoder {missing}")
    except ConversionFailed as failed:
        said.write_text(f"failed {failed}")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
