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

from .errors import ConversionFailed
from .headers import numbers_of, transfer_syntax_of
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
            A lookup table stands in their place, or a slope is 0.
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
    return [(numbers_of(header, keyword, 1) or (absent,))[0] for keyword, absent in _RESCALE.items()]


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


def unchecked_intensities(unpacked: "Scaled", rescale: Rescale) -> NDArray[Any]:
    """What dcm2niix gives, where nothing can be compared with it."""
    if unpacked.is_scaled_by(rescale):
        return intensities(np.array(unpacked.frames), rescale)
    scaled = unpacked.frames * np.float64(unpacked.slope) + unpacked.intercept
    return np.asarray(scaled, np.float32)


def differing_frame(unpacked: "Scaled", values: NDArray[Any], rescale: Rescale) -> int | None:
    """The first frame whose intensities are not those that dcm2niix gives; None where all agree.

    Whole numbers must be equal. Others may be a few float32 roundings apart (`ROUNDINGS`), and what two
    decoders make of a lossy codec a few stored values (`LOSSY_STEPS`).
    """
    as_stored = unpacked.is_scaled_by(rescale) and values.dtype.kind == "i" and not rescale.off_steps
    again = np.empty(values.shape[1:], values.dtype)
    for number, frame in enumerate(unpacked.frames):
        if as_stored:
            _rescale(frame, rescale, number, again)
            agrees = np.array_equal(again, values[number])
        else:
            slope, intercept = abs(rescale.slopes[number]), abs(rescale.intercepts[number])
            theirs = frame * np.float64(unpacked.slope) + unpacked.intercept
            off = np.abs(theirs - values[number])
            largest = np.abs(theirs).max() + 2 * intercept
            allowed = ROUNDINGS * np.finfo(np.float32).eps * largest + rescale.off_steps * slope
            agrees = bool(off.max() <= allowed)  # not so where it is no number
        if not agrees:
            return number
    return None


@dataclass(frozen=True, eq=False)
class Scaled:
    """Frames as dcm2niix wrote them: values (frames, rows, columns), times slope, plus intercept."""

    frames: NDArray[Any]
    slope: float
    intercept: float

    def is_scaled_by(self, rescale: Rescale) -> bool:
        """Whether these are stored values, scaled by what all headers say."""
        said = np.float32(rescale.slopes), np.float32(rescale.intercepts)
        same = (said[0] == np.float32(self.slope)).all() and (said[1] == np.float32(self.intercept)).all()
        return bool(same and self.frames.dtype.kind in "iu")


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
