"""What a structure is called in codes: SNOMED CT with laterality and region, display colours, label tables.

The data are TotalSegmentator's, corrected (see `codes/`). A name without a code gets a private one in the
scheme 99IRIS, never a guess.
"""

import colorsys
import csv
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from .errors import ConverterError

SNOMED_CT: Final = "SCT"
PRIVATE_SCHEME: Final = "99IRIS"


class UnknownTask(ConverterError):
    """There is no label table of that name."""


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """A structure as DICOM describes it; `rgb` is 0 to 255."""

    name: str
    category: Code
    type: Code
    type_modifier: Code | None
    region: Code | None
    region_modifier: Code | None
    rgb: tuple[int, int, int]
    is_private: bool


def structure(name: str) -> Structure:
    """Look a structure up by its name; one without a code gets a private one (`is_private`)."""
    return _structures().get(name) or _private(name)


def tasks() -> tuple[str, ...]:
    """Every task that has a label table."""
    return tuple(_tables())


def label_table(task: str) -> dict[int, str]:
    """Label value to structure name of a task.

    Raises
    ------
    UnknownTask
    """
    tables = _tables()
    if task not in tables:
        raise UnknownTask(f"there is no label table for that task; known: {', '.join(tables)}")
    return dict(tables[task])


@cache
def _structures() -> dict[str, Structure]:
    text = resources.files("converter.codes").joinpath("structures.csv").read_text(encoding="utf-8")
    return {row["name"]: _of_row(row) for row in csv.DictReader(text.splitlines())}


def _of_row(row: dict[str, str]) -> Structure:
    def code(column: str) -> Code | None:
        value = row[column]
        return Code(value, SNOMED_CT, row[f"{column}_meaning"]) if value else None

    category, kind = code("category"), code("type")
    if category is None or kind is None:
        raise ValueError(f"{row['name']} lacks a category or a type in structures.csv")
    red, green, blue = (int(part) for part in row["rgb"].split(","))
    return Structure(
        name=row["name"],
        category=category,
        type=kind,
        type_modifier=code("type_modifier"),
        region=code("region"),
        region_modifier=code("region_modifier"),
        rgb=(red, green, blue),
        is_private=False,
    )


def _private(name: str) -> Structure:
    digest = hashlib.sha256(name.encode()).digest()
    red, green, blue = colorsys.hsv_to_rgb(digest[0] / 256, 0.5 + digest[1] / 512, 0.6 + digest[2] / 640)
    return Structure(
        name=name,
        category=Code("123037004", SNOMED_CT, "Anatomical Structure"),
        type=Code(digest.hex()[:12].upper(), PRIVATE_SCHEME, name.replace("_", " ")[:64]),
        type_modifier=None,
        region=None,
        region_modifier=None,
        rgb=(round(red * 255), round(green * 255), round(blue * 255)),
        is_private=True,
    )


@cache
def _tables() -> dict[str, dict[int, str]]:
    text = resources.files("converter.codes").joinpath("tasks.json").read_text(encoding="utf-8")
    tables: dict[str, dict[str, str]] = json.loads(text)["tasks"]
    return {task: {int(value): name for value, name in table.items()} for task, table in tables.items()}
