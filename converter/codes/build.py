"""Makes codes.json from an unpacked TotalSegmentator package and our corrections.

::

    pip download --no-deps TotalSegmentator==2.18.0
    python -m zipfile -e totalsegmentator-2.18.0-*.whl UPSTREAM
    python -m converter.codes.build UPSTREAM

Upstream's version and licence (Apache-2.0) are read from the package and recorded in the file.
"""

import csv
import json
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from .corrections import (
    ADDED_ROWS,
    REPLACED_CODES,
    REPLACED_ROWS,
    CodePair,
    Row,
)
from .palette import PALETTE

PACKAGE: Final = "TotalSegmentator"
TARGET: Final = Path(__file__).with_name("codes.json")
LICENCES: Final = {"Apache 2.0": "Apache-2.0", "Apache-2.0": "Apache-2.0"}
"""What upstream may say of its licence, and the SPDX identifier; another one stops the build."""

_SEQUENCES: Final = {
    "category": "SegmentedPropertyCategoryCodeSequence",
    "type": "SegmentedPropertyTypeCodeSequence",
    "type_modifier": "SegmentedPropertyTypeModifierCodeSequence",
    "region": "AnatomicRegionSequence",
    "region_modifier": "AnatomicRegionModifierSequence",
}

Record = dict[str, Any]


class UpstreamChanged(Exception):
    """Upstream is not what the corrections were written for."""


def build(upstream: Path) -> str:
    """Give the data file's text.

    Parameters
    ----------
    upstream
        The folder that holds `totalsegmentator/` and its `.dist-info`.

    Raises
    ------
    UpstreamChanged
        A correction changes nothing any more, or the licence or a coding scheme is another one.
    """
    package = upstream / "totalsegmentator"
    rows = _upstream_rows(package / "resources" / "totalsegmentator_snomed_mapping.csv")
    content: dict[str, Mapping[Any, Any]] = {
        "source": _source(upstream),
        "structures": dict(sorted(_corrected(rows).items())),
    }
    return _one_line_each(content)


def _source(upstream: Path) -> dict[str, str]:
    (found,) = metadata.distributions(name=PACKAGE, path=[str(upstream)])
    said = found.metadata["License"]
    if said not in LICENCES:
        raise UpstreamChanged(f'{PACKAGE} {found.version} says of its licence "{said}"; read it first')
    return {
        "package": PACKAGE,
        "version": found.version,
        "licence": LICENCES[said],
        "changes": "converter/codes/corrections.py",
    }


def _upstream_rows(path: Path) -> dict[str, Record]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["Structure"]: _record(row) for row in csv.DictReader(stream)}


def _record(row: Mapping[str, str]) -> Record:
    record: Record = {}
    for part, sequence in _SEQUENCES.items():
        scheme, value = row[f"{sequence}.CodingSchemeDesignator"], row[f"{sequence}.CodeValue"]
        if value and scheme != "SCT":
            raise UpstreamChanged(f"{row['Structure']} has a code of the scheme {scheme}, which is new")
        if value:
            record[part] = (value, row[f"{sequence}.CodeMeaning"])
    record["rgb"] = [int(part) for part in row["DicomRGBColor"].split(",")]
    return record


def _corrected(upstream: Mapping[str, Record]) -> dict[str, Record]:
    rows = {name: dict(record) for name, record in upstream.items()}
    unused = set(REPLACED_CODES)
    for record in rows.values():
        for part in _SEQUENCES.keys() & record.keys():
            code: CodePair = record[part]
            unused.discard(code)
            record[part] = REPLACED_CODES.get(code, code)
    _refuse("codes are no longer there to be replaced", (f"{code} {said}" for code, said in unused))
    replaced = {name: _of_row(row, rows.get(name)) for name, row in REPLACED_ROWS.items()}
    _refuse("rows need no replacing", (name for name, record in replaced.items() if record == rows.get(name)))
    _refuse("added rows are there already", ADDED_ROWS.keys() & rows.keys())
    added = {name: _of_row(row, None) for name, row in ADDED_ROWS.items()}
    return _recoloured({**rows, **replaced, **added})


def _recoloured(rows: Mapping[str, Record]) -> dict[str, Record]:
    _refuse("there are colours of what is not there", PALETTE.keys() - rows.keys())
    return {name: {**row, "rgb": list(PALETTE.get(name, row["rgb"]))} for name, row in rows.items()}


def _of_row(row: Row, before: Record | None) -> Record:
    codes = {part: getattr(row, part) for part in _SEQUENCES}
    rgb = list(row.rgb) if row.rgb else before["rgb"] if before else None
    if rgb is None:
        raise UpstreamChanged(f"{row.type[1]} has no colour, neither here nor upstream")
    return {**{part: code for part, code in codes.items() if code}, "rgb": rgb}


def _refuse(what: str, names: Iterable[str]) -> None:
    found = sorted(names)
    if found:
        raise UpstreamChanged(f"{what}: {', '.join(found)}; look at corrections.py again")


def _one_line_each(content: Mapping[str, Mapping[Any, Any]]) -> str:
    """JSON with one line a structure, so that a change can be reviewed."""
    sections = []
    for name, section in content.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in section.items()]
        sections.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n " + ",\n ".join(sections) + "\n}\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m converter.codes.build FOLDER (of the unpacked TotalSegmentator package)")
    TARGET.write_text(build(Path(sys.argv[1]).resolve()), encoding="utf-8")
