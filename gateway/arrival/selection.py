"""Which volumes suit a task, and which of several is the best: what is never taken, and the ranking.

Everything here reads one volume's header; nothing knows of the ledger.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from converter.series import Volume

BEST_SPACING_MM = (0.5, 3.0)
THICK_MM = 3.0
"""A reformatted stack of thicker slices is a picture for reading, not a volume to segment."""
AXIAL_COSINE = 0.9
"""Slice normal within about 25 degrees of the body's axis."""

_PROJECTIONS = {
    "MIP",
    "MAXIP",
    "MINIP",
    "MAX_IP",
    "MIN_IP",
    "PROJECTION IMAGE",
    "AVERAGE_IP",
    "MNIP",
    "MEAN_IP",
    "VRT",
    "RENDERED",
    "VOLUME_RENDER",
    "SURFACE_RENDER",
}
_REFORMATTED = {"MPR", "REFORMATTED", "CPR", "CURVED", "CURVED_MPR", "CSAMANIP", "CSAPARALLEL"}
_CAPTURES = {"SCREEN SAVE", "SCREENSHOT", "SCREEN", "CAPTURE", "PRINT", "DOSE_INFO"}
_NOT_HU = {
    *("IODINE", "VNC", "MATERIAL", "Z_EFF", "ZEFF", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY"),
    *("UREA", "URIC_ACID", "CALCIUM", "PERFUSION", "CBF", "CBV", "MTT", "TTP", "TMAX", "MAP"),
}
_NOT_MR = {"ADC", "DWI", "DIFFUSION", "TRACEW", "FA", "PHASE", "P", "SUBTRACTION", "SUB", "MRA"}
_SHARP_KERNEL = re.compile(r"LUNG|BONE|EDGE|SHARP|DETAIL|^[BHQ]r?v?(5[5-9]|[6-9]\d)|^Y[ABCD]", re.IGNORECASE)


def values_of(header: Dataset, keyword: str) -> tuple[str, ...]:
    """An attribute's values as text; none when it is absent, empty, unreadable or no text."""
    try:
        value = header.get(keyword)
    except Exception:  # whatever a parser raises on a malformed element
        return ()
    if value is None or isinstance(value, bytes | Sequence):
        return ()
    items = value if isinstance(value, MultiValue) else [value]  # a person name is iterable, and one value
    texts = tuple(str(item).strip() for item in items)
    return texts if any(texts) else ()


def why_never(volume: Volume, modality: str) -> str | None:
    """Why a volume is never taken for a task on `modality` ("CT" or "MR"); None when it may be."""
    header = volume.header
    own = "".join(values_of(header, "Modality"))
    if own != modality:
        return f"the task needs {modality}, this is {own or 'of no modality'}"
    kinds = _kinds(header)
    if "LOCALIZER" in kinds:
        return "a scout image"
    if "".join(values_of(header, "BurnedInAnnotation")) == "YES":
        return "has text burned into its pixels"
    if kinds & _CAPTURES:
        return "a screen capture"
    if kinds & _PROJECTIONS:
        return "a projection, not a volume"
    thickness_mm = _number(header, "SliceThickness")
    if kinds & _REFORMATTED and thickness_mm is not None and thickness_mm > THICK_MM:
        return f"a thick reformat ({thickness_mm:g} mm)"
    return _why_not_ct(header, kinds) if modality == "CT" else _why_not_mr(kinds)


_KIND_KEYWORDS = ("ImageType", "ComplexImageComponent", "VolumeBasedCalculationTechnique")
"""Where single-frame images, and enhanced ones beside it (PS3.3 C.8.16.1, C.8.13.3.1), say what they show."""


def _kinds(header: Dataset) -> set[str]:
    """The kinds of image, and their words: vendors write "CT_SOM5 MIP" and "PHASE MAP" as one value."""
    kinds = [kind.upper() for keyword in _KIND_KEYWORDS for kind in values_of(header, keyword)]
    return {*kinds, *(word for kind in kinds for word in kind.split())}


def _why_not_ct(header: Dataset, kinds: set[str]) -> str | None:
    if kinds & _NOT_HU:
        return "a map of another quantity than HU"
    rescale_type = "".join(values_of(header, "RescaleType")).upper()
    if rescale_type not in ("", "HU", "US"):
        return f"its values are not HU but {rescale_type}"
    return None


def _why_not_mr(kinds: set[str]) -> str | None:
    found = kinds & _NOT_MR
    return f"a {sorted(found)[0]} image" if found else None


@dataclass(frozen=True)
class Rank:
    """How well a volume suits, the best first when sorted."""

    whole: bool
    axial: bool
    spacing_fits: bool
    soft: bool
    coverage_mm: float
    spacing_mm: float

    @classmethod
    def of(cls, volume: Volume) -> "Rank":
        """Judge one volume."""
        row, column = np.array(volume.orientation_lps[:3]), np.array(volume.orientation_lps[3:])
        low, high = BEST_SPACING_MM
        kernel = " ".join(values_of(volume.header, "ConvolutionKernel"))
        return cls(
            whole=not volume.has_finding("gap"),
            axial=bool(abs(np.cross(row, column)[2]) >= AXIAL_COSINE),
            spacing_fits=low <= round(volume.slice_spacing_mm, 3) <= high,
            soft=_SHARP_KERNEL.search(kernel) is None,
            coverage_mm=volume.slice_spacing_mm * (len(volume.frames) - 1),
            spacing_mm=volume.slice_spacing_mm,
        )

    @property
    def sort_key(self) -> tuple[bool, bool, bool, bool, float, float]:
        """The best first; of equal ones the longest, then the thinnest."""
        return (
            not self.whole,
            not self.axial,
            not self.spacing_fits,
            not self.soft,
            -round(self.coverage_mm, 0),
            self.spacing_mm,
        )

    @property
    def sentence(self) -> str:
        """The ranking in words."""
        return ", ".join(
            [
                "whole" if self.whole else "with a gap",
                "axial" if self.axial else "not axial",
                f"{self.spacing_mm:g} mm" + ("" if self.spacing_fits else " (not 0.5 to 3)"),
                "soft kernel" if self.soft else "sharp kernel",
                f"{self.coverage_mm:.0f} mm long",
            ]
        )


def same_scan(volume: Volume) -> tuple[str, ...]:
    """What volumes of one scan share: frame of reference and contrast phase.

    A phase is known by its contrast agent and its acquisition number; reconstructions of one acquisition
    share both.
    """
    return (
        volume.frame_of_reference_uid or volume.series_uid,
        *values_of(volume.header, "ContrastBolusAgent"),
        "|",
        *values_of(volume.header, "AcquisitionNumber"),
    )


def ranked(volumes: Iterable[Volume]) -> list[tuple[Volume, Rank]]:
    """These volumes, the best first; equal ones in order of their series number and UID."""
    return sorted(
        ((volume, Rank.of(volume)) for volume in volumes),
        key=lambda pair: (
            pair[1].sort_key,
            _number(pair[0].header, "SeriesNumber") or 0,
            pair[0].series_uid,
        ),
    )


def _number(header: Dataset, keyword: str) -> float | None:
    try:
        return float("".join(values_of(header, keyword)[:1]))
    except ValueError:
        return None
