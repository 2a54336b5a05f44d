"""What became of an object's header on its way: attributes that are other, new, or gone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag

from gateway.adapters.dicom.storing import stored_object

WHOSE: Final = frozenset(
    {"PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"}
)
"""Say whose it is. The phantom's are nobody's, so they may be shown."""
WHICH: Final = frozenset(
    {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID"}
)
"""Say which it is: what refers to it by them finds nothing where they are others."""
_PIXELS: Final = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData", "EncapsulatedDocument"})
_LONGEST: Final = 40


@dataclass(frozen=True)
class Change:
    """One attribute that is not as it was; an empty text: it is not there, or has no value."""

    keyword: str
    before: str
    after: str

    @property
    def is_grave(self) -> bool:
        """Whether another patient, study or object is named than was sent."""
        return self.keyword in WHOSE | WHICH

    @property
    def sentence(self) -> str:
        """In words."""
        if not self.before:
            return f"{self.keyword} added"
        return (
            f"{self.keyword} removed" if not self.after else f"{self.keyword} {self.before} to {self.after}"
        )


def changes(before: Path, after: Path) -> list[Change]:
    """What is other in one file than in another, but for pixels, padding and how it is encoded.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    if _data_set(before) == _data_set(after):
        return []
    return list(_changes(dcmread(before), dcmread(after)))


def _data_set(path: Path) -> tuple[str, bytes]:
    """How a file's data set is encoded, and its bytes."""
    stored = stored_object(path)
    return stored.transfer_syntax_uid, path.read_bytes()[stored.offset :]


def _changes(before: Dataset, after: Dataset) -> Iterable[Change]:
    for tag in sorted({*before.keys(), *after.keys()}):
        keyword = keyword_for_tag(tag) or f"({tag.group:04X},{tag.element:04X})"
        if keyword in _PIXELS or tag.element == 0 or keyword == "DataSetTrailingPadding":
            continue
        was, became = _element(before, tag), _element(after, tag)
        if not _is_same(was, became):
            yield Change(keyword, _text(was), _text(became))


def _element(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    return dataset.get(tag)


def _is_same(was: DataElement | None, became: DataElement | None) -> bool:
    """An attribute without a value says as much as none."""
    if was is None or became is None:
        return not any(each is not None and not each.is_empty for each in (was, became))
    return bool(was.value == became.value) or (was.is_empty and became.is_empty)


def _text(element: DataElement | None) -> str:
    if element is None or element.is_empty:
        return ""
    if element.VR == "SQ" or isinstance(element.value, bytes):
        return "(other content)"
    text = str(element.value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def in_words(found: Sequence[Change], most: int = 6) -> str:
    """The changes of many objects, the grave ones first, each once; with how many objects have it."""
    counted = Counter(change.sentence for change in sorted(found, key=lambda each: not each.is_grave))
    said = [f"{what} ({number}x)" if number > 1 else what for what, number in counted.items()]
    more = len(said) - most
    return ", ".join(said[:most]) + (f", and {more} more" if more > 0 else "")
