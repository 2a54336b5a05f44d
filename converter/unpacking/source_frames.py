"""The intensities of a volume's frames, one frame at a time: for who measures or draws them.

Without dcm2niix as second opinion: nothing is segmented on them.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.errors import ConversionFailed
from converter.series import Volume

from .dcm2niix import TIMEOUT_S
from .decoding import NoDecoder
from .encoded_frames import EncodedFrames
from .intensities import Frames, Rescale
from .pixels import StoredFrames


class SourceFrames:
    """Frames as they come from the scanner: (rows, columns), float64, rescaled (PS3.3 C.11.1); HU in a CT.

    Attributes
    ----------
    stored, rescale
        What they are made of, for who wants a table of the values instead.
    """

    def __init__(self, stored: Frames, rescale: Rescale) -> None:
        self.stored, self.rescale = stored, rescale

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, number: int) -> NDArray[np.float64]:
        stored: NDArray[Any] = self.stored[number]
        return np.asarray(stored * self.rescale.slopes[number] + self.rescale.intercepts[number])


@contextmanager
def source_frames(volume: Volume, *, timeout_s: float = TIMEOUT_S) -> Iterator[SourceFrames]:
    """Read a volume's pixels; what has to be decoded lies in a temporary folder meanwhile.

    Raises
    ------
    ConversionFailed
        A file is gone, damaged, or cannot be decoded here.
    OSError
    """
    with tempfile.TemporaryDirectory(prefix="iris-frames-") as name:
        try:
            stored = StoredFrames(volume, EncodedFrames(volume), Path(name), timeout_s)
        except NoDecoder as missing:
            raise ConversionFailed(f"no decoder for {missing} is installed; install its codec") from None
        yield SourceFrames(stored, Rescale.of(volume.headers))
