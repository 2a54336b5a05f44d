"""An object's header as a person reads it: bounded, whatever came; nothing of it is logged.

Of what is no DICOM only its nature is said, by its first bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from pydicom import Dataset, config, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_file_meta_info

from .limited_reads import LimitedReads

MOST_ELEMENTS: Final = 500
MOST_LETTERS: Final = 200
"""Of one value."""
DEEPEST: Final = 4
_MOST_READS: Final = 300_000
_DEFER_BYTES: Final = 4096
"""What is longer stays in the file, and only its length is told."""
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_FIRST_BYTES: Final = 512
_DATA_AT: Final = 132
_NATURES: Final = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a bitmap image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000 image"),
    (b"<", "text like XML or HTML"),
    (b"{", "text like JSON"),
)


def shown_header(path: Path) -> dict[str, Any]:
    """The elements of a header; of what cannot be parsed those of its file meta information, and its nature.

    Raises
    ------
    OSError
    """
    with path.open("rb") as file, config.disable_value_validation():
        dataset = _parsed(file)
        elements, left_out = _first([*dataset.file_meta.values(), *dataset.values()], dataset)
        is_dicom = len(dataset) > 0
        return {
            "is_dicom": is_dicom,
            "nature": "a DICOM object" if is_dicom else _nature(path),
            "size_bytes": path.stat().st_size,
            "elements": elements,
            "left_out": left_out,
        }


def _parsed(file: BinaryIO) -> Any:
    """What can be read of it; an empty one where nothing can."""
    try:
        limited = cast(BinaryIO, LimitedReads(file, _MOST_READS))
        return dcmread(limited, stop_before_pixels=True, defer_size=_DEFER_BYTES)
    except Exception:  # whatever a parser raises on bytes from outside
        nothing = Dataset()
    try:
        nothing.file_meta = read_file_meta_info(file.name)
    except Exception:
        nothing.file_meta = Dataset()  # type: ignore[assignment]
    return nothing


def _first(elements: list[Any], dataset: Dataset) -> tuple[list[dict[str, Any]], int]:
    """As many as are shown, and how many more there are at the top."""
    shown: list[dict[str, Any]] = []
    for at, element in enumerate(elements):
        for line in _lines(element, dataset, 0):
            if len(shown) == MOST_ELEMENTS:
                return shown, len(elements) - at
            shown.append(line)
    return shown, 0


def _lines(element: DataElement | RawDataElement, dataset: Dataset, depth: int) -> Iterator[dict[str, Any]]:
    """One element, and behind it those of its items."""
    tag = element.tag
    line = {"tag": f"({tag.group:04X},{tag.element:04X})", "keyword": keyword_for_tag(tag), "depth": depth}
    if isinstance(element, RawDataElement):
        if element.value is None and element.length:
            yield {**line, "vr": element.VR or "", "value": f"{element.length} bytes, not shown"}
            return
        try:
            element = (dataset if tag in dataset else dataset.file_meta)[tag]
        except Exception:  # as above
            yield {**line, "vr": element.VR or "", "value": "cannot be read"}
            return
    if element.VR != "SQ":
        yield {**line, "vr": element.VR, "value": _value(element)}
        return
    items = element.value
    yield {**line, "vr": "SQ", "value": f"{len(items)} items"}
    if depth < DEEPEST:
        for item in items:
            for inner in item.values():
                yield from _lines(inner, item, depth + 1)


def _value(element: DataElement) -> str:
    if element.VR in _BYTES and isinstance(element.value, bytes):
        return f"{len(element.value)} bytes, not shown"
    try:
        value = element.value
        text = "\\".join(map(str, value)) if isinstance(value, list | tuple) or element.VM > 1 else str(value)
    except Exception:  # as above
        return "cannot be read"
    text = "".join(letter if letter.isprintable() else " " for letter in text if value is not None)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"


def _nature(path: Path) -> str:
    """What a file is by its first bytes; those of its data set where it has DICOM's preamble."""
    with path.open("rb") as file:
        first = file.read(_DATA_AT + _FIRST_BYTES)
    if first[128:_DATA_AT] == b"DICM":
        first = _behind_file_meta(first)
    if not first.strip(b"\0"):
        return "nothing, or zeros only"
    for beginning, what in _NATURES:
        if first.startswith(beginning):
            return what
    try:
        is_text = first.decode("utf-8", "ignore")[:200].isprintable()
    except ValueError:
        is_text = False
    return "text" if is_text else "bytes of no kind that is known here"


def _behind_file_meta(first: bytes) -> bytes:
    at = _DATA_AT
    while first[at : at + 2] == b"\x02\x00" and len(first) >= at + 12:
        is_long = first[at + 4 : at + 6] in (b"OB", b"UN")
        length = first[at + 8 : at + 12] if is_long else first[at + 6 : at + 8]
        at += (12 if is_long else 8) + int.from_bytes(length, "little")
    return first[at:]
