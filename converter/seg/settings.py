"""What a caller says about a segmentation, and what he gets back."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)

from converter.results.settings import QualityFlag, ResultSettings, WrittenObject

from .codecs import DEFLATED_IMAGE_FRAME

PARAMETERS_BETWEEN: Final = "\n"
"""Stands between two of an algorithm's parameters."""
LABEL_VALUE: Final = "label value"
"""Stands before the engine's number in a Segment Description."""

BYTE_BITS: Final = 8
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

SYNTAX_NAMES: Final = {
    "explicit": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "deflated_frame": DEFLATED_IMAGE_FRAME,
    "rle": RLELossless,
    "jpegls": JPEGLSLossless,
}
"""What users call them."""

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
    has_background_item
        Whether a label map describes its background as segment 0, beside Pixel Padding Value (PS3.3
        C.8.20.2.3.3); of no meaning to other types.

    Raises
    ------
    ValueError
        The type cannot be written in that transfer syntax.
    """

    type: SegmentationType = SegmentationType.BINARY
    transfer_syntax_uid: UID | None = None
    is_cropped: bool = False
    has_background_item: bool = True

    def __post_init__(self) -> None:
        if self.syntax not in TRANSFER_SYNTAXES[self.type]:
            can = [name for name, uid in SYNTAX_NAMES.items() if uid in TRANSFER_SYNTAXES[self.type]]
            raise ValueError(f"a {self.type} segmentation can be written as {', '.join(can)} only")

    @classmethod
    def named(
        cls, kind: str, syntax: str = "", *, is_cropped: bool = False, has_background_item: bool = True
    ) -> Self:
        """Make one of the names that users give; an empty `syntax` is the type's default.

        Raises
        ------
        ValueError
            There is no such type or transfer syntax, or not both together.
        """
        if kind.upper() not in list(SegmentationType):
            raise ValueError(f"there is no segmentation type {kind!r}; there are binary and labelmap")
        if syntax and syntax not in SYNTAX_NAMES:
            raise ValueError(f"there is no transfer syntax {syntax!r}; there are {', '.join(SYNTAX_NAMES)}")
        uid = SYNTAX_NAMES[syntax] if syntax else None
        return cls(SegmentationType(kind.upper()), uid, is_cropped, has_background_item)

    def __str__(self) -> str:
        said = f"{self.type} {self.syntax} {'cropped' if self.is_cropped else 'whole'}"
        return f"{said} background" if self.describes_background else said

    @property
    def describes_background(self) -> bool:
        """Whether there is a segment 0."""
        return self.has_background_item and self.type is SegmentationType.LABELMAP

    @property
    def syntax(self) -> UID:
        """The transfer syntax."""
        return self.transfer_syntax_uid or TRANSFER_SYNTAXES[self.type][0]


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings(ResultSettings):
    """What is said about a segmentation."""

    encoding: Encoding = field(default_factory=Encoding)
    flags: tuple[QualityFlag, ...] = ()
    """Said in Content Description, and in the description of each segment that one names."""


@dataclass(frozen=True, kw_only=True)
class Encoded(WrittenObject):
    """A segmentation on disk; `segments` are its labels in the order of their numbers."""

    segments: tuple[str, ...]
