"""Whatever an event says, the mirror gets numbers, flags and words that it knows."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batch_job.contract import STAGES
from gateway.mirror.details import DETAILS, ConfiguredNames, mirrored_details

NAMES = ConfiguredNames(frozenset({"pacs"}), frozenset({"ct"}), frozenset({"tissue"}), frozenset({"g4dn"}))
EVIDENCE = {
    "requested",
    "released",
    "timeout with a gap",
    "timeout without release",
    "nothing else named",
    "timeout with named instances missing",
}
ANSWERS = {"all_here", "more_there", "fewer_there", "away", "silent", "refused", "nonsense"}
WAITING = {"quota", "environment_disabled", "capacity"}
KNOWN = {"pacs", "ct", "tissue", "g4dn", "main", "fallback", *STAGES, *EVIDENCE, *ANSWERS, *WAITING}

detail_names = st.sampled_from(sorted({name for table in DETAILS.values() for name in table}))
words = st.text() | st.sampled_from(sorted(KNOWN)) | st.sampled_from(["1.2.840.113619.2.55", "/a/b.dcm"])
plain = words | st.integers() | st.floats() | st.booleans() | st.none()
values = plain | st.lists(plain, max_size=2) | st.dictionaries(words, plain, max_size=2)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


@given(
    event=st.sampled_from(sorted(DETAILS)) | st.text(),
    detail=st.dictionaries(detail_names | words, values, max_size=4),
)
def test_mirrored_details_hold_no_word_that_is_not_in_the_table_or_the_configuration(
    event: str, detail: dict[str, Any]
) -> None:
    kept = mirrored_details(event, detail, NAMES)
    assert set(kept) <= set(DETAILS.get(event, {}))
    assert {word for value in kept.values() for word in _strings(value)} <= KNOWN


@given(
    name=st.sampled_from(["destination", "rule", "task", "instance", "lane", "code", "evidence", "run"]),
    event=st.sampled_from(sorted(DETAILS)),
    value=st.lists(words) | st.dictionaries(words, words) | st.none() | st.just(float("nan")),
)
def test_details_of_no_plain_value_are_left_out(name: str, event: str, value: Any) -> None:
    assert mirrored_details(event, {name: value}, NAMES) == {}


@given(number=st.integers(-(10**15), 10**15) | st.floats(1e-15, 1e15))
def test_numbers_under_a_listed_name_are_kept_as_they_are(number: float) -> None:
    assert mirrored_details("job.run_lost", {"exit_code": number}, NAMES) == {"exit_code": number}
