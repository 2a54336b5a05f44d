"""One of the volumes that a series holds, by its number or by what tells it apart from the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword

from .errors import UnusableSeries
from .reading.headers import text_of
from .reading.stacks import KINDS

if TYPE_CHECKING:
    from .series import Volume

MOST_NAMED = 4
"""So many reasons, or volumes, a refusal names."""


@dataclass(frozen=True)
class Choice:
    """Which volume is meant: its number from 1, in a judgement's order, or values by DICOM keyword.

    Of an attribute with several values one has to be equal; numbers are compared as such.
    """

    number: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def among(self, volumes: Sequence["Volume"]) -> Sequence["Volume"]:
        """Those of a judgement's volumes that it fits.

        Raises
        ------
        UnusableSeries
            None does; the text says how to choose.
        """
        unknown = [keyword for keyword in self.where if tag_for_keyword(keyword) is None]
        if unknown:
            raise UnusableSeries(f"{unknown[0]} is no keyword of DICOM, as EchoTime is; correct it")
        fitting = volumes
        if self.number is not None:
            fitting = volumes[self.number - 1 : self.number] if self.number > 0 else ()
            if not fitting:
                raise UnusableSeries(f"there is no volume {self.number}; {how_to_choose(volumes)}")
        if self.where and fitting:
            fitting = [volume for volume in fitting if _fits(volume, self.where)]
            if not fitting:
                said = " and ".join(f"{keyword} {value}" for keyword, value in self.where.items())
                raise UnusableSeries(f"no volume has {said}; {how_to_choose(volumes)}")
        return fitting


def how_to_choose(volumes: Sequence["Volume"]) -> str:
    """How to, and between what: nothing that a site or a patient is called by."""
    shown = {kind.keyword for kind in KINDS if kind.unit is not None}
    between = []
    for number, (volume, apart) in enumerate(zip(volumes, distinctions(volumes), strict=True), start=1):
        told = [f"{keyword}={value}" for keyword, value in apart.items() if keyword in shown]
        between.append(", ".join((f"{number}: {len(volume.frames)} images", *told)))
    how = "choose one by its number or by what tells it apart, as --volume 1 or --where EchoTime=5"
    return "; ".join((f"{how} (`iris volumes` lists them)", *first_of(between, "volumes")))


def first_of(texts: Sequence[str], what: str) -> list[str]:
    """Not more than a sentence can hold."""
    rest = len(texts) - MOST_NAMED
    return [*texts[:MOST_NAMED], *([f"and {rest} {what} more"] if rest > 0 else [])]


def distinctions(volumes: Sequence["Volume"]) -> list[dict[str, str]]:
    """What tells volumes apart, of each the values by keyword: attributes that all its images have in common,
    and in which volumes differ.
    """
    keywords = dict.fromkeys(("SeriesNumber", *(kind.keyword for kind in KINDS if kind.part is None)))
    values = [{keyword: _common_value(volume, keyword) for keyword in keywords} for volume in volumes]
    telling = [keyword for keyword in keywords if len({each[keyword] for each in values}) > 1]
    return [{keyword: each[keyword] for keyword in telling if each[keyword]} for each in values]


def _common_value(volume: "Volume", keyword: str) -> str:
    """Empty where images differ in it."""
    first = text_of(volume.header, keyword)
    return first if all(text_of(header, keyword) == first for header in volume.headers) else ""


def _fits(volume: "Volume", where: Mapping[str, str]) -> bool:
    return all(
        any(_is_equal(value, wanted) for value in (text, *text.split("\\")))
        for keyword, wanted in where.items()
        for text in {text_of(header, keyword) for header in volume.headers}
    )


def _is_equal(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return value.strip().casefold() == wanted.strip().casefold()
