"""What the values of a label map mean, as somebody says it who has a model of his own: names, and codes.

A table is JSON, one of::

    {"1": "liver", "2": "spleen"}                       value to name
    {"liver": 1, "spleen": 2}                           name to value
    {"2": {"name": "node", "category": "49755003 Morphologically Abnormal Structure",
           "type": "27925004 Nodule", "rgb": [255, 0, 0]}}       with codes
    {"labels": ..., ...}                                nnU-Net's and the Decathlon's dataset.json
    {"network_data_format": {"outputs": {"pred": {"channel_def": ...}}}, ...}    MONAI's metadata.json

or CSV, where what follows the name may be left out::

    value,name,category,type,type_modifier,region,region_modifier,rgb
    2,node,49755003 Morphologically Abnormal Structure,27925004 Nodule,,,,255 0 0

A code is SNOMED CT's, followed by its meaning; another scheme stands before its code: `RADLEX:RID58 Liver`.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from .errors import UnusableLabels
from .inputs import AnyPath
from .terminology import SNOMED_CT, Code, Structure, structure

HIGHEST_VALUE: Final = 255
BACKGROUND: Final = "background"
IGNORED: Final = "ignore"
"""What nnU-Net calls voxels that it does not learn from; no result has them."""
NO_JSON: Final = (
    "the table of labels is no JSON object of values and names; write it as "
    '{"1": "liver", "2": "spleen"}, or give a .csv'
)
NO_CSV: Final = "the table of labels is no CSV whose first line is value,name; write that line first"
MORE_COLUMNS: Final = "there are more columns than in the first line; put a name with a comma in quotes"
OVERLAPPING: Final = (
    "has several values: such regions overlap, and each value of a result is only a part of one (an edema, "
    'not the whole tumor); say what each value is, as {"1": "edema", "2": "core"}'
)
NO_VALUES: Final = (
    "the bundle's metadata.json does not say what the values of its label maps mean: that is one output with "
    'a channel_def that begins with "0": "background"; write a table as {"1": "liver"} instead'
)
_CODED: Final = ("category", "type", "type_modifier", "region", "region_modifier")
_CODE: Final = re.compile(
    r"(?:(?P<scheme>[^\s:\\]{1,16}):)?(?P<value>[^\s:\\]{1,16})\s+(?P<meaning>[^\\]{1,64})"
)
"""Lengths are those of the value representations SH and LO (PS3.5 6.2)."""
_TOO_LONG: Final = 10
"""For a number; what has more digits is a name, or a mistake."""


@dataclass(frozen=True)
class Labels:
    """What the values of a label map mean.

    Parameters
    ----------
    names
        Label value, 1 to 255, to structure name; 0 is what is nothing.
    structures
        Codes and colours by structure name, for those that the terminology does not know or that are meant
        otherwise. A name without any has what the terminology knows of it, else a private code.

    Raises
    ------
    UnusableLabels
        No value, one that no label map has, or a name that two values have or that DICOM cannot hold.
    """

    names: Mapping[int, str]
    structures: Mapping[str, Structure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names:
            raise UnusableLabels('the table of labels names no value; write it as {"1": "liver"}')
        wrong = [v for v, name in self.names.items() if not 1 <= v <= HIGHEST_VALUE or not _is_name(name)]
        if wrong:
            raise UnusableLabels(
                f"the table of labels: {wrong[0]} is no value from 1 to {HIGHEST_VALUE} with a name; "
                "correct that"
            )
        names = list(self.names.values())
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise UnusableLabels(f"the table of labels calls two values {twice[0]}; give each its own name")

    @classmethod
    def read(cls, path: AnyPath) -> Self:
        """Read a table; a file whose name ends in `.csv` is CSV, any other JSON.

        Raises
        ------
        UnusableLabels
            It is not as it must be; the text says where.
        OSError
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise UnusableLabels("the table of labels is no text in UTF-8; save it as that") from None
        rows = _rows_of_csv(text) if path.suffix.lower() == ".csv" else _rows_of_json(text)
        names: dict[int, str] = {}
        structures: dict[str, Structure] = {}
        for value, row in rows:
            name = row.get("name")
            if value == 0 and str(name).casefold() == BACKGROUND:
                continue
            if value in names:
                raise UnusableLabels(f"the table of labels names the value {value} twice; leave one out")
            names[value] = name.strip() if isinstance(name, str) else ""
            said = _structure(names[value], row)
            if said is not None:
                structures[names[value]] = said
        return cls(names, structures)


def _is_name(name: str) -> bool:
    return bool(name.strip()) and name.isprintable() and "\\" not in name


# -- rows: a value, and what is said of it by column --------------------------------------------------------

_Rows = Iterable[tuple[int, Mapping[str, Any]]]


