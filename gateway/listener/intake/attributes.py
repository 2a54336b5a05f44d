"""What single attributes of a header say: as text, as numbers, as digests of several.

pydicom makes an object of each value that is asked for, which took half of an image's time here. So the plain
ones, which are nearly all, are read from their bytes; the others are left to pydicom, and both say the same.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag

from converter.reading.headers import one_tag

from .refusals import Damaged

_GEOMETRY = (
    "SOPClassUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""What says where the pixels are and what they mean; a change in any of these is another image."""

_IDENTIFYING = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "SeriesNumber",
    "SeriesDescription",
    "InstanceNumber",
)
"""What says whose image it is; a change in any of these is a correction, in whatever transfer syntax."""

_Element = DataElement | RawDataElement
_PLAIN_TEXTS: Final = frozenset({"CS", "DA", "IS", "LO", "PN", "SH", "TM", "UI"})
_PLAIN_TEXT: Final = re.compile(rb"[ -\[\]-}]*[ \0]*")
"""One value, in letters that are the same in every character set (PS3.3 C.12.1.1.2)."""
_SHORT_BYTES: Final = 64
"""Of a value that is remembered."""
_PLAIN_NUMBER: Final = re.compile(rb" *[+-]?[0-9]{1,16}(\.[0-9]{0,16})? *")


def header_text(header: Dataset, keyword: str) -> str:
    """An attribute of a header as plain text; empty when it is absent or unreadable."""
    return header_texts(header, (keyword,))[keyword]


def header_texts(header: Dataset, keywords: Iterable[str]) -> dict[str, str]:
    """Several of them, by keyword."""
    elements = dict(header.items())
    return {keyword: _text(header, _element(elements, keyword), keyword) for keyword in keywords}


def _text(header: Dataset, element: "_Raw | _Element | None", keyword: str) -> str:
    if element is None:
        return ""
    if isinstance(element, _Raw) and (text := _plain_text(element)) is not None:
        return text.strip()
    try:
        value = header.get(keyword)
    except Exception:  # whatever a parser raises on a malformed element: as good as absent
        return ""
    return "" if value is None else str(value).strip()


def whole_number(text: str) -> int | None:
    """A text as a whole number; None where it is none."""
    try:
        return int(text)
    except ValueError:
        return None


def identifying(header: Dataset) -> tuple[str, ...]:
    """What says whose image this is, as text that does not depend on the transfer syntax."""
    return tuple(header_texts(header, _IDENTIFYING).values())


def identifying_digest(said: tuple[str, ...]) -> str:
    """A digest of the same, to compare with when the file is not here any more."""
    return hashlib.sha256(repr(said).encode("utf-8", "surrogateescape")).hexdigest()


def geometry_digest(header: Dataset) -> str:
    """A digest of what says where the pixels are, and what they mean.

    Raises
    ------
    Damaged
        One of these attributes cannot be read.
    """
    digest, elements = hashlib.sha256(), dict(header.items())
    for keyword in _GEOMETRY:
        try:
            text = _normal_text(header, _element(elements, keyword), keyword)
        except Exception:  # whatever a parser raises on a malformed element
            raise Damaged(
                "unreadable_geometry",
                f"its {keyword} cannot be read; correct it at the sender and send it again",
            ) from None
        digest.update(f"{keyword}={text};".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class _Raw(NamedTuple):
    """An element as its bytes, with the representation that they have."""

    representation: str
    value: bytes
    is_little_endian: bool


def _remembered(of: Callable[[_Raw], str | None]) -> Callable[[_Raw], str | None]:
    """The same, remembered where it is short: most of a series says what the image before said."""
    known = lru_cache(maxsize=1 << 10)(of)
    return lambda raw: known(raw) if len(raw.value) <= _SHORT_BYTES else of(raw)


@_remembered
def _plain_text(raw: _Raw) -> str | None:
    """It as pydicom has it in text, but for what is around it; None where that is not plain."""
    if raw.representation == "US":
        number = _plain_number(raw)
        return None if number is None else str(number)
    if raw.representation not in _PLAIN_TEXTS or not _PLAIN_TEXT.fullmatch(raw.value):
        return None
    if raw.representation == "IS" and not _PLAIN_NUMBER.fullmatch(raw.value):
        return None
    if raw.representation == "PN" and b"=" in raw.value:
        return None
    return raw.value.decode("ascii").rstrip(" \0")


def _plain_number(raw: _Raw) -> int | None:
    """It as one number in two bytes; None where it is none, or several."""
    if raw.representation != "US" or len(raw.value) != 2:
        return None
    return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")


@_remembered
def _plain_normal_text(raw: _Raw) -> str | None:
    """It as `_normal` has it; None where that is not plain."""
    if (number := _plain_number(raw)) is not None:
        return repr(float(number))
    if raw.representation == "UI" and _PLAIN_TEXT.fullmatch(raw.value):
        return raw.value.decode("ascii").strip(" \0") or None
    if raw.representation not in ("DS", "IS"):
        return None
    parts = raw.value.split(b"\\")
    if not all(_PLAIN_NUMBER.fullmatch(part) for part in parts):
        return None
    if raw.representation == "IS" and b"." in raw.value:
        return None
    numbers = [repr(float(part)) for part in parts]
    return numbers[0] if len(numbers) == 1 else f"[{','.join(numbers)}]"


def _element(elements: Mapping[BaseTag, _Element], keyword: str) -> _Raw | _Element | None:
    """An element as its bytes; as it stands where pydicom has made one of it, or left it in the file."""
    tag, representation = _known(keyword)
    element = elements.get(tag)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        return _Raw(element.VR or representation, element.value, element.is_little_endian)
    return element


@cache
def _known(keyword: str) -> tuple[BaseTag, str]:
    tag = one_tag(Tag(keyword))
    return tag, dictionary_VR(tag)


def _normal_text(header: Dataset, element: _Raw | _Element | None, keyword: str) -> str:
    if isinstance(element, _Raw) and (text := _plain_normal_text(element)) is not None:
        return text
    return _normal(None if element is None else header.get(keyword))


def _normal(value: Any) -> str:
    """A value as text that does not depend on how its number was written or encoded."""
    if value is None:
        return ""
    if isinstance(value, Dataset):
        return "{" + ";".join(f"{element.tag}={_normal(element.value)}" for element in value) + "}"
    if isinstance(value, bytes | str):
        return str(value)
    if hasattr(value, "__iter__"):
        return "[" + ",".join(_normal(item) for item in value) + "]"
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return str(value)
