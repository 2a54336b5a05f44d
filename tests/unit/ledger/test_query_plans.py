"""Nothing that an event or a request runs reads more of the ledger than it is about, however much there is.

Each statement's plan is looked at, and what each question and each step costs is counted in a small and in a
large ledger. What may read a whole table, or all that is in one state, stands here with its reason.
"""

import ast
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from benchmarks.large_ledger.make import Size, make_large_ledger, study_uid_of
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.store import Cut, WhichQuarantined
from gateway.ledger import finding
from gateway.ledger.bulk import Action, Wanted, selected
from gateway.ledger.completion import (
    PlannedJob,
    StudyPlan,
    complete_study,
    images_of_jobs,
    jobs_of,
    receiving_studies,
)
from gateway.ledger.deliveries import (
    awaited_destinations,
    due_of_job,
    failed_by_destination,
    is_any_pending,
    next_delivery,
    pending_deliveries,
    put_off_deliveries,
    standing_of,
    still_pending,
    tell_all,
)
from gateway.ledger.erasing import forget
from gateway.ledger.finding import ANY, StudyFilter, count_studies
from gateway.ledger.happenings import happenings, newest_line
from gateway.ledger.history import bytes_a_day, past
from gateway.ledger.instances import (
    ArrivedInstance,
    StudyHeader,
    association_closed,
    current_instance,
    current_instances,
    is_known_file,
    result_of_ours,
    store_instance,
    study_of_series,
)
from gateway.ledger.keys import Kind, Named
from gateway.ledger.ordering import Order, Sort
from gateway.ledger.outbox import backlog_of, due_changes
from gateway.ledger.removals import is_being_cleared
from gateway.ledger.resending import resend_delivery, resend_job
from gateway.ledger.results import record_result, revisions_delivered
from gateway.ledger.retention import DoneStudy, Part, Terms, oldest_with, remove_part
from gateway.ledger.revisits import (
    ask_again,
    delivered_there,
    forget_revisits,
    look_later,
    note_came_again,
    revisited_destinations,
    revisits_of,
    settle,
    tried_revisits,
)
from gateway.ledger.runs import open_runs
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.traits import known_values
from gateway.ledger.transaction import NotPossible
from gateway.ledger.waiting import Waits
from gateway.ledger.watched import Stretch, happened, standing
from gateway.ledger.work import job, next_job, put_off_jobs
from gateway.mirror.details import ConfiguredNames
from gateway.mirror.items import Items
from tests.ledger_statements import (
    ROOT,
    Plans,
    Statement,
    Steps,
    plan_of,
    statements,
    statements_of_triggers,
    watched_connections,
)
from tests.results import result_of_one

