"""Server-sent events: after the commit, bounded, and over when the server stops."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing

import httpx
import pytest
from starlette.types import Message

from gateway.api.live import live as live_module
from gateway.api.live.live import LiveFeed, LiveStream, live_feed
from gateway.api.live.told import RELOAD, Content
from gateway.events import (
    Bus,
    Event,
    InstanceStored,
    JobChanged,
    JobProgressed,
    ObjectQuarantined,
    StudyChanged,
)
from gateway.ledger import missed as missed_module
from gateway.ledger.erasing import erase_study
from gateway.ledger.missed import told_line
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger


def _news(lines: Iterator[str]) -> dict[str, object]:
    line = next(line for line in lines if line.startswith("data: "))
    content: dict[str, object] = json.loads(line.removeprefix("data: "))
    return content


def test_events_job_moves_is_told_after_the_commit(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    with client.stream("GET", "/api/v1/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        assert ": connected" in (next(lines), next(lines))
        world.move(job_key, JobEvent.CONVERTED)
        assert _news(lines) == {
            "kind": "job",
            "job_key": job_key,
            "event": "converted",
            "state": "converted",
            "study_key": "key0001",
        }
        assert client.get(f"/api/v1/jobs/{job_key}").json()["state"] == "converted"


def _news_of(lines: Iterator[str], kind: str) -> dict[str, object]:
    """The next news of a kind; others may come before."""
    while True:
        news = _news(lines)
        assert "1.2.826" not in json.dumps(news)
        if news["kind"] == kind:
            return news


def test_events_every_kind_is_told_without_uids(world, client: httpx.Client) -> None:
    uid = world.study()
    with client.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert ": connected" in (next(lines), next(lines), next(lines))
        job_key = world.job(uid)
        assert _news_of(lines, "study") == {"kind": "study", "state": "processing", "study_key": "key0001"}
        world.bus.publish(JobProgressed(job_key, uid, "segment", 0.5))
        progress = _news_of(lines, "progress")
        assert (progress["job_key"], progress["stage"], progress["fraction"]) == (job_key, "segment", 0.5)
        world.refuse("object1")
        refused = {"kind": "quarantine", "key": "object1", "reason": "not_dicom"}
        assert _news_of(lines, "quarantine") == refused
        delivery = world.encode(job_key)
        assert _news_of(lines, "delivery")["key"] == delivery
        world.study(2, images=1)
        assert _news_of(lines, "instances")["study_key"] == "key0002"


def test_events_open_at_shutdown_end_promptly(world, server, client: httpx.Client) -> None:
    with client.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        begun = time.monotonic()
        server.stop()
        assert not [line for line in lines if line.startswith("data")]
        assert time.monotonic() - begun < 12  # far below the next heartbeat


@pytest.fixture
def bus() -> Bus:
    return Bus()


class Past:
    """A timeline of nothing."""

    def content(self, event: Event) -> Content:
        return {"about": getattr(event, "key", ""), "fraction": getattr(event, "fraction", None)}

    def told(self) -> int:
        return 0

    def missed(self, after: int, upto: int) -> list[tuple[int | None, Content]]:
        return []


async def _read(
    feed: LiveFeed, wanted: int, meanwhile: Callable[[], object] = lambda: None, last_heard: str = ""
) -> list[str]:
    """The next parts of a stream, after its opening, of what happens meanwhile."""
    with feed.place() as watcher:
        async with aclosing(feed.stream(watcher, last_heard)) as stream:
            while not (await anext(stream)).startswith("id:"):
                pass
            meanwhile()
            return [await anext(stream) for _ in range(wanted)]


def _publish_before_reading(bus: Bus, feed: LiveFeed, events: list[Event], wanted: int) -> list[str]:
    """The parts that a reader gets who comes back after everything was published."""

    def publish() -> None:
        for event in events:
            bus.publish(event)

    return asyncio.run(_read(feed, wanted, publish))


def _content(part: str) -> Content:
    content: Content = json.loads(part.rpartition("data: ")[2])
    return content


def test_events_slow_reader_is_told_to_reload(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WAITING", 3)
    feed = LiveFeed(bus, Past())
    events: list[Event] = [ObjectQuarantined(str(number), "odd") for number in range(5)]
    [first] = _publish_before_reading(bus, feed, events, 1)
    assert _content(first) == {"kind": "reload"}


def test_events_after_a_reload_go_on(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WAITING", 3)
    feed = LiveFeed(bus, Past())

    async def read() -> str:
        with feed.place() as watcher:
            async with aclosing(feed.stream(watcher)) as stream:
                await anext(stream)
                await anext(stream)
                for number in range(5):
                    bus.publish(ObjectQuarantined(str(number), "odd"))
                await anext(stream)
                bus.publish(ObjectQuarantined("later", "odd"))
                return await anext(stream)

    assert _content(asyncio.run(read()))["about"] == "later"


def test_events_progress_and_arrivals_keep_the_newest_only(world) -> None:
    uid = world.study()
    feed = live_feed(world.ledger)
    events: list[Event] = [InstanceStored(uid, 1) for _ in range(100)]
    events += [JobProgressed("job", uid, "segment", number / 100) for number in range(100)]
    events += [StudyChanged(uid, "processing"), StudyChanged(uid, "done")]
    parts = [_content(part) for part in _publish_before_reading(world.bus, feed, events, 4)]
    assert [part["kind"] for part in parts] == ["instances", "progress", "study", "study"]
    assert parts[1]["fraction"] == 0.99
    assert parts[0]["study_key"] == "key0001"


def test_events_nothing_happens_sends_heartbeats(bus: Bus) -> None:
    feed = LiveFeed(bus, Past(), heartbeat_s=0.01)
    parts = _publish_before_reading(bus, feed, [], 2)
    assert all(part.startswith(":") and part.endswith("\n\n") for part in parts)


# -- replay -------------------------------------------------------------------------------------------------


def _again(ledger: Ledger, last_heard: str, wanted: int) -> list[str]:
    """What somebody is told who comes back, to a gateway that was started anew."""

    async def read() -> list[str]:
        feed = live_feed(ledger)
        with feed.place() as watcher:
            async with aclosing(feed.stream(watcher, last_heard)) as stream:
                await anext(stream)
                return [await anext(stream) for _ in range(wanted)]

    return asyncio.run(read())


def _id(part: str) -> str:
    return part.partition("\n")[0].removeprefix("id: ")


def test_events_whoever_comes_back_is_told_what_happened_since_also_after_a_restart(world) -> None:
    job_key = world.job(world.study())
    [heard] = [_id(part) for part in _again(world.ledger, "", 1)]
    world.move(job_key, JobEvent.CONVERTED)
    world.refuse("object1")
    with Ledger(world.ledger.path, read_only=True) as restarted:
        parts = _again(restarted, heard, 3)
    job, refused = _content(parts[0]), _content(parts[1])
    assert job == {
        "kind": "job", "job_key": job_key, "event": "converted", "state": "converted", "study_key": "key0001",
    }  # fmt: skip
    assert refused == {"kind": "quarantine", "key": "object1", "reason": "not_dicom"}
    assert [int(_id(part)) - int(heard) for part in parts] == [1, 2, 2]


@pytest.mark.parametrize("heard", ["987654", "no-id-of-ours", "9" * 40, "²", "-1"])
def test_events_id_that_no_stream_gave_reloads(world, heard: str) -> None:
    world.study()
    assert _content(_again(world.ledger, heard, 1)[0]) == RELOAD


def test_events_too_much_was_missed_reloads(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed_module, "MOST_MISSED", 2)
    [heard] = [_id(part) for part in _again(world.ledger, "", 1)]
    world.move(world.job(world.study()), JobEvent.CONVERTED)
    first, second = _again(world.ledger, heard, 2)
    assert _content(first) == RELOAD
    assert _id(first) == _id(second)


def test_events_study_was_erased_meanwhile_reloads(world) -> None:
    gone, stays = world.study(1), world.study(2)
    [heard] = [_id(part) for part in _again(world.ledger, "", 1)]
    with world.ledger.transaction() as transaction:
        erase_study(transaction, transaction.study(gone), why="age")
    world.job(stays)
    assert _content(_again(world.ledger, heard, 1)[0]) == RELOAD


def test_events_line_is_not_called_told_before_its_transaction_told(world) -> None:
    """One that commits first and tells last: who broke off in between is told of it after all."""
    job_key = world.job(world.study())
    before = told_line(world.ledger)
    is_asked: list[int] = []

    def another_one_tells(event: Event) -> None:
        if isinstance(event, JobChanged) and not is_asked:
            is_asked.append(0)
            world.refuse("object1")  # committed after, told before
            is_asked[0] = told_line(world.ledger)

    world.bus.subscribe(another_one_tells)
    world.move(job_key, JobEvent.CONVERTED)
    assert is_asked == [before]
    assert told_line(world.ledger) == before + 2


# -- places -------------------------------------------------------------------------------------------------


def test_events_burst_of_many_more_than_there_are_places_gets_no_more(world) -> None:
    feed = live_feed(world.ledger)
    statuses: Counter[int] = Counter()
    gone = asyncio.Event()

    async def watch() -> None:
        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses[message["status"]] += 1

        await LiveStream(feed, "")({"type": "http"}, receive, send)

    async def burst() -> int:
        watching = [asyncio.create_task(watch()) for _ in range(300)]
        while sum(statuses.values()) < 300:
            await asyncio.sleep(0)
        taken = feed.watchers
        gone.set()
        await asyncio.gather(*watching)
        return taken

    assert asyncio.run(burst()) == 100
    assert statuses == {200: 100, 503: 200}
    assert feed.watchers == 0


def test_events_place_of_a_client_that_goes_is_free_at_once(
    world, server, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "MAX_WATCHERS", 1)
    for _ in range(3):
        deadline = time.monotonic() + 10  # far below the next heartbeat
        while True:
            with client.stream("GET", "/api/v1/events") as stream:
                if stream.status_code == 200:
                    assert next(stream.iter_lines()) == "retry: 2000"
                    break
            assert time.monotonic() < deadline


def test_events_too_many_watchers_is_a_problem(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WATCHERS", 0)
    answer = client.get("/api/v1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
