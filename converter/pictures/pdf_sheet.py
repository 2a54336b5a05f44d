"""A page as PDF (ISO 32000-1), dark on white: text stays text, to be searched and copied.

Written here, since it takes four kinds of objects and a table: Pillow's writer makes pictures only, and a
library for more would be a dependency of its own. Texts are in Helvetica, which every reader has.
"""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .ink import Colour
from .sheet import HEIGHT, WIDTH, Point, Tone

PAGE: Final = (595.28, 841.89)
"""A4, in points."""
SCALE: Final = PAGE[0] / WIDTH
ABOVE: Final = (PAGE[1] - HEIGHT * SCALE) / 2
ASCENT: Final = 0.74
"""From the top of a line to its base line, in heights of the font."""
_TONES: Final = {Tone.PLAIN: (20, 20, 24), Tone.FAINT: (95, 98, 105), Tone.WARNING: (170, 80, 0)}

_WIDTHS: Final = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667,
    611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667,
    667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500,
    222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
"""Of Helvetica's characters from space on, in thousandths of its height (Adobe's font metrics)."""
_OTHER_WIDTH: Final = 556
FONT: Final = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


class PdfSheet:
    """One page in the making."""

    def __init__(self) -> None:
        self._content: list[bytes] = []
        self.pictures: list[NDArray[np.uint8]] = []

    @property
    def content(self) -> bytes:
        """What is drawn, as operators; pictures are called P0, P1 and so on."""
        return b"\n".join(self._content)

    def width_of(self, text: str, size: int) -> float:
        """How wide a text gets."""
        first, end = 32, 32 + len(_WIDTHS)
        widths = (_WIDTHS[ord(c) - first] if first <= ord(c) < end else _OTHER_WIDTH for c in text)
        return sum(widths) * size / 1000

    def text(self, at: Point, text: str, size: int, tone: Tone, *, is_right: bool = False) -> None:
        """Write one line with its top left, or top right, corner there."""
        x = at[0] - (self.width_of(text, size) if is_right else 0)
        left, base = _place(x, at[1] + ASCENT * size)
        shown = _escaped(text)
        operators = (
            f"BT {_rgb(_TONES[tone])} rg /F1 {size * SCALE:.2f} Tf {left:.2f} {base:.2f} Td (".encode()
        )
        self._content.append(operators + shown + b") Tj ET")

    def box(self, at: Point, size: Point, rgb: Colour) -> None:
        """Fill a rectangle."""
        left, bottom = _place(at[0], at[1] + size[1])
        sides = f"{size[0] * SCALE:.2f} {size[1] * SCALE:.2f}"
        self._content.append(f"{_rgb(rgb)} rg {left:.2f} {bottom:.2f} {sides} re f".encode())

    def picture(self, at: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
        """Place a colour picture."""
        rows, columns = pixels.shape[:2]
        left, bottom = _place(at[0], at[1] + rows)
        matrix = f"{columns * SCALE:.2f} 0 0 {rows * SCALE:.2f} {left:.2f} {bottom:.2f}"
        self._content.append(f"q {matrix} cm /P{len(self.pictures)} Do Q".encode())
        self.pictures.append(pixels)


def pdf_of(sheets: Sequence[PdfSheet], title: str, made_at: datetime) -> bytes:
    """The file; the same pages give the same bytes."""
    objects: list[bytes] = [b"", b"", FONT]
    pages = []
    for sheet in sheets:
        names = []
        for number, pixels in enumerate(sheet.pictures):
            objects.append(_image(pixels))
            names.append(f"/P{number} {len(objects)} 0 R")
        objects.append(_stream(sheet.content, "/Filter /FlateDecode"))
        resources = f"<< /Font << /F1 3 0 R >> /XObject << {' '.join(names)} >> >>"
        box = f"[0 0 {PAGE[0]} {PAGE[1]}]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Resources {resources} "
            f"/Contents {len(objects)} 0 R >>".encode()
        )
        pages.append(f"{len(objects)} 0 R")
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(pages)}] /Count {len(pages)} >>".encode()
    made = made_at.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
    objects.append(
        b"<< /Title ("
        + _escaped(title)
        + b") /Producer (IRIS Gateway) /CreationDate ("
        + made.encode()
        + b") >>"
    )
    return _file(objects)


def _file(objects: Sequence[bytes]) -> bytes:
    """Header, objects, the table of where they are, trailer; the last object is the information."""
    written = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(written))
        written += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    begin = len(written)
    written += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    for place in places:
        written += f"{place:010d} 00000 n \n".encode()
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>"
    return bytes(written) + f"trailer\n{trailer}\nstartxref\n{begin}\n%%EOF\n".encode()


def _image(pixels: NDArray[np.uint8]) -> bytes:
    rows, columns = pixels.shape[:2]
    said = (
        f"/Type /XObject /Subtype /Image /Width {columns} /Height {rows} /ColorSpace /DeviceRGB "
        "/BitsPerComponent 8 /Filter /FlateDecode"
    )
    return _stream(np.ascontiguousarray(pixels).tobytes(), said)


def _stream(content: bytes, said: str) -> bytes:
    packed = zlib.compress(content, 6)
    return f"<< {said} /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream"


def _place(x: float, y: float) -> Point:
    """From the page's top left corner in pixels to its bottom left one in points."""
    return x * SCALE, PAGE[1] - ABOVE - y * SCALE


def _rgb(colour: Colour) -> str:
    return " ".join(f"{part / 255:.3f}" for part in colour)


def _escaped(text: str) -> bytes:
    plain = text.encode("cp1252", "replace")
    return plain.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