WHICH_QUARANTINED = [
    WhichQuarantined(),
    WhichQuarantined(reason="not_dicom"),
    WhichQuarantined(sender="PACS"),
    WhichQuarantined(is_dismissed=True),
]
OPEN = "only what is open stands in these states, and what is open ends"
PAGE = "in the order of its index, and no further than its LIMIT"
ALLOWED = {
    "SELECT * FROM runs INDEXED BY runs_with_copy": OPEN,
    "SELECT job_key, not_before FROM jobs WHERE state = ? AND not_before": OPEN,
    "SELECT * FROM jobs WHERE state = 'staged' AND priority < ?": OPEN,
    "SELECT 1 FROM jobs WHERE state = 'staged' AND not_before < ?": OPEN,
    "UPDATE jobs SET not_before = ? WHERE state = 'staged'": OPEN,
    "SELECT r.id, r.submitted_at FROM runs r JOIN jobs j": PAGE,
    "SELECT json_extract(detail, '$.usd_estimate') AS usd FROM events WHERE event": "a person asks",
    "SELECT study_key AS key, study_uid FROM studies WHERE state = ?1": "a person asks",
    "SELECT job_key AS key, study_uid FROM jobs WHERE state = ?1": "a person asks",
    "SELECT d.key, d.study_uid FROM deliveries d WHERE d.state = ?1": "a person asks",
    "SELECT job_key FROM jobs WHERE state IN (": OPEN,
    "SELECT min(r.waiting_since) AS since FROM jobs j JOIN runs r": OPEN,
    "SELECT * FROM studies WHERE state = ?": OPEN,
    "SELECT reason AS name FROM quarantine INDEXED BY": "the first entry of the next name",
    "SELECT sender AS name FROM quarantine INDEXED BY": "the first entry of the next name",
    "SELECT key, coalesce(study_uid, '') AS study_uid FROM quarantine WHERE dismissed": "a person asks",
    "SELECT study_key FROM studies WHERE state = ? LIMIT 100": OPEN,
    "SELECT j.job_key, j.stage, j.fraction, s.study_key FROM jobs j": OPEN,
    "SELECT 1 FROM tombstones WHERE removed_at >= ? LIMIT 1": "one entry",
    "SELECT key FROM deliveries INDEXED BY deliveries_by_reason": PAGE,
    "SELECT 1 FROM deliveries WHERE state = 'pending' AND destination = ? LIMIT 1": "one entry",
    "SELECT destination FROM deliveries INDEXED BY deliveries_pending": "the first entry of the next name",
    "SELECT destination FROM revisits INDEXED BY revisits_by_destination": "the first entry of the next name",
    "SELECT * FROM revisits INDEXED BY revisits_by_destination": PAGE,
    "SELECT * FROM revisits INDEXED BY revisits_tried": "the index holds one or two until it is known",
    "DELETE FROM revisits WHERE destination = ?": "of who can say nothing, and then they are gone",
    "SELECT destination, count(*) AS number FROM deliveries INDEXED BY deliveries_failed": "a page has it",
    "SELECT d.job_key, min(d.unkept_since) AS since": "the index holds only what nobody keeps yet",
    "SELECT DISTINCT job_key FROM deliveries INDEXED BY deliveries_unkept": "the same",
    "SELECT destination FROM deliveries INDEXED BY deliveries_unkept": "the first entry of the next name",
    "SELECT due_at FROM mirror_outbox ORDER BY due_at LIMIT 1": "the first entry",
    "SELECT d.* FROM json_each(?) k CROSS JOIN deliveries d ON d.key = k.value": "some keys",
    "SELECT d.key FROM json_each(?) k CROSS JOIN deliveries d ON d.key = k.value": "some keys",
    "SELECT count(*) AS number, min(pending_since)": "the entries of one name that nobody has",
    "SELECT * FROM runs INDEXED BY runs_open WHERE is_open = 1": "the index holds only runs that may live",
    "SELECT s.* FROM choices c INDEXED BY choices_open": "the index holds only choices that are not planned",
    "SELECT * FROM corrections INDEXED BY corrections_waiting": "the index holds only what nobody looked at",
    "SELECT * FROM withdrawals INDEXED BY withdrawals_waiting": "the index holds only what is open",
    "SELECT * FROM named_lists INDEXED BY named_lists_to_report": "the index holds only open requests",
    "DELETE FROM named_lists WHERE named_at < ?": "only what is too old, and then it is gone",
    "SELECT min(at) AS since FROM (SELECT min(received_at)": "the first entry of each of two states",
    "SELECT s.* FROM studies s INDEXED BY": PAGE,
    "SELECT s.* FROM study_traits t CROSS JOIN studies s": PAGE,
    "SELECT s.* FROM (SELECT DISTINCT study_uid FROM": "gathered, since they are FEW",
    "SELECT count(*) AS number FROM (SELECT 1 FROM (": "no further than FEW",
    "SELECT count(*) AS number FROM studies s WHERE": "a person asks how many they are",
    "SELECT count(*) AS number FROM (SELECT DISTINCT study_uid FROM": "a person asks how many they are",
    "SELECT s.study_uid FROM": "a person does something with all of them",
    "SELECT 1 FROM studies WHERE patient_id >= ? AND patient_id < ? LIMIT 1": "one entry",
    "SELECT 1 FROM studies WHERE accession_number >= ? AND accession_number < ? LIMIT 1": "one entry",
    "SELECT * FROM mirror_outbox WHERE due_at NOT BETWEEN ? AND ? ORDER BY number LIMIT ?": PAGE,
    "SELECT count(*) AS waiting FROM mirror_outbox": "pages are counted, not rows",
    "SELECT study_uid, study_key, done_at FROM studies s WHERE (done_at, study_uid) > (": PAGE,
    "SELECT study_uid FROM studies WHERE forget_at IS NOT NULL": OPEN,
    "SELECT s.study_key, s.updated_at FROM studies s WHERE s.state IN": OPEN,
    "DELETE FROM receivers WHERE name NOT IN": "a row for each in the configuration, at the start",
    "UPDATE receivers SET counted = min(": "the same",
    "SELECT * FROM tokens ORDER BY created_at": "a person asks, and made each of them",
    "SELECT * FROM tokens WHERE revoked_at IS NULL": "the same",
    "SELECT name FROM sqlite_master": "the schema itself",
    "SELECT coalesce(sum(studies), 0) AS studies": "a row for ten minutes of the span, a month's at most",
    "WITH kept AS (SELECT study_uid, received_at FROM studies": "a mirror is filled once, or on request",
}
"""What begins so may read more than it is about."""
IN_THE_BACKGROUND = (
    "gateway/commands/",
    "gateway/ledger/mending.py",
    "gateway/ledger/salvage.py",
    "gateway/ledger/soundness.py",
)
"""What stands here looks at the whole file when a person asks, or is never waited for."""

