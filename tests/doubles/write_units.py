"""What writes into the mirror's table cost, as DynamoDB bills them.

A write unit is a write of up to 1 KB (1,024 bytes), larger ones are rounded up. Each index that an item
stands in costs the same once more, and twice where the item's index keys change: its old entry is deleted
there, its new one put. An item's size is that of the UTF-8 names and values of its attributes, numbers a byte
for every two digits and one more, lists and maps 3 bytes and one for each of what they hold (Developer Guide,
"DynamoDB item sizes and formats").
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, Final

from tests.doubles.recording_proxy import Sent

UNIT_BYTES: Final = 1024
INDEXES: Final = (("state", "updated_at"), ("job_key",))


def write_units(requests: Iterable[Sent]) -> Counter[str]:
    """The write units of all items put, in their order, by what the items are: `STUDY`, `JOB`, `EVENT`."""
    units: Counter[str] = Counter()
    table: dict[tuple[str, str], Mapping[str, Any]] = {}
    for sent in requests:
        if sent.operation != "PutItem":
            continue
        item = json.loads(sent.body)["Item"]
        key = item["pk"]["S"], item["sk"]["S"]
        units[key[1].partition("#")[0]] += _units_of(item, table.get(key))
        table[key] = item
    return units


def _units_of(item: Mapping[str, Any], before: Mapping[str, Any] | None) -> int:
    size = ceil(item_bytes(item) / UNIT_BYTES)
    writes = 1
    for keys in INDEXES:
        is_in = all(name in item for name in keys)
        was_in = before is not None and all(name in before for name in keys)
        has_moved = was_in and is_in and any(before[name] != item[name] for name in keys)
        writes += 2 if has_moved else int(is_in or was_in)
    return size * writes


def item_bytes(item: Mapping[str, Any]) -> int:
    """An item's size."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    [(kind, of)] = value.items()
    match kind:
        case "S":
            return len(of.encode())
        case "N":
            return ceil(len(of.lstrip("-").replace(".", "")) / 2) + 1
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + _value_bytes(each) for each in of)
        case "M":
            return 3 + sum(1 for _ in of) + item_bytes(of)
    raise ValueError(f"nobody has said what a value of kind {kind} costs")
