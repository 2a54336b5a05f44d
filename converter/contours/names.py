"""Names of regions as radiotherapy systems take them.

Eclipse refuses structure names of more than 16 characters; others refuse what is not ASCII, or signs that
mean something in paths. The whole name stands in the ROI Description.
"""

import re
from collections.abc import Sequence
from typing import Final

LONGEST_NAME: Final = 16
_SIDES: Final = {"left": "L", "right": "R"}
_DISPENSABLE: Final = frozenset({"and", "of", "the"})


def region_names(names: Sequence[str]) -> list[str]:
    """A name for each structure: short, of letters, digits, `_` and `-`, and no two alike in either case."""
    taken: set[str] = set()
    found = []
    for name in names:
        short = _fitted(_words(name), LONGEST_NAME)
        number = 2
        unique = short
        while unique.lower() in taken:
            unique = f"{_fitted(_words(name), LONGEST_NAME - 1 - len(str(number)))}_{number}"
            number += 1
        taken.add(unique.lower())
        found.append(unique)
    return found


def _words(name: str) -> list[str]:
    words = [word for word in re.split(r"[^A-Za-z0-9-]+", name) if word] or ["structure"]
    return [_SIDES.get(word.lower(), word) for word in words]


def _fitted(words: Sequence[str], longest: int) -> str:
    """Leave out small words, then shorten the longest one again and again; sides and numbers stay."""
    text = "_".join(words)
    if len(text) > longest:
        words = [word for word in words if word.lower() not in _DISPENSABLE] or list(words)
    while len(text := "_".join(words)) > longest:
        at = max(range(len(words)), key=lambda place: len(words[place]))
        if len(words[at]) == 1:
            return text[:longest].rstrip("_")
        words = [*words[:at], words[at][:-1], *words[at + 1 :]]
    return text
