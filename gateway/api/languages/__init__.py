"""In which language the API's sentences are: the one that whoever asks reads, where it is known here.

English stands in the code, and is the key of the other languages' catalogues. What the ledger keeps as a
sentence, as the reason of a failure, stays as it was written.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

from .spanish import SPANISH

ENGLISH: Final = "en"
CATALOGUES: Final[Mapping[str, Mapping[str, str]]] = {ENGLISH: {}, "es": SPANISH}
READERS: ContextVar[str] = ContextVar("language of the reader", default=ENGLISH)


def for_the_reader(english: str) -> str:
    """A sentence, or the pattern of one, in the reader's language; in English where that has none."""
    return CATALOGUES[READERS.get()].get(english, english)


def preferred(accepted: str) -> str:
    """The language known here that is accepted most, the first of several; English where none is."""
    wishes: list[tuple[float, str]] = []
    for each in accepted.split(","):
        tag, _, weight = each.strip().partition(";q=")
        try:
            wishes.append((float(weight or 1), tag.split("-")[0].lower()))
        except ValueError:
            continue
    known = [(weight, tag) for weight, tag in wishes if tag in CATALOGUES and weight > 0]
    return max(known, key=lambda wish: wish[0])[1] if known else ENGLISH
