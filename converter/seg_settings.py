"""What a caller says about a segmentation, and what he gets back."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)

from .seg_codecs import DEFLATED_IMAGE_FRAME

MANUFACTURER: Final = "IRIS Gateway"
MODEL_NAME: Final = "iris-gateway"

LABEL_MAP_SEGMENTATION_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.66.7")


class SegmentationType(StrEnum):
    """How pixels say what is segmented (PS3.3 C.8.20.2.3)."""

    BINARY = "BINARY"
    """One bit a pixel, a frame for each segment and slice: every viewer reads it."""
    LABELMAP = "LABELMAP"
    """The segment's number in each pixel, a frame for each slice (Supplement 243): a fraction of the size."""


TRANSFER_SYNTAXES: Final = {
    SegmentationType.BINARY: (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, DEFLATED_IMAGE_FRAME),
    SegmentationType.LABELMAP: (
        RLELossless,
        ExplicitVRLittleEndian,
        JPEGLSLossless,
        DeflatedExplicitVRLittleEndian,
        DEFLATED_IMAGE_FRAME,
    ),
}
"""What each type can be written in, the default first."""

SOP_CLASSES: Final = {
    SegmentationType.BINARY: SegmentationStorage,
    SegmentationType.LABELMAP: LABEL_MAP_SEGMENTATION_STORAGE,
}


@dataclass(frozen=True)
class Encoding:
    """How labels are stored.

    Parameters
    ----------
    transfer_syntax_uid
        One of the type's `TRANSFER_SYNTAXES`; None for its default. What is not native wants a destination
        that takes it.
    is_cropped
        Whether frames show only the smallest part of the slices that holds all segments.

    Raises
    ------
    ValueError
        The type cannot be written in that transfer syntax.
    """

    type: SegmentationType = SegmentationType.BINARY
    transfer_syntax_uid: UID | None = None
    is_cropped: bool = False

    def __post_init__(self) -> None:
        if self.syntax not in TRANSFER_SYNTAXES[self.type]:
            known = ", ".join(TRANSFER_SYNTAXES[self.type])
            raise ValueError(f"{self.type} cannot be written in {self.syntax}; there are {known}")

    @property
    def syntax(self) -> UID:
        """The transfer syntax."""
        return self.transfer_syntax_uid or TRANSFER_SYNTAXES[self.type][0]


@dataclass(frozen=True)
class SegmentationSettings:
    """What is said about a segmentation; `made_at` is aware of its time zone.

    `algorithm_name` begins with the engine's name. `tracking_key` keeps tracking UIDs from being guessed
    from a Patient ID; where results of one patient shall have equal ones it is the same key.
    """

    sop_instance_uid: str
    series_uid: str
    series_number: int
    series_description: str
    made_at: datetime
    task: str
    algorithm_name: str
    algorithm_version: str
    instance_number: int = 1
    encoding: Encoding = field(default_factory=Encoding)
    tracking_key: bytes = b"iris"


@dataclass(frozen=True)
class Encoded:
    """A segmentation on disk; `segments` are its labels in the order of their numbers."""

    path: Path
    sha256: str
    sop_instance_uid: str
    sop_class_uid: str
    segments: tuple[str, ...]
    warnings: tuple[str, ...]
