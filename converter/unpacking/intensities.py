"""From stored values to intensities, and the proof that dcm2niix came to the same ones.

Rescale Slope and Intercept (PS3.3 C.11.1.1.2, C.7.6.16.2.9) may differ from frame to frame, as in PET. Where
all of them are whole numbers so are the results, exactly; else they are float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import HTJ2K, JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from converter.reading.headers import transfer_syntax_of
from converter.reading.scales import slopes_and_intercepts

ROUNDINGS = 4
"""dcm2niix scales in float32: so many roundings of the largest term may lie between its result and ours."""
LOSSY_STEPS = 2
"""So many stored values may lie between two decoders of a lossy codec, which the standards allow."""
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
"""JPEG baseline and extended, JPEG-LS near lossless, JPEG 2000 and HTJ2K where they may be lossy."""


class Frames(Protocol):
    """Frames of one size, one by one, each (rows, columns)."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Rescale:
    """Each frame's slope and intercept, (frames,), and how far a decoder may be off, in stored values."""

    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    off_steps: int

    @classmethod
    def of(cls, headers: Sequence[Dataset]) -> "Rescale":
        """Read them; one is 1 or 0 where its attribute is absent.

        Raises
        ------
        ConversionFailed
            A lookup table stands in their place, one is no number, or a slope is 0.
        """
        slopes, intercepts = slopes_and_intercepts(headers).T
        is_lossy = any(transfer_syntax_of(header) in _LOSSY for header in headers)
        return cls(slopes, intercepts, LOSSY_STEPS if is_lossy else 0)

    def of_frames(self, part: slice) -> "Rescale":
        """That of some of the frames."""
        return Rescale(self.slopes[part], self.intercepts[part], self.off_steps)

    @property
    def is_whole(self) -> bool:
        """Whether intensities are whole numbers."""
        numbers = np.concatenate([self.slopes, self.intercepts])
        return bool((numbers == np.rint(numbers)).all() and np.abs(numbers).max() < np.iinfo(np.int32).max)


class DoesNotFit(Exception):
    """An intensity is none of the type that was taken for all of them."""


class Intensities:
    """Frames of intensities, computed when they are asked for.

    Parameters
    ----------
    stored
        Frames of stored values, (rows, columns), integers.
    dtype
        What `usual_type` or `type_of` gives.
    """

    def __init__(self, stored: Frames, rescale: Rescale, dtype: np.dtype[Any]) -> None:
        self._stored, self.rescale, self.dtype = stored, rescale, dtype

    def __len__(self) -> int:
        return len(self._stored)

    def fill(self, number: int, out: NDArray[Any]) -> None:
        """Compute one frame, (rows from the bottom up, columns), as a NIfTI has them; DoesNotFit."""
        stored = self._stored[number][::-1]
        slope, intercept = self.rescale.slopes[number], self.rescale.intercepts[number]
        if self.dtype == np.int16 and not _fits(stored, slope, intercept):
            raise DoesNotFit
        _rescale(stored, slope, intercept, out)


def usual_type(rescale: Rescale) -> np.dtype[Any]:
    """The type that most series' intensities have: int16 where they are whole numbers, else float32."""
    return np.dtype(np.int16 if rescale.is_whole else np.float32)


def type_of(stored: Frames, rescale: Rescale) -> np.dtype[Any]:
    """The type that intensities are written in, by a look at all of them.

    int16 where all are whole numbers and fit, else float32; int32 or float64 where whole numbers would not be
    exact in that.
    """
    if not rescale.is_whole:
        return np.dtype(np.float32)
    stored_ends = [[frame.min(), frame.max()] for frame in (stored[k] for k in range(len(stored)))]
    ends = np.array(stored_ends, np.float64) * rescale.slopes[:, np.newaxis]
    ends += rescale.intercepts[:, np.newaxis]
    for dtype, lowest, highest in (
        (np.int16, -(2**15), 2**15 - 1),
        (np.float32, -(2**24), 2**24),  # up to there it holds all whole numbers
        (np.int32, -(2**31), 2**31 - 1),
    ):
        if lowest <= ends.min() and ends.max() <= highest:
            return np.dtype(dtype)
    return np.dtype(np.float64)


