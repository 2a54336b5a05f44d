"""What a caller says about pictures."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

SYNTAX_NAMES: Final = {
    "explicit": ExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpegls": JPEGLSLossless,
    "jpeg2000": JPEG2000Lossless,
}
"""What a picture can be written in, as users call it; all of them lose nothing."""

MOST_MB: Final = 500
"""A series of pictures gets as large unless the caller says otherwise; 300 slices of 512 x 512 are 330 MB."""


class Cut(StrEnum):
    """Which planes a series of pictures shows."""

    SOURCE = "source"
    """The source's own slices, pixel by pixel."""
    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn and stored.

    Parameters
    ----------
    most_mb
        A series that would be larger shows every second, third, ... slice only.
    """

    cut: Cut = Cut.SOURCE
    transfer_syntax_uid: UID = ExplicitVRLittleEndian
    most_mb: float = MOST_MB

    @classmethod
    def named(cls, cut: str = "source", syntax: str = "explicit", most_mb: float = MOST_MB) -> Self:
        """Make one of the names that users give.

        Raises
        ------
        ValueError
            There is no such plane or transfer syntax.
        """
        if cut not in list(Cut):
            raise ValueError(f"there is no plane {cut!r}; there are {', '.join(Cut)}")
        if syntax not in SYNTAX_NAMES:
            raise ValueError(f"there is no transfer syntax {syntax!r}; there are {', '.join(SYNTAX_NAMES)}")
        return cls(Cut(cut), SYNTAX_NAMES[syntax], most_mb)

    def __str__(self) -> str:
        return f"{self.cut} {self.transfer_syntax_uid} at most {self.most_mb:g} MB"
