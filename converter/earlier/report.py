"""An earlier report, read back: its measurement groups, and the flags that stand anywhere in it."""

from collections.abc import Iterator

from pydicom import Dataset

from converter.reading.headers import text_of
from converter.report import concepts
from converter.terminology import Code

from . import EarlierResult


def read_report(report: Dataset) -> EarlierResult:
    """What a report of this software says.

    Raises
    ------
    ValueError, LookupError, AttributeError, TypeError
        It is not as this software writes it.
    """
    every = list(_items(report))
    groups = [item for item in every if _is(item, concepts.MEASUREMENT_GROUP)]
    volumes, tracking = {}, {}
    for group in groups:
        name = text_of(_child(group, concepts.TRACKING_IDENTIFIER), "TextValue")
        if not name or name in volumes:
            raise ValueError("a structure has no name, or is there twice")
        is_cut = _code(_child(group, concepts.TRUNCATED)) == concepts.YES.value
        volumes[name] = (_ml(_child(group, concepts.VOLUME)), is_cut)
        tracking[name] = text_of(_child(group, concepts.TRACKING_UID), "UID")
    algorithms = {text_of(item, "TextValue") for item in every if _is(item, concepts.ALGORITHM_NAME)}
    (algorithm,) = algorithms or {""}
    told = {text_of(item, "TextValue") for item in every if _is(item, concepts.ALGORITHM_PARAMETERS)}
    flags = {_code(item) for item in every if _is(item, concepts.FLAG)}
    return EarlierResult(report, algorithm, frozenset(told), volumes, tracking, frozenset(flags))


def _ml(item: Dataset) -> float:
    (measured,) = item.MeasuredValueSequence
    (unit,) = measured.MeasurementUnitsCodeSequence
    if text_of(unit, "CodeValue") != concepts.MILLILITRE.value:
        raise ValueError("a volume is in another unit")
    value = float(measured.get("FloatingPointValue", measured.NumericValue))
    if not 0 <= value < float("inf"):
        raise ValueError("a volume is none")
    return value


def _items(item: Dataset) -> Iterator[Dataset]:
    for each in item.get("ContentSequence") or ():
        yield each
        yield from _items(each)


def _is(item: Dataset, concept: Code) -> bool:
    (name,) = item.get("ConceptNameCodeSequence") or [Dataset()]
    said = text_of(name, "CodeValue"), text_of(name, "CodingSchemeDesignator")
    return said == (concept.value, concept.scheme)


def _child(group: Dataset, concept: Code) -> Dataset:
    """The only item of its name in a group."""
    found: list[Dataset] = [item for item in group.get("ContentSequence") or () if _is(item, concept)]
    (only,) = found
    return only


def _code(item: Dataset) -> str:
    (code,) = item.ConceptCodeSequence
    return text_of(code, "CodeValue") or text_of(code, "LongCodeValue")  # of more than 16 characters
