"""The API's sentences in the reader's language: which that is, and that none is forgotten."""

import re
from collections.abc import Iterator

import pytest

from gateway.api.languages import ENGLISH, preferred
from gateway.api.languages.spanish import SPANISH
from gateway.api.studies import event_words, whereabouts
from gateway.ledger import quarantine


def _said() -> Iterator[str]:
    """Every sentence, or pattern of one, that the API says by itself."""
    for saying in whereabouts.SAYINGS.values():
        yield from (saying.where, saying.what_to_do)
    yield from (whereabouts.AND, whereabouts.MANY, whereabouts.AND_MORE, whereabouts.BESIDE)
    yield from event_words.SENTENCES.values()
    yield from event_words.WORDS.values()
    yield event_words.BY
    for reason in (*quarantine.REASONS.values(), quarantine.reason_of("of a newer version")):
        yield from (reason.what, reason.to_do)


def test_every_sentence_is_there_in_spanish_and_no_other() -> None:
    assert set(_said()) == SPANISH.keys()


@pytest.mark.parametrize("english", sorted(SPANISH))
def test_spanish_sentence_has_the_details_of_the_english_one(english: str) -> None:
    spanish = SPANISH[english]
    assert sorted(re.findall(r"\{\w+\}", spanish)) == sorted(re.findall(r"\{\w+\}", english))
    assert spanish.count("[") == english.count("[") == spanish.count("]")
    assert english[0] == "[" or spanish[0].isupper() == english[0].isupper()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", ENGLISH),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-GB,en;q=0.9,es;q=0.8", ENGLISH),
        ("de-DE,de;q=0.9,es;q=0.5", "es"),
        ("de", ENGLISH),
        ("es;q=0", ENGLISH),
        ("es;q=much, *;q=0.1", ENGLISH),
    ],
)
def test_reader_gets_the_language_that_is_accepted_most(accepted: str, language: str) -> None:
    assert preferred(accepted) == language
