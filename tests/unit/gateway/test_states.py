"""The state machines: enum, transition table, schema and docs say the same."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger import states
from gateway.ledger.states import (
    CORRECTION_TRANSITIONS,
    DELIVERY_TRANSITIONS,
    JOB_OPEN,
    JOB_TRANSITIONS,
    RESUME,
    STUDY_TRANSITIONS,
    CorrectionEvent,
    CorrectionState,
    DeliveryEvent,
    DeliveryState,
    JobEvent,
    JobState,
    StudyEvent,
    StudyState,
    UnknownTransition,
    next_delivery_state,
    next_job_state,
    next_study_state,
    resume_state,
    transition_names,
)
from gateway.ledger.store import Ledger

DOCS = Path(__file__).parents[3] / "docs" / "states.md"
MACHINES = [
    pytest.param("Job", JobState, JobEvent, JOB_TRANSITIONS, "jobs", id="job"),
    pytest.param("Delivery", DeliveryState, DeliveryEvent, DELIVERY_TRANSITIONS, "deliveries", id="delivery"),
    pytest.param(
        *("Correction", CorrectionState, CorrectionEvent, CORRECTION_TRANSITIONS, "corrections"),
        id="correction",
    ),
    pytest.param("Study", StudyState, StudyEvent, STUDY_TRANSITIONS, "studies", id="study"),
]
Triples = set[tuple[str, str, str]]


def _section(name: str) -> str:
    return DOCS.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]


def _documented(name: str) -> Triples:
    """Every (state, event, state) of a section's lettered table; a target in brackets is RESUME."""
    rows = re.findall(
        r"^\| [A-Z] \| (\w+) \| ([\w, ]+) \| ([\w() ]+) \| .+ \|$", _section(name), re.MULTILINE
    )
    return {
        (state, event, "RESUME" if target.startswith("(") else target)
        for event, sources, target in rows
        for state in sources.split(", ")
    }


def _in_table(table: dict[tuple[Any, Any], Any]) -> Triples:
    return {
        (str(state), str(event), "RESUME" if target is RESUME else str(target))
        for (state, event), target in table.items()
    }


@pytest.mark.parametrize(("name", "state_enum", "event_enum", "table", "sql_table"), MACHINES)
def test_states_in_docs_and_table_agree(
    name: str, state_enum: type[StrEnum], event_enum: type[StrEnum], table: Any, sql_table: str
) -> None:
    assert _documented(name) == _in_table(table)


@pytest.mark.parametrize(("name", "state_enum", "event_enum", "table", "sql_table"), MACHINES)
def test_states_in_enum_and_table_agree(
    name: str, state_enum: type[StrEnum], event_enum: type[StrEnum], table: Any, sql_table: str
) -> None:
    targets = {target for target in table.values() if target is not RESUME}
    assert {state for state, _ in table} | targets == set(state_enum)
    assert {event for _, event in table} == set(event_enum)


@pytest.mark.parametrize(("name", "state_enum", "event_enum", "table", "sql_table"), MACHINES)
def test_states_in_schema_and_enum_agree(
    name: str,
    state_enum: type[StrEnum],
    event_enum: type[StrEnum],
    table: Any,
    sql_table: str,
    tmp_path: Path,
) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        rows = ledger.read("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (sql_table,))
    definition = str(rows[0]["sql"])
    check = re.search(r"\bstate\s+TEXT NOT NULL CHECK \(state IN \(([^)]*)\)\)", definition)
    assert check is not None
    assert set(re.findall(r"'(\w+)'", check[1])) == set(state_enum)


@pytest.mark.parametrize(("name", "state_enum", "event_enum", "table", "sql_table"), MACHINES)
def test_states_in_diagram_and_table_agree(
    name: str, state_enum: type[StrEnum], event_enum: type[StrEnum], table: Any, sql_table: str
) -> None:
    section = _section(name)
    letters = dict(re.findall(r"^\| ([A-Z]) \| (\w+) \|", section, re.MULTILINE))
    assert len(set(letters.values())) == len(letters) == len(event_enum)
    arrows = re.findall(r"^    (\w+) --> (\w+): ([A-Z])$", section, re.MULTILINE)
    assert {letter for *_, letter in arrows} == set(letters)
    allowed = _in_table(table)
    for source, target, letter in arrows:
        sources = [str(state) for state in JOB_OPEN] if source == "open" else [source]
        wanted = "RESUME" if target == "open" else target
        assert any((state, letters[letter], wanted) in allowed for state in sources), (source, target)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", JobEvent)
def test_job_event_that_the_table_lacks_raises(state: JobState, event: JobEvent) -> None:
    if (state, event) in JOB_TRANSITIONS:
        assert isinstance(next_job_state(state, event, JobState.STAGED), JobState)
    else:
        with pytest.raises(UnknownTransition, match=f"{state} cannot take the event {event}"):
            next_job_state(state, event, JobState.STAGED)


@pytest.mark.parametrize("state", DeliveryState)
@pytest.mark.parametrize("event", DeliveryEvent)
def test_delivery_event_that_the_table_lacks_raises(state: DeliveryState, event: DeliveryEvent) -> None:
    if (state, event) in DELIVERY_TRANSITIONS:
        assert next_delivery_state(state, event) is DELIVERY_TRANSITIONS[state, event]
    else:
        with pytest.raises(UnknownTransition):
            next_delivery_state(state, event)


@pytest.mark.parametrize("state", StudyState)
@pytest.mark.parametrize("event", StudyEvent)
def test_study_event_that_the_table_lacks_raises(state: StudyState, event: StudyEvent) -> None:
    if (state, event) in STUDY_TRANSITIONS:
        assert next_study_state(state, event) is STUDY_TRANSITIONS[state, event]
    else:
        with pytest.raises(UnknownTransition):
            next_study_state(state, event)


def test_resuming_job_without_a_state_to_resume_raises() -> None:
    with pytest.raises(UnknownTransition):
        next_job_state(JobState.FAILED, JobEvent.RETRIED, None)


def test_resume_state_of_a_run_is_staged_of_a_result_segmented_and_else_where_it_was() -> None:
    expected = {state: state for state in JOB_OPEN} | dict.fromkeys(
        (JobState.SUBMITTED, JobState.RUNNABLE, JobState.RUNNING), JobState.STAGED
    )
    expected[JobState.ENCODED] = JobState.SEGMENTED
    assert {state: resume_state(state) for state in JOB_OPEN} == expected


def test_every_open_job_can_fail_be_cancelled_and_be_superseded() -> None:
    for event in (JobEvent.FAILED, JobEvent.CANCELLED, JobEvent.SUPERSEDED):
        assert all((state, event) in JOB_TRANSITIONS for state in JOB_OPEN)


def test_transition_names_are_those_of_the_tables() -> None:
    names = transition_names()
    assert len(names) == len(set(names))
    assert set(names) == {
        *(f"job.{event}" for event in JobEvent),
        *(f"delivery.{event}" for event in DeliveryEvent),
        *(f"study.{event}" for event in StudyEvent),
    }
    assert states.AT_THE_QUEUE <= JOB_OPEN