def _rows_of_csv(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a CSV, with semicolons where its first line has no comma, as spreadsheets of some countries."""
    lines = text.splitlines()
    reader = csv.DictReader(lines, delimiter="," if lines and "," in lines[0] else ";")
    reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or ()]
    if not {"value", "name"} <= set(reader.fieldnames):
        raise UnusableLabels(NO_CSV)
    try:
        for row in reader:
            value = (row["value"] or "").strip()
            if _is_value(value) and None not in row:
                yield int(value), row
            elif any(row.values()):
                what = f"{value or 'nothing'} is no value from 1 to {HIGHEST_VALUE}"
                wrong = f"{what}; correct it" if not _is_value(value) else MORE_COLUMNS
                raise UnusableLabels(f"the table of labels, line {reader.line_num}: {wrong}")
    except csv.Error:
        raise UnusableLabels(NO_CSV) from None


def _rows_of_json(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        read = json.loads(text, object_pairs_hook=_said_once)
    except (ValueError, RecursionError):
        raise UnusableLabels(NO_JSON) from None
    for key, said in _table_in(read).items():
        if _is_value(key):
            yield int(key), said if isinstance(said, dict) else {"name": said}
        elif key != IGNORED:
            yield _value_of(key, said), {"name": key}


def _is_value(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < _TOO_LONG


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        raise UnusableLabels("the table of labels says the same thing twice, under one key; leave one out")
    return said


def _table_in(read: object) -> Mapping[str, Any]:
    """The object of values and names, wherever a file of that kind has it."""
    if not isinstance(read, dict):
        raise UnusableLabels(NO_JSON)
    if isinstance(read.get("labels"), dict):
        labels: Mapping[str, Any] = read["labels"]
        return labels
    return _channels_of(read["network_data_format"]) if "network_data_format" in read else read


def _channels_of(data_format: object) -> Mapping[str, Any]:
    """Those of a bundle whose result has a value for each channel; overlapping ones have no background."""
    outputs = data_format.get("outputs") if isinstance(data_format, dict) else None
    each = outputs.values() if isinstance(outputs, dict) else ()
    said = [output.get("channel_def") for output in each if isinstance(output, dict)]
    found: list[dict[str, Any]] = [channels for channels in said if isinstance(channels, dict)]
    if len(found) != 1 or str(found[0].get("0")).casefold() != BACKGROUND:
        raise UnusableLabels(NO_VALUES)
    return found[0]


def _value_of(name: str, said: object) -> int:
    """The value of a name; nnU-Net may have one in a list of its own."""
    if isinstance(said, list) and len(said) > 1:
        raise UnusableLabels(f"the table of labels: {name} {OVERLAPPING}")
    value = said[0] if isinstance(said, list) and said else said
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnusableLabels(NO_JSON)
    return value


# -- codes --------------------------------------------------------------------------------------------------


def _structure(name: str, row: Mapping[str, Any]) -> Structure | None:
    """What a row says of codes and colour; None where that is nothing."""
    said = {part: text for part in _CODED if (text := str(row.get(part) or "").strip())}
    known = structure(name)
    coloured = replace(known, rgb=_rgb(name, row["rgb"])) if row.get("rgb") else None
    if not said:
        return coloured
    if not {"category", "type"} <= said.keys():
        raise UnusableLabels(
            f"the table of labels: {name} has codes, but not both category and type (PS3.3 C.8.20.4); give "
            "them, as 123037004 Anatomical Structure and 10200004 Liver"
        )
    codes = {part: _code(name, text) for part, text in said.items()}
    return Structure(
        name=name,
        category=codes["category"],
        type=codes["type"],
        type_modifier=codes.get("type_modifier"),
        region=codes.get("region"),
        region_modifier=codes.get("region_modifier"),
        rgb=(coloured or known).rgb,
        is_private=False,
    )


def _code(name: str, text: str) -> Code:
    match = _CODE.fullmatch(text)
    scheme = (match and match["scheme"]) or SNOMED_CT
    if not match or not text.isprintable() or (scheme == SNOMED_CT and not match["value"].isdecimal()):
        raise UnusableLabels(
            f"the table of labels: {name} has a code that is no SNOMED CT code with its meaning, as 10200004 "
            "Liver, and names no other scheme, as RADLEX:RID58 Liver; correct it"
        )
    return Code(match["value"], scheme, match["meaning"])


def _rgb(name: str, said: object) -> tuple[int, int, int]:
    parts = [str(part) for part in said] if isinstance(said, list) else str(said).split()
    if len(parts) != 3 or not all(_is_value(part) and int(part) <= 255 for part in parts):
        raise UnusableLabels(
            f"the table of labels: the rgb of {name} is not three numbers from 0 to 255, as 255 0 0; "
            "correct it"
        )
    red, green, blue = map(int, parts)
    return red, green, blue
