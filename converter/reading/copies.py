"""Images that are there twice, under other UIDs: exported or imported again, they are the same image yet.

A copy has the header of the other one but for what an instance is called by, and its pixels byte for byte.
Files are opened only where two headers are that much alike, which those of a time series never are.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from functools import cache
from pathlib import Path

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
_CHUNK_BYTES = 1 << 20


def without_copies(images: Iterable[Image]) -> tuple[list[Image], list[tuple[Image, Image]]]:
    """Images without exact copies of others, and each copy with its original, which is the first by UID."""
    kept: list[Image] = []
    copies: list[tuple[Image, Image]] = []
    at_place: dict[Hashable, list[Image]] = defaultdict(list)
    have_same_pixels = cache(_have_same_pixels)
    for image in sorted(images, key=lambda item: item.identity):
        others = at_place[_place(image)]
        alike = (other for other in others if _say_the_same(other, image))
        original = next((other for other in alike if have_same_pixels(_pixels(other), _pixels(image))), None)
        if original is not None:
            copies.append((image, original))
        else:
            kept.append(image)
            others.append(image)
    return kept, copies


def _place(image: Image) -> Hashable:
    plane = image.plane
    axes = (*plane.row_cosine.tolist(), *plane.column_cosine.tolist())
    return *plane.position_mm.tolist(), *axes, *plane.pixel_spacing_mm, plane.rows, plane.columns


def _say_the_same(image: Image, another: Image) -> bool:
    if image.frame_number != another.frame_number or image.path == another.path:
        return False
    one, other = image.header, another.header
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
