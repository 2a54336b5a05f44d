"""The tables of docs/converter.md: written between their marks, and read again by the tests."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.geometry.ours import Outcome
from benchmarks.geometry.vendors import Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "converter.md"
RECORD = Path(__file__).with_name("peers.json")
"""What the peers made of each case when they were last measured."""

MANY_IMAGES = 3
"""Of more only how many there are of each outcome is said."""

COLUMNS = {
    "fixed_flips": "fixed flips",
    "affines": "affines",
    "dcmqi": "dcmqi",
    "totalsegmentator": "TotalSegmentator",
    "moose": "MOOSE",
    "boa": "BOA",
}


def outcome_table(outcomes: dict[str, Outcome]) -> str:
    """One row a case: ours as measured now, the peers' as recorded."""
    recorded = record()["outcomes"]
    lines = [_line(["series", "judged as", "IRIS", *COLUMNS.values()]), _line(["---"] * (3 + len(COLUMNS)))]
    for name, outcome in outcomes.items():
        peers = [_peer(recorded[name].get(way, {})) for way in COLUMNS]
        lines.append(_line([name, outcome.judged, outcome.landed, *peers]))
    return "\n".join(lines)


def rows_in_the_document(mark: str) -> list[list[str]]:
    """The cells of a table as it stands in the document, without its head."""
    return [line.strip("| ").split(" | ") for line in between(mark).splitlines()[2:]]


def record() -> dict[str, Any]:
    """What was recorded of the peers: `measured_from`, `measured_to`, `versions`, `outcomes`."""
    recorded: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return recorded


def about_peers() -> str:
    """One sentence: when the peers were measured, and which versions."""
    recorded = record()
    versions = ", ".join(f"{name} {version}" for name, version in recorded["versions"].items())
    first, last = recorded["measured_from"], recorded["measured_to"]
    when = f"on {last}" if first == last else f"from {first} to {last}"
    return f"Peers measured {when}: {versions}."


def vendor_table(rows: list[Row]) -> str:
    """One row for each maker, modality and outcome."""
    lines = [_line(["from", "made by", "modality", "files", "judged as"]), _line(["---"] * 5)]
    lines += [_line([row.source, row.maker, row.modality, str(row.files), row.judged]) for row in rows]
    return "\n".join(lines)


def between(mark: str) -> str:
    """What stands in the document between `<!-- mark -->` and `<!-- end of mark -->`."""
    return _parted(mark)[1].strip("\n")


def put(mark: str, text: str) -> None:
    """Replace it."""
    before, _, after = _parted(mark)
    DOCUMENT.write_text(f"{before}{text}\n{after}", encoding="utf-8")


def _parted(mark: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(begin)
    text, _, after = rest.partition(end)
    if not after:
        raise ValueError(f"docs/converter.md has no place for {mark}")
    return before + begin, text, end + after


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _peer(of_images: dict[str, str]) -> str:
    """A peer's outcome; where dcm2niix wrote several images, for each of them."""
    by_outcome: dict[str, list[str]] = defaultdict(list)
    for image, text in of_images.items():
        by_outcome[text.partition(":")[0]].append(image)
    if len(by_outcome) == 1:
        return next(iter(by_outcome))
    if len(of_images) > MANY_IMAGES:
        counts = ", ".join(f"{len(images)} x {text}" for text, images in by_outcome.items())
        return f"{len(of_images)} images: {counts}"
    return "; ".join(f"{text} ({', '.join(images)})" for text, images in by_outcome.items()) or "not measured"
