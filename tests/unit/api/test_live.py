"""Server-sent events: after the commit, bounded, and over when the server stops."""

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest

from gateway.api import live as live_module
from gateway.api.live import LiveFeed, TooManyWatchers
from gateway.events import Bus, InstanceStored, JobProgressed, ObjectQuarantined, StudyChanged
from gateway.ledger.states import JobEvent


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
        assert time.monotonic() - begun < 2.5


@pytest.fixture
def bus() -> Bus:
    return Bus()


def _publish_before_reading(bus: Bus, feed: LiveFeed, events: list[object], wanted: int) -> list[str]:
    """The parts that a reader gets who comes back after everything was published."""

    async def read() -> list[str]:
        stream = feed.watch()
        await anext(stream)
        for event in events:
            bus.publish(event)  # type: ignore[arg-type]
        return [await anext(stream) for _ in range(wanted)]

    return asyncio.run(read())


def test_events_slow_reader_is_told_to_reload(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WAITING", 3)
    feed = LiveFeed(bus, lambda _: "key")
    events: list[object] = [ObjectQuarantined(str(number), "odd") for number in range(5)]
    [first] = _publish_before_reading(bus, feed, events, 1)
    assert json.loads(first.removeprefix("data: ")) == {"kind": "reload"}


def test_events_after_a_reload_go_on(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WAITING", 3)
    feed = LiveFeed(bus, lambda _: "key")

    async def read() -> str:
        stream = feed.watch()
        await anext(stream)
        for number in range(5):
            bus.publish(ObjectQuarantined(str(number), "odd"))
        await anext(stream)
        bus.publish(ObjectQuarantined("later", "odd"))
        return await anext(stream)

    assert json.loads(asyncio.run(read()).removeprefix("data: "))["key"] == "later"


def test_events_progress_and_arrivals_keep_the_newest_only(bus: Bus) -> None:
    feed = LiveFeed(bus, lambda uid: f"key of {uid}")
    events: list[object] = [InstanceStored("1.2", 1) for _ in range(100)]
    events += [JobProgressed("job", "1.2", "segment", number / 100) for number in range(100)]
    events += [StudyChanged("1.2", "processing"), StudyChanged("1.2", "done")]
    parts = [json.loads(p.removeprefix("data: ")) for p in _publish_before_reading(bus, feed, events, 4)]
    assert [part["kind"] for part in parts] == ["instances", "progress", "study", "study"]
    assert parts[1]["fraction"] == 0.99
    assert parts[0]["study_key"] == "key of 1.2"


def test_events_nothing_happens_sends_heartbeats(bus: Bus) -> None:
    feed = LiveFeed(bus, lambda _: "key", heartbeat_s=0.01)
    parts = _publish_before_reading(bus, feed, [], 2)
    assert all(part.startswith(":") and part.endswith("\n\n") for part in parts)


def test_events_reader_that_left_is_forgotten(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WATCHERS", 1)
    feed = LiveFeed(bus, lambda _: "key")

    async def watch_twice() -> None:
        first = feed.watch()
        await anext(first)
        with pytest.raises(TooManyWatchers):
            feed.watch()
        await first.aclose()  # type: ignore[attr-defined]
        feed.watch()

    asyncio.run(watch_twice())


def test_events_too_many_watchers_is_a_problem(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_WATCHERS", 0)
    answer = client.get("/api/v1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
