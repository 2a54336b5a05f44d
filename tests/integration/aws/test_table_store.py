"""Lists and timelines read from moto's DynamoDB: order, pages that stay right, what is left out."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.adapters.aws.dynamodb import DynamoMirror
from gateway.adapters.aws.dynamodb_reading import DynamoReader
from gateway.adapters.mirror import Item, ItemKey, ItemKind, MirrorItem
from gateway.api.cursors import BadCursor, write_cursor
from gateway.api.mirrored.table_store import TableStore
from gateway.api.store import Cut, NotHere
from gateway.ledger.finding import ANY, StudyFilter
from gateway.ledger.ordering import Order, Sort
from gateway.ledger.records import utc_text
from tests.mirrored_ledger import dynamodb, make_table

pytestmark = pytest.mark.usefixtures("aws_environment")

START = datetime(2026, 1, 31, 8, tzinfo=UTC)


def _at(minute: int) -> str:
    return utc_text(START + timedelta(minutes=minute))


class Table:
    """A table that is written item by item, and read as the API reads it."""

    def __init__(self, url: str) -> None:
        self.client, self.name = dynamodb(url), make_table(url)
        self._mirror = DynamoMirror(self.client, self.name)
        self._version = 0
        self.reader = DynamoReader(self.client, self.name)
        self.store = TableStore(self.reader)

    def _put(self, key: ItemKey, **attributes: Any) -> None:
        self._version += 1
        assert self._mirror.put(MirrorItem(key, self._version, {"site": "north", **attributes})) is None

    def study(self, key: str, state: str, changed: int, received: int = 0, jobs: int = 0) -> None:
        self._put(
            ItemKey(key, ItemKind.STUDY), study_key=key, state=state, reason="", received_at=_at(received),
            updated_at=_at(changed), series=1, instances=2, jobs=jobs,
        )  # fmt: skip

    def job(self, study: str, key: str, created: int, destinations: Sequence[str] = ()) -> None:
        self._put(
            ItemKey(study, ItemKind.JOB, key), job_key=key, study_key=study, task="tissue", rule="ct",
            engine="threshold", priority=0, state="running", reason="", run=2, attempt=1, lane="main",
            stage="segment", fraction=0.5, created_at=_at(created), changed_at=_at(created), outputs=[],
            deliveries=[
                {"key": f"{key}-{name}", "destination": name, "state": "pending", "reason": "", "attempts": 0,
                 "changed_at": _at(created)}
                for name in destinations
            ],
        )  # fmt: skip

    def line(self, study: str, number: int, job: str = "") -> None:
        self._put(
            ItemKey(study, ItemKind.EVENT, str(number)), event="job.put_off", at=_at(number),
            details={"delay_s": number / 2}, **({"job": job} if job else {}),
        )  # fmt: skip

    def listed(
        self, limit: int = 500, cursor: str | None = None, **given: Any
    ) -> tuple[list[str], str | None]:
        page = self.store.studies(StudyFilter(**given), None, Cut(limit, cursor))
        return [one["study_key"] for one in page["items"]], page["next_cursor"]

    def pages(self, limit: int, **given: Any) -> list[str]:
        """Every page, one after the other."""
        found, cursor = self.listed(limit, **given)
        while cursor is not None:
            more, cursor = self.listed(limit, cursor, **given)
            assert 0 < len(more) <= limit
            found += more
        return found


@pytest.fixture
def table(fresh_moto: str) -> Table:
    return Table(fresh_moto)


def test_studies_of_all_states_are_merged_the_last_changed_first(table: Table) -> None:
    for number, state in enumerate(("done", "receiving", "failed", "done", "processing", "done", "failed")):
        table.study(f"s{number}", state, changed=number)
    assert table.listed() == (["s6", "s5", "s4", "s3", "s2", "s1", "s0"], None)
    assert table.listed(state="done") == (["s5", "s3", "s0"], None)
    assert table.listed(waits="person") == (["s6", "s2"], None)
    assert table.listed(waits="sender", state="done") == ([], None)
    assert table.listed(limit=7)[1] is None


def test_studies_are_those_received_in_a_stretch_of_time_whose_end_is_not_in_it(table: Table) -> None:
    for number in range(5):
        table.study(f"s{number}", "done", changed=10 - number, received=number)
    since, until = (START + timedelta(minutes=minute) for minute in (1, 4))
    assert table.listed(since=since, until=until) == (["s1", "s2", "s3"], None)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_studies_changed_at_one_instant_have_each_once(table: Table, limit: int) -> None:
    for name in "cadbfe":
        table.study(name, "done" if name < "d" else "failed", changed=5)
    table.study("z", "done", changed=1)
    assert table.pages(limit) == ["f", "e", "d", "c", "b", "a", "z"]
    assert table.pages(limit, state="done") == ["c", "b", "a", "z"]


def test_study_that_changes_between_pages_moves_to_the_front_and_nothing_else_moves(table: Table) -> None:
    for number in range(6):
        table.study(f"s{number}", "processing", changed=number)
    first, cursor = table.listed(2)
    table.study("s5", "done", changed=10)
    table.study("s2", "done", changed=11)
    second, cursor = table.listed(2, cursor)
    third, cursor = table.listed(2, cursor)
    assert (first, second, third, cursor) == (["s5", "s4"], ["s3", "s1"], ["s0"], None)
    assert table.listed(2)[0] == ["s2", "s5"]


def test_study_that_moves_while_a_page_is_read_is_listed_once_as_it_is_now(table: Table) -> None:
    table.study("a", "failed", changed=1)

    class Reader(DynamoReader):
        def studies(self, state: str, since: str, until: str, at_once: int) -> Iterator[Item]:
            if state == "done":
                table.study("a", "done", changed=9)
            yield from super().studies(state, since, until, at_once)

    store = TableStore(Reader(table.client, table.name))
    [one] = store.studies(StudyFilter(), None, Cut(10))["items"]
    assert (one["study_key"], one["state"]) == ("a", "done")


def test_studies_since_a_time_are_those_received_from_it_on(table: Table) -> None:
    table.study("old", "done", received=1, changed=2)
    table.study("old but changed", "done", received=1, changed=9)
    table.study("just then", "done", received=5, changed=6)
    table.study("new", "receiving", received=7, changed=8)
    since = START + timedelta(minutes=5)
    assert table.listed(since=since) == (["new", "just then"], None)
    assert table.pages(1, since=since, state="done") == ["just then"]


def test_cursor_that_no_list_gave_is_refused_or_gives_nothing(table: Table) -> None:
    table.study("a", "done", changed=1)
    with pytest.raises(BadCursor):
        table.listed(cursor="none-of-ours")
    assert table.listed(cursor=write_cursor("", "a")) == ([], None)


def test_study_in_a_list_has_its_jobs_and_deliveries_in_order(table: Table) -> None:
    table.study("a", "processing", changed=1, jobs=2)
    table.study("b", "processing", changed=2, jobs=1)
    table.job("a", "1-later", created=8)
    table.job("a", "2-first", created=7, destinations=("pacs", "archive"))
    table.job("b", "3-other", created=9)
    other, one = table.store.studies(StudyFilter(), None, Cut(10))["items"]
    assert [job["job_key"] for job in one["jobs"]] == ["2-first", "1-later"]
    assert [(d["job_key"], d["destination"]) for d in one["deliveries"]] == [
        ("2-first", "pacs"), ("2-first", "archive"),
    ]  # fmt: skip
    assert [job["job_key"] for job in other["jobs"]] == ["3-other"]


def test_timeline_longer_than_wanted_keeps_the_newest_and_counts_the_others(table: Table) -> None:
    for number in range(1, 9):
        table.line("a", number, job="odd" if number % 2 else "")
    lines, left_out = table.reader.timeline("a", None, 3)
    assert ([line["details"]["delay_s"] for line in lines], left_out) == ([3, 3.5, 4], 5)
    lines, left_out = table.reader.timeline("a", "odd", 3)
    assert ([line["details"]["delay_s"] for line in lines], left_out) == ([1.5, 2.5, 3.5], 1)


def test_job_of_a_study_that_is_gone_is_still_known(table: Table) -> None:
    table.job("gone", "j", created=1)
    assert table.store.study("gone") is None
    job = table.store.job("j")
    assert job is not None
    assert (job["study_key"], job["timeline"]) == ("gone", [])


@pytest.mark.parametrize(
    ("wanted", "order", "is_counted"),
    [
        (StudyFilter(sought="PID1"), None, False),
        (StudyFilter(flag="fragments"), None, False),
        (StudyFilter(waits="queue"), None, False),
        (StudyFilter(keys=("key0001",)), None, False),
        (ANY, Order(Sort.RECEIVED), False),
        (ANY, None, True),
    ],
)
def test_list_by_what_the_table_does_not_know_or_have_in_order_is_refused(
    table: Table, wanted: StudyFilter, order: Order | None, is_counted: bool
) -> None:
    with pytest.raises(NotHere, match="gateway"):
        table.store.studies(wanted, order, Cut(10), is_counted=is_counted)
