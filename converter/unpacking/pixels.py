"""The stored values of a volume's frames, read here: a second opinion on what dcm2niix unpacks.

Uncompressed pixels are taken as they lie in their files; the rest is decoded by pydicom with the codecs that
are installed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from converter.reading.headers import transfer_syntax_of
from converter.series import Volume

from .decoding import Children, Encoded, decode_here
from .encoded_frames import EncodedFrames
from .neutral import NeutralCopies


class StoredFrames:
    """The stored values of a volume's frames, read when they are asked for: a volume may be large.

    What a codec in C decodes is decoded at the beginning, by child processes into files.

    Parameters
    ----------
    frames
        Those of the volume.
    folder
        For temporary files; what is decoded lies in it.
    timeout_s
        For decoding.

    Raises
    ------
    NoDecoder
        There is no second opinion.
    ConversionFailed
        A file is damaged, gone, or another one than when its header was read; also later on.
    OSError
    """

    def __init__(self, volume: Volume, frames: EncodedFrames, folder: Path, timeout_s: float) -> None:
        self._frames = frames
        self._compressed: dict[int, Encoded] = {}
        self._decoded: dict[int, NDArray[Any]] = {}
        copies = NeutralCopies(volume, frames)
        for number in filter(frames.is_encapsulated, range(len(frames))):
            layout, path = frames.layout(number), folder / f"compressed-{number:05d}.dcm"
            copies.write(number, path)
            self._compressed[number] = Encoded(str(path), layout.rows, layout.columns, layout.bits.str)
        by_codecs = [
            number
            for number in self._compressed
            if transfer_syntax_of(volume.headers[number]) != RLELossless  # which is decoded in Python
        ]
        if by_codecs:
            decoded = _decoded([self._compressed[number] for number in by_codecs], folder, timeout_s)
            self._decoded.update(zip(by_codecs, decoded, strict=True))

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """One frame, (rows, columns), integers."""
        layout = self._frames.layout(number)
        return layout.values(self._bits(number).reshape(layout.rows, layout.columns))

    def _bits(self, number: int) -> NDArray[Any]:
        if number in self._decoded:
            return self._decoded[number]
        if number in self._compressed:
            return decode_here(self._compressed[number])
        return np.frombuffer(self._frames[number].value, self._frames.layout(number).bits)


def _decoded(encoded: Sequence[Encoded], folder: Path, timeout_s: float) -> list[NDArray[Any]]:
    with Children(encoded, folder, timeout_s) as children:
        return children.decoded()