@dataclass(frozen=True, eq=False)
class Scaled:
    """Frames as dcm2niix wrote them: values (frames, rows from the bottom up, columns), times slope, plus
    intercept.
    """

    frames: NDArray[Any]
    slope: float
    intercept: float

    def holds_stored_values(self, rescale: Rescale) -> bool:
        """Whether scaling them as the headers say gives the intensities.

        An image has one slope and one intercept: where the headers' vary these say nothing.
        """
        if self.frames.dtype.kind not in "iu":
            return False
        slopes, intercepts = rescale.slopes.astype(np.float32), rescale.intercepts.astype(np.float32)
        if np.ptp(slopes) or np.ptp(intercepts):
            return True
        return bool(slopes[0] == np.float32(self.slope) and intercepts[0] == np.float32(self.intercept))


def unchecked_intensities(unpacked: Scaled, rescale: Rescale) -> NDArray[Any]:
    """What dcm2niix gives, frames as `Scaled` has them, where nothing can be compared with it."""
    if not unpacked.holds_stored_values(rescale):
        scaled = unpacked.frames * np.float64(unpacked.slope) + unpacked.intercept
        return np.asarray(scaled, np.float32)
    stored = unpacked.frames[:, ::-1]
    values = Intensities(stored, rescale, type_of(stored, rescale))
    out = np.empty(stored.shape, values.dtype)
    for number, frame in enumerate(out):
        values.fill(number, frame)
    return out


def differing_frame(unpacked: Scaled, values: Frames, rescale: Rescale) -> int | None:
    """The first frame whose intensities are not those that dcm2niix gives; None where all agree.

    Where it gives stored values they must be equal. Those that it scaled may be a few float32 roundings apart
    (`ROUNDINGS`), and what two decoders make of a lossy codec a few stored values (`LOSSY_STEPS`).
    """
    are_stored = unpacked.holds_stored_values(rescale)
    for number, frame in enumerate(unpacked.frames):
        if are_stored and not rescale.off_steps:
            agrees = _is_the_same(frame, values[number], rescale.slopes[number], rescale.intercepts[number])
        else:
            slope, intercept = rescale.slopes[number], rescale.intercepts[number]
            if not are_stored:
                slope, intercept = np.float64(unpacked.slope), np.float64(unpacked.intercept)
            theirs = frame * slope + intercept
            largest = np.abs(theirs).max() + 2 * abs(rescale.intercepts[number])
            allowed = ROUNDINGS * np.finfo(np.float32).eps * largest
            allowed += rescale.off_steps * abs(rescale.slopes[number])
            # A NaN agrees with nothing.
            agrees = bool(np.abs(theirs - values[number]).max() <= allowed)
        if not agrees:
            return number
    return None


def _is_the_same(stored: NDArray[Any], values: NDArray[Any], slope: float, intercept: float) -> bool:
    if values.dtype == np.int16 and not _fits(stored, slope, intercept):
        return False  # it would come round to another number
    again = np.empty(values.shape, values.dtype)
    _rescale(stored, slope, intercept, again)
    return np.array_equal(again, values)


def _fits(stored: NDArray[Any], slope: float, intercept: float) -> bool:
    """Whether intensities are int16: by the type of the stored values, which most often tells, or by them."""
    most = np.iinfo(stored.dtype)
    ends = float(most.min) * slope + intercept, float(most.max) * slope + intercept
    if min(ends) >= -(2**15) and max(ends) < 2**15:
        return True
    ends = float(stored.min()) * slope + intercept, float(stored.max()) * slope + intercept
    return min(ends) >= -(2**15) and max(ends) < 2**15


def _rescale(frame: NDArray[Any], slope: float, intercept: float, out: NDArray[Any]) -> None:
    if out.dtype != np.int16:
        out[:] = frame * slope + intercept
        return
    # Modulo 2**16, which is exact since the result is known to fit.
    whole = frame.view(np.int16) if frame.dtype.itemsize == 2 else frame.astype(np.int16)
    if slope == 1:
        np.add(whole, np.int64(intercept).astype(np.int16), out=out)
    else:
        np.multiply(whole, np.int64(slope).astype(np.int16), out=out)
        np.add(out, np.int64(intercept).astype(np.int16), out=out)
