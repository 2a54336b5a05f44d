"""The page's sentences: each is there in Spanish, with the same details, and none that nobody says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api.page_routes import FOLDER
from gateway.ledger.states import DeliveryState, JobState, StudyState

SAID = re.compile(r"\bsay\(\s*(\"(?:[^\"\\]|\\.)*\")")
CALLED = re.compile(r"\bsay\(\s*(?!\")")
STANDS_THERE = re.compile(r"data-say(?:>|\s[^>]*>)([^<]*)<")
LABELS = re.compile(r"aria-label=\"([^\"]*)\"[^>]*data-say-label")
CODES = {
    *(state.value.replace("_", " ") for kind in (StudyState, JobState, DeliveryState) for state in kind),
    *("forgetting", "study", "job", "delivery", "upload", "released"),  # of outcomes
}
"""What the page says by `named`."""


def _scripts() -> Iterator[tuple[Path, str]]:
    for path in FOLDER.rglob("*.js"):
        yield path, path.read_text(encoding="utf-8")


def _said() -> set[str]:
    found = {json.loads(literal) for _, text in _scripts() for literal in SAID.findall(text)}
    for path in FOLDER.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        found |= {" ".join(words.split()) for words in STANDS_THERE.findall(text)}
        found |= set(LABELS.findall(text))
    return found


def _spanish() -> dict[str, str]:
    text = (FOLDER / "parts" / "spanish.js").read_text(encoding="utf-8")
    pairs: list[tuple[str, str]] = json.loads(
        re.sub(r",\s*}", "}", text[text.index("{") :].rstrip(";\n")), object_pairs_hook=list
    )
    keys = [key for key, _ in pairs]
    assert keys == sorted(set(keys))
    return dict(pairs)


SPANISH = _spanish()


def test_every_sentence_of_the_page_is_there_in_spanish_and_no_other() -> None:
    assert _said() | CODES == SPANISH.keys()


def test_sentences_stand_in_the_code_as_they_are() -> None:
    """Put together of parts or variables they would not be found."""
    words = FOLDER / "parts" / "words.js"
    assert [path.name for path, text in _scripts() if CALLED.search(text) and path != words] == []


@pytest.mark.parametrize("english", sorted(SPANISH))
def test_spanish_sentence_of_the_page_has_the_details_of_the_english_one(english: str) -> None:
    spanish = SPANISH[english]
    assert sorted(re.findall(r"\{\w+\}", spanish)) == sorted(re.findall(r"\{\w+\}", english))
    assert (spanish[:1].isspace(), spanish[-1:].isspace()) == (english[:1].isspace(), english[-1:].isspace())
