"""From stored values to intensities, and the proof that dcm2niix came to the same ones.

Rescale Slope and Intercept (PS3.3 C.11.1.1.2, C.7.6.16.2.9) may differ from frame to frame, as in PET. Where
all of them are whole numbers so are the results, exactly; else they are float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import HTJ2K, JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from converter.errors import ConversionFailed
from converter.reading.headers import numbers_of, transfer_syntax_of

from .pixels import once_per_value

ROUNDINGS = 4
"""dcm2niix scales in float32: so many roundings of the largest term may lie between its result and ours."""
LOSSY_STEPS = 2
"""So many stored values may lie between two decoders of a lossy codec, which the standards allow."""
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
"""JPEG baseline and extended, JPEG-LS near lossless, JPEG 2000 and HTJ2K where they may be lossy."""


_RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
"""What counts where they are absent."""


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
        if any("ModalityLUTSequence" in header and "RescaleSlope" not in header for header in headers):
            raise ConversionFailed(
                "intensities are given by a lookup table (Modality LUT), which is not supported; have the "
                "series sent with Rescale Slope and Intercept"
            )
        slopes, intercepts = np.array(once_per_value(headers, tuple(_RESCALE), _slope_and_intercept)).T
        if not slopes.all():
            raise ConversionFailed("a Rescale Slope is 0; have the headers corrected at the sender")
        is_lossy = any(transfer_syntax_of(header) in _LOSSY for header in headers)
        return cls(slopes, intercepts, LOSSY_STEPS if is_lossy else 0)

    @property
    def is_whole(self) -> bool:
        """Whether intensities are whole numbers."""
        numbers = np.concatenate([self.slopes, self.intercepts])
        return bool((numbers == np.rint(numbers)).all() and np.abs(numbers).max() < np.iinfo(np.int32).max)


def _slope_and_intercept(header: Dataset) -> list[float]:
    found = []
    for keyword, absent in _RESCALE.items():
        number = numbers_of(header, keyword, 1)
        element = header.get_item(keyword)
        if number is None and element is not None and element.value:
            raise ConversionFailed(f"{keyword} is not one number; have the headers corrected at the sender")
        found.append(absent if number is None else number[0])
    return found


def intensities(stored: NDArray[Any], rescale: Rescale) -> NDArray[Any]:
    """Rescale frames of stored values.

    Parameters
    ----------
    stored
        (frames, rows, columns), integers; its memory is used for the result where that fits.

    Returns
    -------
    (frames, rows, columns)
        int16 where all intensities are whole numbers and fit, else float32; int32 or float64 where whole
        numbers would not be exact in that.
    """
    dtype = _type_for(stored, rescale)
    if dtype == np.int16 and stored.dtype.itemsize == 2:
        out = stored.view(np.int16)
    else:
        out = np.empty(stored.shape, dtype)
    for number, frame in enumerate(stored):
        _rescale(frame, rescale, number, out[number])
    return out


@dataclass(frozen=True, eq=False)
class Scaled:
    """Frames as dcm2niix wrote them: values (frames, rows, columns), times slope, plus intercept."""

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
    """What dcm2niix gives, where nothing can be compared with it."""
    if unpacked.holds_stored_values(rescale):
        return intensities(np.array(unpacked.frames), rescale)
    scaled = unpacked.frames * np.float64(unpacked.slope) + unpacked.intercept
    return np.asarray(scaled, np.float32)


def differing_frame(unpacked: Scaled, values: NDArray[Any], rescale: Rescale) -> int | None:
    """The first frame whose intensities are not those that dcm2niix gives; None where all agree.

    Where it gives stored values they must be equal. Those that it scaled may be a few float32 roundings apart
    (`ROUNDINGS`), and what two decoders make of a lossy codec a few stored values (`LOSSY_STEPS`).
    """
    are_stored = unpacked.holds_stored_values(rescale)
    for number, frame in enumerate(unpacked.frames):
        if are_stored and not rescale.off_steps:
            agrees = _is_the_same(frame, values[number], rescale, number)
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


def _is_the_same(stored: NDArray[Any], values: NDArray[Any], rescale: Rescale, number: int) -> bool:
    again = np.empty(values.shape, values.dtype)
    if values.dtype == np.int16:
        ends = np.array([stored.min(), stored.max()], np.float64)
        ends = ends * rescale.slopes[number] + rescale.intercepts[number]
        if ends.min() < -(2**15) or ends.max() >= 2**15:  # would come round to another number
            return False
    _rescale(stored, rescale, number, again)
    return np.array_equal(again, values)


def _type_for(stored: NDArray[Any], rescale: Rescale) -> Any:
    if not rescale.is_whole:
        return np.float32
    ends = np.array([[frame.min(), frame.max()] for frame in stored], np.float64)
    ends = ends * rescale.slopes[:, np.newaxis] + rescale.intercepts[:, np.newaxis]
    for dtype, lowest, highest in (
        (np.int16, -(2**15), 2**15 - 1),
        (np.float32, -(2**24), 2**24),  # up to there it holds all whole numbers
        (np.int32, -(2**31), 2**31 - 1),
    ):
        if lowest <= ends.min() and ends.max() <= highest:
            return dtype
    return np.float64


def _rescale(frame: NDArray[Any], rescale: Rescale, number: int, out: NDArray[Any]) -> None:
    slope, intercept = rescale.slopes[number], rescale.intercepts[number]
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