ONE_ROW = re.compile(r"SCAN (mirror|watch|counts|json_each|CONSTANT|\(subquery|\d+ CONSTANT)\b")
"""Tables of one row, of one row a state, and none at all."""
NARROW = re.compile(
    r"[(\s](study_uid|prior_study_uid|study_key|series_uid|sop_instance_uid|job_key|fallback_of|key|kind|path|rowid|id|name"
    r"|list|delivery_key|transaction_uid|receiver)=\?"
    r"|(rowid|path|key|job_key|study_key|study_uid)>\? AND (rowid|path|key|job_key|study_key|study_uid)<\?"
)
"""About one study, job, object, file or receiver, a stretch of the timeline, one folder, keys alike."""


def _faults(sql: str, plan: tuple[str, ...]) -> list[str]:
    """What in this plan grows with the ledger."""
    if any(sql.startswith(beginning) for beginning in ALLOWED):
        return []
    searched = [line for line in plan if line.startswith("SEARCH") and "(" in line]
    sorts = any("TEMP B-TREE" in line for line in plan)
    if sql.endswith(" LIMIT 1") and " WHERE " not in sql and not sorts:
        return []  # one entry
    is_page = "ORDER BY" in sql and "LIMIT" in sql and not sorts
    scans = [line for line in plan if line.startswith("SCAN") and not ONE_ROW.match(line)]
    broad = [line for line in searched if not NARROW.search(line) and "(subquery" not in line]
    automatic = [line for line in plan if "AUTOMATIC" in line]
    return [*scans, *automatic, *([] if is_page else broad)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("empty") / "ledger.sqlite"
    Ledger(path).close()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


# -- statements as they stand in the sources ----------------------------------------------------------------


def test_every_whole_statement_reads_only_what_it_is_about(empty: sqlite3.Connection) -> None:
    whole = [
        (one.place, form)
        for one in statements()
        if not one.place.startswith(IN_THE_BACKGROUND)
        for form in one.forms
    ]
    faults = {
        f"{place}: {form}": found for place, form in whole if (found := _faults(form, plan_of(empty, form)))
    }

    assert len(whole) > 80
    assert faults == {}, "give it an index, or name it in ALLOWED with the reason why it may"


def test_every_statement_of_a_trigger_reads_only_what_it_is_about(empty: sqlite3.Connection) -> None:
    programs = list(statements_of_triggers(empty))
    faults = {
        f"{name}: {sql}": found for name, sql in programs if (found := _faults(sql, plan_of(empty, sql)))
    }

    assert len(programs) > 20
    assert faults == {}


def test_every_reference_to_another_row_has_an_index_for_its_removal(empty: sqlite3.Connection) -> None:
    tables = [
        row[0] for row in empty.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    ]
    columns = [
        (table, row[3])
        for table in tables
        for row in empty.execute(f"PRAGMA foreign_key_list({table})").fetchall()
    ]
    faults = {
        f"{table}.{column}": plan
        for table, column in columns
        if (plan := plan_of(empty, f"SELECT 1 FROM {table} WHERE {column} = ?"))
        if any(line.startswith("SCAN") for line in plan)
    }

    assert ("instances", "study_uid") in columns
    assert faults == {}


def test_every_row_is_updated_by_a_key_of_its_table(empty: sqlite3.Connection) -> None:
    calls = [call for path in (ROOT / "gateway").rglob("*.py") for call in _updates_in(path)]
    faults = {
        f"{place}: {table}.{column}": plan
        for place, table, column in calls
        if (plan := plan_of(empty, f"SELECT 1 FROM {table} WHERE {column} = ?"))
        if not NARROW.search(plan[0])
    }

    assert len(calls) > 20
    assert faults == {}


def _updates_in(path: Path) -> Iterator[tuple[str, str, str]]:
    """Calls of `transaction.update(table, key, ...)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(ast.Attribute(attr="update"), [ast.Constant(table), ast.Constant(key), _, _]):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", table, key


# -- statements that are put together at run time -----------------------------------------------------------

Deed = Callable[[Ledger], object]


SINCE = datetime(2020, 1, 1, tzinfo=UTC)
FILTERS = (
    ANY,
    *(StudyFilter(state=state) for state in ("done", "failed")),
    *(StudyFilter(waits=waits) for waits in Waits if waits is not Waits.PERSON),
    StudyFilter(since=SINCE, until=datetime(2100, 1, 1, tzinfo=UTC)),
    StudyFilter(state="done", since=SINCE),
    *(StudyFilter(sought=sought) for sought in ("NOBODY", study_uid_of(3), "1.2", "PID")),
    StudyFilter(modality="CT"),
    StudyFilter(sender="PACS", state="done", until=SINCE),
    StudyFilter(rule="ct", destination="pacs", flag="none"),
    StudyFilter(keys=("a key",)),
)


GATHERED = (StudyFilter(waits=Waits.PERSON), StudyFilter(state="failed", modality="CT"))
"""What is so for few of them: these are gathered, up to FEW, and put in order."""


def _listed(ledger: Ledger, wanted: StudyFilter, order: Order, *, from_cursor: bool) -> object:
    store = LedgerStore(ledger)
    cursor = store.studies(ANY, order, Cut(2))["next_cursor"] if from_cursor else None
    return store.studies(wanted, order, Cut(1, cursor))


def _lists() -> Iterator[Deed]:
    for wanted, from_cursor in product(FILTERS, (False, True)):
        yield partial(_listed, wanted=wanted, order=Order(), from_cursor=from_cursor)
    for by, down, wanted in product(Sort, (True, False), (ANY, StudyFilter(state="done", modality="CT"))):
        yield partial(_listed, wanted=wanted, order=Order(by, is_descending=down), from_cursor=True)
    for cursor, which in product((None, "a cursor"), WHICH_QUARANTINED):
        yield lambda ledger, c=cursor, w=which: LedgerStore(ledger).quarantine(
            w, Cut(1, _cursor(ledger) if c else None)
        )


def _cursor(ledger: Ledger) -> str:
    """One that leaves out the two newest studies."""
    return str(LedgerStore(ledger).studies(ANY, None, Cut(2))["next_cursor"])


def _meant_of_one(ledger: Ledger, action: Action) -> None:
    with suppress(NotPossible):
        selected(ledger, action, Wanted(of=Named(Kind.STUDY, "a key", study_uid_of(3))))


def _job_key(ledger: Ledger) -> str:
    [found] = jobs_of(ledger, study_uid_of(3))
    return found.job_key


def _ship(ledger: Ledger) -> object:
    names = ConfiguredNames(frozenset({"pacs"}), frozenset({"ct"}), frozenset({"total"}))
    return Items(ledger, "site", names, 90).of(due_changes(ledger, 400), 1)


AN_HOUR = (datetime(2025, 1, 1, 7, tzinfo=UTC), datetime(2025, 1, 1, 8, tzinfo=UTC))
QUESTIONS: dict[str, Deed] = {
    **{f"list {number}": deed for number, deed in enumerate(_lists())},
    "study": lambda ledger: LedgerStore(ledger).study(study_uid_of(3)),
    "job": lambda ledger: LedgerStore(ledger).job(_job_key(ledger)),
    "traits": known_values,
    "study of a correction": lambda ledger: LedgerStore(ledger).study("nothing begins so"),
    "figures": lambda ledger: LedgerStore(ledger).counts(),
    "standing": standing,
    "happened": lambda ledger: happened(ledger, Stretch(0, 200, is_last=False)),
    "happenings": lambda ledger: happenings(ledger, Stretch(0, 200, is_last=False)),
    "where the timeline ends": newest_line,
    "what an hour brought": lambda ledger: past(ledger, *AN_HOUR),
    "what a day brings": lambda ledger: bytes_a_day(ledger, AN_HOUR[1]),
    "is it ours": lambda ledger: result_of_ours(ledger, "1.2.3"),
    "known instance": lambda ledger: current_instance(ledger, "1.2.3"),
    "known series": lambda ledger: study_of_series(ledger, "1.2.3"),
    "known file": lambda ledger: is_known_file(ledger, "instances/a.dcm"),
    "instances": lambda ledger: current_instances(ledger, study_uid_of(3)),
    "images": lambda ledger: images_of_jobs(ledger, study_uid_of(3)),
    "receiving": receiving_studies,
    "next job": lambda ledger: next_job(ledger, JobState.PLANNED),
    "next urgent job": lambda ledger: next_job(ledger, JobState.PLANNED, at_least=1),
    "put off": lambda ledger: put_off_jobs(ledger, JobState.PLANNED),
    "open runs": open_runs,
    "next delivery": lambda ledger: next_delivery(ledger, "pacs", {"a"}, {"b"}),
    "next of a job": lambda ledger: due_of_job(ledger, "pacs", "job", {"a"}),
    "deliveries that wait": lambda ledger: next(pending_deliveries(ledger, "pacs"), None),
    "whether any waits": lambda ledger: is_any_pending(ledger, "pacs"),
    "which still wait": lambda ledger: still_pending(ledger, "pacs", {"a"}),
    "put off deliveries": lambda ledger: put_off_deliveries(ledger, "pacs"),
    "awaited destinations": awaited_destinations,
    "told why": lambda ledger: tell_all(ledger, "pacs", "nobody is there"),
    "told why at first": lambda ledger: tell_all(ledger, "pacs", "nobody is there", but_who_says_one=True),
    "revisions": lambda ledger: revisions_delivered(ledger, jobs_of(ledger, study_uid_of(3))[0]),
    "backlog": backlog_of,
    "changes to ship": _ship,
    **{f"oldest with {part}": lambda ledger, p=part: oldest_with(ledger, p) for part in Part},
    **{f"what is meant of one by {action}": partial(_meant_of_one, action=action) for action in Action},
    "destinations": standing_of,
    "failed there": failed_by_destination,
    "revisits": lambda ledger: revisits_of(ledger, "pacs", 10),
    "tried revisits": lambda ledger: tried_revisits(ledger, "pacs"),
    "whom to ask": revisited_destinations,
    "what is there": lambda ledger: delivered_there(ledger, study_uid_of(3), "pacs"),
    "cleared": lambda ledger: is_being_cleared(ledger, "a" * 64),
}


def _receive(ledger: Ledger) -> None:
    header = StudyHeader("9.1", "key of 9.1", "P", "A", "20260101", "")
    arrived = ArrivedInstance(
        header, "9.1.1", "9.1.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "CT", 2, "",
        "instances/a.dcm", 1, "h", "p", "g", True, "", "PACS",
    )  # fmt: skip
    with ledger.transaction() as transaction:
        store_instance(transaction, arrived, 1)
    with ledger.transaction() as transaction:
        association_closed(transaction, ["9.1"], released=True, sender="PACS")


def _complete(ledger: Ledger) -> None:
    planned = PlannedJob(
        "a" * 64, "9.1.1", "slot", "ct", "tissue", {}, "threshold", 0, ("9.1.1.1",), ("pacs",), ("seg",), "h"
    )
    with ledger.transaction() as transaction:
        complete_study(transaction, StudyPlan("9.1", 1, (planned,), ()), evidence="released")


def _run(ledger: Ledger) -> None:
    for event in (
        JobEvent.CONVERTED,
        JobEvent.STAGED,
        JobEvent.SUBMITTED,
        JobEvent.STARTED,
        JobEvent.SEGMENTED,
    ):
        with ledger.transaction() as transaction:
            transaction.move_job("a" * 64, event)


def _encode(ledger: Ledger) -> None:
    made = job(ledger, "a" * 64)
    assert made is not None
    with ledger.transaction() as transaction:
        record_result(
            transaction, made, result_of_one("results/a.dcm", "2.25.1", "h"), lambda _: ["pacs", "archive"]
        )


def _deliver(ledger: Ledger) -> None:
    show = LedgerStore(ledger).study("9.1")
    assert show is not None
    [to_archive] = [one["key"] for one in show["deliveries"] if one["destination"] == "archive"]
    with ledger.transaction() as transaction:
        transaction.move_delivery(to_archive, DeliveryEvent.FAILED, reason="refused")
    LedgerActions(ledger).retry(to_archive)
    _all_arrive(ledger)
    for to in ("", "viewer"):
        with ledger.transaction() as transaction:
            resend_job(transaction, "a" * 64, to)
        _all_arrive(ledger)
    with ledger.transaction() as transaction:
        resend_delivery(transaction, to_archive)
    _all_arrive(ledger)
    _come_again(ledger)


def _come_again(ledger: Ledger) -> None:
    with ledger.transaction() as transaction:
        assert note_came_again(transaction, "9.1", {"9.1.1.1"})
    first, *others = [revisits_of(ledger, name, 1)[0] for name in revisited_destinations(ledger)]
    with ledger.transaction() as transaction:
        ask_again(transaction, first, 1.0)
        look_later(transaction, first, 1.0, ["a key"])
        settle(transaction, first, "study.results_back")
        forget_revisits(transaction, others[0].destination)


def _all_arrive(ledger: Ledger) -> None:
    show = LedgerStore(ledger).study("9.1")
    assert show is not None
    for delivery in show["deliveries"]:
        if delivery["state"] == "pending":
            with ledger.transaction() as transaction:
                transaction.move_delivery(delivery["key"], DeliveryEvent.SENT)


def _stop_and_go_on(ledger: Ledger) -> None:
    actions, store = LedgerActions(ledger), LedgerStore(ledger)
    shown = store.study(study_uid_of(2))
    assert shown is not None
    [held] = shown["jobs"]
    for act in (actions.release, actions.cancel, actions.retry, actions.cancel):
        act(held["job_key"])


def _remove(ledger: Ledger) -> None:
    rows = ledger.read("SELECT study_uid, study_key, done_at FROM studies WHERE study_uid = '9.1'")
    study = DoneStudy(**dict(rows[0]))
    for part in (Part.IMAGES, Part.RESULTS):
        with ledger.transaction() as transaction:
            assert remove_part(transaction, study, part, Terms(), why="age")


def _forget(ledger: Ledger) -> None:
    LedgerActions(ledger).forget("9.1")
    with ledger.transaction() as transaction:
        assert forget(transaction, "9.1", lambda _: False)


STEPS_OF_WORK: dict[str, Deed] = {
    "an instance": _receive,
    "completion": _complete,
    "a run": _run,
    "a result": _encode,
    "deliveries": _deliver,
    "a person": _stop_and_go_on,
    "its age": _remove,
    "forgotten": _forget,
}
"""In this order, each once."""

FEW, MANY, INSTANCES = 110, 1100, 3


def _ledger_of(folder: Path, studies: int, long_timeline: int = 0) -> Ledger:
    return Ledger(make_large_ledger(folder, Size(studies, INSTANCES, long_timeline)))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    path = make_large_ledger(tmp_path_factory.mktemp("few"), Size(FEW, INSTANCES))
    with pytest.MonkeyPatch.context() as patch, watched_connections(patch) as plans, Ledger(path) as ledger:
        plans.clear()  # what opening it reads is looked at in its own tests
        patch.setattr(finding, "FEW", 20)
        for deed in (*QUESTIONS.values(), *STEPS_OF_WORK.values()):
            deed(ledger)
        for action in set(Action) - {Action.FORGET}:
            selected(ledger, action, Wanted())
        for wanted in FILTERS:
            selected(ledger, Action.FORGET, Wanted(studies=wanted, state="done"))
            count_studies(ledger, wanted)
        for wanted in GATHERED:
            LedgerStore(ledger).studies(wanted, None, Cut(1))
    return plans


def test_every_statement_that_is_put_together_is_run_here(ran: Plans) -> None:
    never_ran = [
        f"{statement.place}: {statement.text}"
        for statement in statements()
        if not statement.forms and not statement.place.startswith(IN_THE_BACKGROUND)
        if not any(statement.is_form_of(sql) for sql in ran)
    ]

    assert never_ran == [], (
        "ask it in QUESTIONS, or let it be run in STEPS_OF_WORK, so that its plan is known"
    )


def test_every_statement_that_was_run_reads_only_what_it_is_about(ran: Plans) -> None:
    faults = {sql: found for sql, plan in ran.items() if (found := _faults(sql, plan))}

    assert faults == {}, "give it an index, or name it in ALLOWED with the reason why it may"


def test_lists_go_along_an_index_in_every_order(ran: Plans) -> None:
    walks = {sql: plan for sql, plan in ran.items() if sql.startswith("SELECT s.* FROM study")}
    walks |= {sql: plan for sql, plan in ran.items() if sql.startswith("SELECT s.* FROM studies s")}
    sorted_anew = {sql: plan for sql, plan in walks.items() if any("TEMP B-TREE" in line for line in plan)}

    assert len(walks) > 20
    # Those that are receiving stand in no index that each image changes; they are few.
    assert [sql for sql in sorted_anew if "s.state = 'receiving'" not in sql] == []
    for index in ("received", "updated", "patient", "accession", "state", "images"):
        assert any(f"studies_by_{index}" in " ".join(plan) for plan in walks.values()), index


def test_what_is_gathered_is_found_along_an_index(ran: Plans) -> None:
    gathered = [plan for sql, plan in ran.items() if sql.startswith("SELECT s.* FROM (SELECT DISTINCT")]
    scans = [line for plan in gathered for line in plan if line.startswith("SCAN ")]

    assert len(gathered) > 10
    assert {line for line in scans if "USING" not in line} <= {
        *(f"SCAN (subquery-{number})" for number in range(9)),
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
    }


def test_everything_that_is_allowed_to_read_much_is_still_there(ran: Plans) -> None:
    texts = [*ran, *(statement.text for statement in statements())]

    assert [beginning for beginning in ALLOWED if not any(t.startswith(beginning) for t in texts)] == []


# -- what it costs ------------------------------------------------------------------------------------------


def test_everything_costs_as_much_in_a_large_ledger_as_in_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", 20)  # as much is gathered in both
    with _ledger_of(tmp_path / "few", FEW) as few, _ledger_of(tmp_path / "many", MANY) as many:
        costs = {
            name: (_cost(few, deed), _cost(many, deed)) for name, deed in (QUESTIONS | STEPS_OF_WORK).items()
        }

    assert min(small for small, _ in costs.values()) > 0
    assert {name: cost for name, cost in costs.items() if cost[1] > 1.1 * cost[0]} == {}


def test_a_study_with_a_very_long_timeline_is_shown_for_little(tmp_path: Path) -> None:
    def show(ledger: Ledger) -> Any:
        return LedgerStore(ledger).study(study_uid_of(0))

    with (
        _ledger_of(tmp_path / "short", FEW, 2_000) as short,
        _ledger_of(tmp_path / "long", FEW, 20_000) as long,
    ):
        costs = _cost(short, show), _cost(long, show)

    assert costs[1] - costs[0] < 5 * 18_000  # the newest lines are read, the others only counted in an index


def _cost(ledger: Ledger, deed: Deed) -> int:
    steps = Steps(ledger)
    with steps.counted():
        deed(ledger)
    return steps.steps


def test_a_statement_that_scans_is_found(empty: sqlite3.Connection) -> None:
    for sql in (
        "SELECT * FROM instances WHERE sender = ?",
        "SELECT count(*) FROM events",
        "SELECT * FROM jobs WHERE state = ? AND task = ?",
        "SELECT * FROM studies ORDER BY study_date LIMIT 1",
    ):
        assert _faults(sql, plan_of(empty, sql)), sql


def test_a_statement_put_together_is_known_again_by_its_parts() -> None:
    form = Statement("here:1", "SELECT * FROM {} WHERE key = ?")

    assert form.forms == ()
    assert form.is_form_of("SELECT * FROM jobs WHERE key = ?")
    assert not form.is_form_of("SELECT * FROM jobs WHERE state = ?")


def test_a_statement_with_a_list_of_values_is_known_before_it_is_run() -> None:
    form = Statement("here:1", "SELECT * FROM jobs WHERE state IN ({}) ORDER BY created_at")

    assert form.forms == (
        "SELECT * FROM jobs WHERE state IN (?) ORDER BY created_at",
        "SELECT * FROM jobs WHERE state IN (?, ?) ORDER BY created_at",
    )
