"""Makes structures.csv and tasks.json from an unpacked TotalSegmentator package and our corrections.

    pip download --no-deps TotalSegmentator==2.18.0 && unzip TotalSegmentator-*.whl -d upstream
    python -m converter.codes.build upstream

TotalSegmentator is licensed under Apache-2.0; version and licence are recorded in tasks.json.
"""

import csv
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .corrections import CORRECTIONS, TISSUE_TASK, CodePair

HERE = Path(__file__).parent
COLUMNS = (
    "name",
    "category",
    "category_meaning",
    "type",
    "type_meaning",
    "type_modifier",
    "type_modifier_meaning",
    "region",
    "region_meaning",
    "region_modifier",
    "region_modifier_meaning",
    "rgb",
)
_UPSTREAM = (
    "SegmentedPropertyCategoryCodeSequence",
    "SegmentedPropertyTypeCodeSequence",
    "SegmentedPropertyTypeModifierCodeSequence",
    "AnatomicRegionSequence",
    "AnatomicRegionModifierSequence",
)


def build(upstream: Path) -> None:
    """Write both data files next to this script."""
    package = upstream / "totalsegmentator"
    rows = _upstream_rows(package / "resources" / "totalsegmentator_snomed_mapping.csv")
    for name, (*codes, rgb) in CORRECTIONS.items():
        kept = rows[name]["rgb"] if name in rows else ""
        colour = ",".join(map(str, rgb)) if rgb else kept
        rows[name] = _row(name, codes, colour)
    with (HERE / "structures.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
    tasks = {name: table for name, table in _class_maps(package).items() if name != "test"}
    content = {
        "source": {"package": "TotalSegmentator", "version": _version(upstream), "licence": "Apache-2.0"},
        "tasks": {"tissue": dict(TISSUE_TASK), **dict(sorted(tasks.items()))},
    }
    (HERE / "tasks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _upstream_rows(path: Path) -> dict[str, dict[str, str]]:
    rows = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            codes = []
            for sequence in _UPSTREAM:
                scheme, value = row[f"{sequence}.CodingSchemeDesignator"], row[f"{sequence}.CodeValue"]
                if value and scheme != "SCT":
                    raise ValueError(f"{row['Structure']}: an unexpected coding scheme {scheme}")
                codes.append((value, row[f"{sequence}.CodeMeaning"]) if value else None)
            rows[row["Structure"]] = _row(row["Structure"], codes, row["DicomRGBColor"])
    return rows


def _row(name: str, codes: Any, rgb: str) -> dict[str, str]:
    values = [name]
    for code in codes:
        pair: CodePair = code or ("", "")
        values += pair
    return dict(zip(COLUMNS, [*values, rgb], strict=True))


def _class_maps(package: Path) -> Mapping[str, Mapping[int, str]]:
    """The class maps: a module of plain dictionaries, run without the rest of the package."""
    spec = importlib.util.spec_from_file_location("map_to_binary", package / "map_to_binary.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(package / "map_to_binary.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    class_maps: Mapping[str, Mapping[int, str]] = module.class_map
    return class_maps


def _version(upstream: Path) -> str:
    (folder,) = upstream.glob("*otal*egmentator-*.dist-info")
    return folder.name.removesuffix(".dist-info").partition("-")[2]


if __name__ == "__main__":
    build(Path(sys.argv[1]))
