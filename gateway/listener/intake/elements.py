"""Whether the elements of a header are whole and of a kind, in its sequences too.

Who reads an image later walks through all of it. An element that no parser knows would end that with an
exception, and where sequences lie deep in each other pydicom's text of the exception grows by 2.6 with every
level, up to all of the memory. So both are found here, where somebody is told.
"""

from collections.abc import Sequence
from functools import cache
from typing import BinaryIO, Final, cast

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import read_deferred_data_element
from pydicom.tag import BaseTag
from pydicom.valuerep import STANDARD_VR

from .limited_reads import too_many
from .refusals import Damaged

DEEPEST: Final = 8
"""Sequences in sequences; functional groups (PS3.3 C.7.6.16) need five."""
MOST_ITEMS: Final = 1_000_000
"""In all sequences together; those in others count again. An enhanced object of 10,000 frames has 100,000."""
_ITEM: Final = b"\xfe\xff\x00\xe0"
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_KNOWN: Final = frozenset({None, *STANDARD_VR})
_MAY_BE_A_SEQUENCE: Final = (None, "UN")  # implicit VR, PS3.5 6.2.2


def check_elements(header: Dataset, size_bytes: int, *, is_read_again: bool) -> None:
    """Look at every element of a header that was just read from a file of so many bytes.

    Parameters
    ----------
    is_read_again
        Somebody parses it later; what is only kept, as reports are, may nest deeper than `DEEPEST`.

    Raises
    ------
    Damaged
    """
    for element in list(header.values()):
        if isinstance(element, RawDataElement):
            _check_is_whole(element, size_bytes)
    _check_kinds(header, DEEPEST, is_read_again, [MOST_ITEMS])


def _check_is_whole(element: RawDataElement, size_bytes: int) -> None:
    """Whether the file ends within it, which the parser takes without a word."""
    if element.length == _UNDEFINED_LENGTH:
        return
    is_left_in_file = element.value is None and element.length > 0
    has_bytes = size_bytes - element.value_tell if is_left_in_file else len(element.value or b"")
    if has_bytes < element.length:
        raise Damaged("cut_short", "the object ends in the middle of an attribute; send it again")


def _check_kinds(dataset: Dataset, levels_left: int, is_read_again: bool, items_left: list[int]) -> None:
    """Look at all of it; `items_left` is one number, of the whole header."""
    for element in list(dataset.values()):
        if isinstance(element, RawDataElement) and element.VR not in _KNOWN:
            raise Damaged(
                "unknown_vr",
                f"the element {element.tag} has a value representation that DICOM does not know (PS3.5 6.2);"
                " correct it at the sender and send it again",
            )
        if not _is_sequence(element):
            continue
        if levels_left == 0:
            if is_read_again:
                raise Damaged(
                    "nested_too_deep",
                    f"its sequences lie more than {DEEPEST} deep; correct it at the sender and send it again",
                )
            return
        _check_number(dataset, element.tag, items_left)
        for item in _items(dataset, element.tag):
            _check_kinds(item, levels_left - 1, is_read_again, items_left)


def _check_number(dataset: Dataset, tag: BaseTag, items_left: list[int]) -> None:
    """Refuse a sequence that was not parsed yet, and would become too many items."""
    element: object = dataset.get_item(tag, keep_deferred=True)
    if not isinstance(element, RawDataElement):
        return
    try:
        items_left[0] -= _bytes_of(dataset, element).count(_ITEM)
    except Exception:  # whatever a parser raises on bytes from outside
        raise _unreadable(tag) from None
    if items_left[0] < 0:
        raise too_many()


def _bytes_of(dataset: Dataset, element: RawDataElement) -> bytes:
    """The value as it stands in the file, where it was left if it is long."""
    if element.value is not None or not element.length:
        return element.value or b""
    assert isinstance(dataset, FileDataset)
    source = cast(BinaryIO, dataset.filename if dataset.buffer is None else dataset.buffer)
    read = read_deferred_data_element(dataset.fileobj_type, source, dataset.timestamp, element)
    return read.value or b""


def _is_sequence(element: RawDataElement | DataElement) -> bool:
    return element.VR == "SQ" or (element.VR in _MAY_BE_A_SEQUENCE and _is_known_as_sequence(element.tag))


@cache
def _is_known_as_sequence(tag: BaseTag) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


def _items(dataset: Dataset, tag: BaseTag) -> Sequence[Dataset]:
    try:
        element = dataset[tag]
        return list(element.value) if element.VR == "SQ" else []
    except Exception:  # whatever a parser raises on bytes from outside
        raise _unreadable(tag) from None


def _unreadable(tag: BaseTag) -> Damaged:
    return Damaged(
        "unreadable_sequence",
        f"the sequence {tag} cannot be parsed; correct it at the sender and send it again",
    )
