"""A volume's pixels as brightness, 0 to 255, plane by plane: as its modality is looked at.

The window is the images' own (PS3.3 C.11.2.1.2), one for all of them, so that nothing flickers; where they
have none that shows anything it is soft tissue for CT, else the middle 98 % of the values.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from converter.reading.headers import text_of
from converter.series import Volume
from converter.unpacking.source_frames import SourceFrames, source_frames

Window = tuple[float, float]
"""The values shown black and white."""

SOFT_TISSUE_HU: Final = (-160.0, 240.0)
PROJECTION_HU: Final = (-100.0, 900.0)
MIDDLE: Final = (1.0, 99.0)
"""Percentiles."""
SAMPLED_FRAMES: Final = 24
SAMPLED_LINES: Final = 64
"""Of each sampled frame about so many rows and columns are looked at."""
_WINDOW: Final = ("WindowCenter", "WindowWidth")
FEWEST_GREYS: Final = 0.02
"""A window in which less of the pixels is neither black nor white shows nothing."""


class Brightness:
    """Planes of grey, (rows, columns), computed when they are asked for; from several threads."""

    def __init__(self, volume: Volume, frames: SourceFrames) -> None:
        self._frames = frames
        self._is_inverse = text_of(volume.header, "PhotometricInterpretation") == "MONOCHROME1"
        self._is_ct = text_of(volume.header, "Modality") == "CT"
        self.window = self._chosen_window(volume)

    def __len__(self) -> int:
        return len(self._frames)

    def plane(self, number: int) -> NDArray[np.uint8]:
        """One frame."""
        return self.shown(self._frames.stored[number], number, self.window)

    def stored(self, number: int) -> NDArray[Any]:
        """One frame's values before rescaling."""
        return self._frames.stored[number]

    def brightest(self, number: int, axis: int) -> NDArray[Any]:
        """Along an axis of a frame the stored value that is shown brightest."""
        is_falling = (self._frames.rescale.slopes[number] < 0) != self._is_inverse
        stored = self._frames.stored[number]
        return np.asarray(stored.min(axis=axis) if is_falling else stored.max(axis=axis))

    def shown(self, stored: NDArray[Any], number: int, window: Window) -> NDArray[np.uint8]:
        """Stored values of a frame through a window."""
        rescale = self._frames.rescale
        slope, intercept = float(rescale.slopes[number]), float(rescale.intercepts[number])
        if stored.dtype.itemsize > 2:
            return _shown(stored * slope + intercept, window, self._is_inverse)
        table = _table(stored.dtype.str, slope, intercept, window, self._is_inverse)
        return np.take(table, np.ascontiguousarray(stored).view(f"<u{stored.dtype.itemsize}"))

    @property
    def projection_window(self) -> Window:
        """For the brightest value along a ray: nearly every one meets bone."""
        if self._is_ct:
            return PROJECTION_HU
        low, high = self.window
        return low, high + (high - low) / 2

    def _chosen_window(self, volume: Volume) -> Window:
        sample = self._sample()
        own = _own_window(volume)
        if own is not None:
            shown = (sample > own[0]) & (sample < own[1])
            if shown.mean() >= FEWEST_GREYS:
                return own
        if self._is_ct:
            return SOFT_TISSUE_HU
        low, high = (float(value) for value in np.percentile(sample, MIDDLE))
        return low, max(high, low + 1e-3)

    def _sample(self) -> NDArray[np.float64]:
        numbers = np.unique(np.linspace(0, len(self) - 1, SAMPLED_FRAMES).astype(int)).tolist()
        step = max(1, min(self._frames.stored[0].shape) // SAMPLED_LINES)
        return np.concatenate([self._frames[number][::step, ::step].ravel() for number in numbers])


@contextmanager
def brightness_of(volume: Volume) -> Iterator[Brightness]:
    """Open a volume's pixels; its files must still be there.

    Raises
    ------
    ConversionFailed
        A file is damaged, gone, was changed, or cannot be decoded here.
    OSError
    """
    with source_frames(volume) as frames:
        yield Brightness(volume, frames)


def _own_window(volume: Volume) -> Window | None:
    """The middle one of the frames' first windows; None where they have none."""
    found = []
    for header in volume.headers:
        centre, width = (
            text_of(header, keyword).split("\\")[0] for keyword in ("WindowCenter", "WindowWidth")
        )
        try:
            low, high = float(centre) - float(width) / 2, float(centre) + float(width) / 2
        except ValueError:
            continue
        if np.isfinite([low, high]).all() and high - low >= 1e-6:
            found.append((low, high))
    if not found:
        return None
    return sorted(found)[len(found) // 2]


@lru_cache(maxsize=512)
def _table(dtype: str, slope: float, intercept: float, window: Window, is_inverse: bool) -> NDArray[np.uint8]:
    """The brightness of every stored value, by its bits."""
    bits = np.dtype(dtype).itemsize * 8
    values: NDArray[Any] = np.arange(1 << bits, dtype=f"<u{bits // 8}").view(dtype)
    return _shown(values * slope + intercept, window, is_inverse)


def _shown(values: NDArray[Any], window: Window, is_inverse: bool) -> NDArray[np.uint8]:
    low, high = window
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.rint((1 - share if is_inverse else share) * 255).astype(np.uint8)
