"""The tables of docs/peers.md, of what two runs found."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .counting import FOUND

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "peers.md"


def write(runs: Sequence[dict[str, Any]]) -> None:
    """Put both tables between their marks."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for mark, table in (("counts", _counts(runs)), ("how sent", _by_how(runs))):
        head, begin, rest = text.partition(f"<!-- {mark} -->")
        text = f"{head}{begin}\n{table}\n<!-- end of {mark} -->{rest.partition(f'<!-- end of {mark} -->')[2]}"
    DOCUMENT.write_text(text, encoding="utf-8")


def _counts(runs: Sequence[dict[str, Any]]) -> str:
    rows = [[what, *(str(_count(run, what)) for run in runs)] for what in FOUND]
    return _table(["in the PACS in the end", *(run["side"] for run in runs)], rows)


def _by_how(runs: Sequence[dict[str, Any]]) -> str:
    """Right and once, by how the studies were sent."""
    sent = Counter(one["how"] for one in runs[0]["studies"])
    rows = [[how, str(number), *(str(_right(run, how)) for run in runs)] for how, number in sent.items()]
    return _table(["sent", "studies", *(f"{run['side']}: right, once" for run in runs)], rows)


def _count(run: dict[str, Any], what: str) -> int:
    return sum(one["found"] == what for one in run["studies"])


def _right(run: dict[str, Any], how: str) -> int:
    return sum(one["how"] == how and one["found"] == FOUND[0] for one in run["studies"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
