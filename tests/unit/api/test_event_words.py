"""Lines of the timeline in sentences: every event that the gateway writes has its own."""

import ast
import re
from pathlib import Path

import pytest

from gateway.api.studies.event_words import SENTENCES, sentence_of
from gateway.ledger.states import transition_names

ROOM = Path(__file__).parents[3] / "gateway"
_EVENT = re.compile(r"(study|job|delivery|instance|association)\.[a-z_]+")
NO_EVENTS = {
    "study.find", "study.quiet_s",  # keys of the configuration
    "job.waits_", "study.results_",  # beginnings
    "study.erased", "delivery.begun", "delivery.commitment_begun",  # steps without a line
}  # fmt: skip
PUT_TOGETHER = {
    *(f"job.waits_{on}" for on in ("machine", "outside", "turn")),
    *(f"job.{how}" for how in ("accepted", "adopted", "owned", "taken", "stalled", "timed_out")),
    *(
        f"delivery.{what}"
        for what in ("put_off", "tried_now", "commitment_awaited", "commitment_not_offered")
    ),
}


def written_events() -> set[str]:
    found = {*transition_names(), *PUT_TOGETHER}
    for path in {*ROOM.rglob("*.py")} - {ROOM / "api" / "studies" / "event_words.py"}:
        words = [
            node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
        ]
        found |= {word for word in words if isinstance(word, str) and _EVENT.fullmatch(word)}
    return found - NO_EVENTS


def test_every_event_has_a_sentence_and_every_sentence_an_event() -> None:
    assert written_events() == SENTENCES.keys()


@pytest.mark.parametrize("event", sorted(SENTENCES))
def test_sentence_of_an_event_of_which_nothing_more_is_known_is_whole(event: str) -> None:
    sentence = sentence_of(event, {})
    assert re.fullmatch(r"[A-Z][^\[\]{}|]*\w", sentence), sentence


@pytest.mark.parametrize(
    ("event", "detail", "sentence"),
    [
        ("delivery.sent", {"destination": "pacs", "answer": "0x0000", "by": "ann"},
         "pacs has it: 0x0000 (asked for by ann)"),
        ("delivery.sent", {}, "Its destination has it"),
        ("job.put_off", {"delay_s": 10.0, "reason": "no room"}, "Put off for 10 s: no room"),
        ("study.pacs_answered", {"answer": "more_there", "missing": 0},
         "The PACS was asked what it holds: it holds more than came; missing here: 0"),
        ("instance.quarantined", {"reason": "a [b] {c}"}, "An object was put aside: a [b] {c}"),
        ("job.delivered", {}, "Every destination has it"),
        ("job.delivered", {"reason": "the label map is ready"}, "Over: the label map is ready"),
        ("job.dreamt_of", {}, "job: dreamt of"),
    ],
)  # fmt: skip
def test_sentence_of_an_event_says_what_is_known(
    event: str, detail: dict[str, object], sentence: str
) -> None:
    assert sentence_of(event, detail) == sentence
