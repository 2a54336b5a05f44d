"""Images that are there twice, under other UIDs: exported or imported again, they are the same image yet.

A copy has the header of the other one but for what an instance is called by, and its pixels byte for byte.
Files are opened only where two headers are that much alike, which those of a time series never are.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from .headers import Finding
from .stacks import Image

COPY = Finding("copies", "an exact copy of another image, under a UID of its own; the other one is taken")

_OF_THE_INSTANCE = frozenset(
    BaseTag(tag_for_keyword(keyword) or 0)
    for keyword in (
        "SOPInstanceUID",
        "InstanceNumber",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "InstanceCreatorUID",
    )
)
MOST_COPIES = 4
"""More images than these that say the same are a time series that tells nobody so."""
_CHUNK_BYTES = 1 << 20


def without_copies(images: Iterable[Image]) -> tuple[list[Image], list[tuple[Image, Image]]]:
    """Images without exact copies of others, and each copy with its original, which is the first by UID."""
    kept: list[Image] = []
    copies: list[tuple[Image, Image]] = []
    have_same_pixels = cache(_have_same_pixels)
    for alike in _alike(images):
        originals: list[Image] = []
        for image in alike:
            same = (other for other in originals if _say_the_same(other.header, image.header))
            original = next((it for it in same if have_same_pixels(_pixels(it), _pixels(image))), None)
            if original is None:
                originals.append(image)
            else:
                copies.append((image, original))
        kept += originals
    return kept, copies


def _alike(images: Iterable[Image]) -> list[list[Image]]:
    """Images that may be copies of each other, the others by themselves; no image is held against all."""
    groups: list[list[Image]] = []
    at_place: dict[Hashable, list[Image]] = defaultdict(list)
    for image in sorted(images, key=lambda item: item.identity):
        at_place[_place(image)].append(image)
    for together in at_place.values():
        by_header: dict[int, list[Image]] = defaultdict(list)
        for image in together:
            by_header[_fingerprint(image.header) if len(together) > 1 else 0].append(image)
        for alike in by_header.values():
            groups += [alike] if len(alike) <= MOST_COPIES else [[image] for image in alike]
    return groups


def _fingerprint(header: Dataset) -> int:
    """What headers have in common that say the same: elements as they stand in the file."""
    tags = sorted(header.keys() - _OF_THE_INSTANCE)
    elements: Iterator[object] = (header.get_item(tag, keep_deferred=True) for tag in tags)
    return hash((*tags, *(each.value for each in elements if isinstance(each, RawDataElement))))


def _place(image: Image) -> Hashable:
    plane = image.plane
    axes = (*plane.row_cosine.tolist(), *plane.column_cosine.tolist())
    size = (*plane.pixel_spacing_mm, plane.rows, plane.columns)
    return *plane.position_mm.tolist(), *axes, *size, image.frame_number


def _say_the_same(one: Dataset, other: Dataset) -> bool:
    if set(one.keys()) - _OF_THE_INSTANCE != set(other.keys()) - _OF_THE_INSTANCE:
        return False
    for tag in one.keys():  # noqa: SIM118 (iterating over a data set converts its values)
        if tag in _OF_THE_INSTANCE:
            continue
        mine: object = one.get_item(tag, keep_deferred=True)
        theirs: object = other.get_item(tag, keep_deferred=True)
        if mine is theirs:
            continue
        if isinstance(mine, RawDataElement) and isinstance(theirs, RawDataElement):
            if mine.value != theirs.value:
                return False
        elif one[tag] != other[tag]:
            return False
    return True


def _pixels(image: Image) -> tuple[Path, int | None]:
    """A file, and where in it its pixels begin."""
    return image.path, getattr(image.header, "pixels_at", None)


def _have_same_pixels(one: tuple[Path, int | None], other: tuple[Path, int | None]) -> bool:
    """Whether two files are the same from there on; not, where either cannot be read any more."""
    if one[1] is None or other[1] is None:
        return False
    try:
        with one[0].open("rb") as mine, other[0].open("rb") as theirs:
            mine.seek(one[1])
            theirs.seek(other[1])
            while chunk := mine.read(_CHUNK_BYTES):
                if chunk != theirs.read(_CHUNK_BYTES):
                    return False
            return not theirs.read(1)
    except OSError:
        return False
