"""A table of labels as CSV: the name of each value, and its codes where it has them.

    value,name,category,type,type_modifier,rgb
    1,spleen,,,,
    2,node,49755003 Morphologically Abnormal Structure,27925004 Nodule,,255 0 0

`value` and `name` have to be there. A code is SNOMED CT's, followed by its meaning; with `type`, `category`
has to be there as well. What other columns say is not read. A name without codes has those that the
terminology knows of it.
"""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from batch_job.refusals import ContractError, reasons_in

from . import StructureCodes

CODES: Final = ("category", "type", "type_modifier", "region", "region_modifier")
MOST_LABELS: Final = 255


@dataclass(frozen=True)
class LabelTable:
    """Value to name, and codes by name."""

    names: Mapping[int, str]
    codes: Mapping[str, StructureCodes]


def read_label_table(path: Path) -> LabelTable:
    """Read a table.

    Raises
    ------
    ContractError
        It is not as it must be; the text says in which line.
    """
    names: dict[int, str] = {}
    codes: dict[str, StructureCodes] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream), 2):
                value, name, coded = _label(row, f"{path.name}, line {number}")
                if value in names or name in names.values():
                    raise ContractError(
                        f"{path.name}, line {number}: a value or a name that stands there before"
                    )
                names[value] = name
                if coded is not None:
                    codes[name] = coded
    except (UnicodeDecodeError, csv.Error):
        raise ContractError(f"{path.name} is no CSV in UTF-8") from None
    if not names:
        raise ContractError(f"{path.name} names no value; its first line is value,name")
    return LabelTable(dict(sorted(names.items())), codes)


def _label(row: Mapping[str | None, str | None], where: str) -> tuple[int, str, StructureCodes | None]:
    value, name = (row.get("value") or "").strip(), (row.get("name") or "").strip()
    if not value.isdecimal() or not 1 <= int(value) <= MOST_LABELS or not name:
        raise ContractError(f"{where}: a value from 1 to {MOST_LABELS} and a name are needed")
    if not name.isprintable():
        raise ContractError(f"{where}: the name has a line's end or another sign that is none")
    said = {column: text for column in CODES if (text := (row.get(column) or "").strip())}
    if not said:
        return int(value), name, None
    colour = (row.get("rgb") or "").split() or _colour(name)
    try:
        pairs = {column: tuple(text.split(maxsplit=1)) for column, text in said.items()}
        return int(value), name, StructureCodes.model_validate({**pairs, "rgb": colour})
    except ValidationError as error:
        raise ContractError(f"{where}: {reasons_in(error)}") from None


def _colour(name: str) -> list[int]:
    """One that is always the same."""
    return [64 + each // 2 for each in hashlib.sha256(name.encode()).digest()[:3]]
