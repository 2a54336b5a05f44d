"""What an operator sees first: the verdict, the figures, the last day, and whether a destination is there."""

from collections.abc import Iterator
from datetime import UTC, date
from typing import Any

import httpx
import pytest

from gateway.adapters.checks import Check, Verdict
from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.overview.models import Disk, Level
from gateway.api.overview.premises import Premises
from gateway.api.overview.verdict import WELL, verdict
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.config import Config
from gateway.config.sections import Site
from gateway.ledger.states import DeliveryEvent, JobEvent

WELL_THEN = Readiness(True)


class _Thread:
    name = "pacs"

    def __init__(self, *complaints: str) -> None:
        self._complaints = list(complaints)

    def complaints(self) -> list[str]:
        return self._complaints


@pytest.fixture
def asked(world: Any) -> Iterator[httpx.Client]:
    """A gateway's API with all that it knows of itself; one destination answers."""

    def tried(name: str) -> list[Check]:
        return {"pacs": [Check("destination pacs", Verdict.OK, "PACS@h:104 answers C-ECHO")]}[name]

    threads = [_Thread(), _Thread("it does not answer; start it")]
    config = Config()
    api = create_api(
        LedgerStore(world.ledger),
        LedgerActions(world.ledger, destinations={"pacs": "PACS@h:104"}),
        lambda: world.readiness,
        world.bus,
        Access(None),
        world,
        world.uploads,
        door=lambda: {"associations": 2, "limit": 32, "turned_away": []},
        premises=Premises(config, world.ledger, threads, frozenset(), tried),
    )
    server = ApiServer(api, "127.0.0.1", 0)
    server.start()
    host, port = server.address
    with httpx.Client(base_url=f"http://{host}:{port}/api/v1", trust_env=False, timeout=60) as client:
        yield client
    server.stop()


def _disk(days_left: float, *, is_kept_free: bool = False) -> Disk:
    return Disk(
        free_bytes=9, size_bytes=10, reserve_bytes=1, bytes_a_day=1, days_left=days_left,
        is_kept_free=is_kept_free,
    )  # fmt: skip


def test_verdict_where_nothing_is_wrong_says_so(world: Any) -> None:
    world.job(world.study())
    found = verdict(WELL_THEN, LedgerStore(world.ledger).counts(), _disk(30))
    assert (found.level, found.sentence, found.findings) == (Level.WELL, WELL, [])


def test_verdict_says_the_worst_first_with_its_way_out(world: Any) -> None:
    world.job(world.study(1), hold="A slice is missing.")
    world.refuse()
    store = LedgerStore(world.ledger)
    held = verdict(WELL_THEN, store.counts(), None)
    assert (held.level, [one.code for one in held.findings]) == (
        Level.PERSON,
        ["studies_held", "objects_put_aside"],
    )
    assert held.sentence == (
        "1 study waits for a person; look at what they say, then release or cancel (1 more)"
    )
    world.move(world.job(world.study(2)), JobEvent.FAILED, reason="the engine failed")
    now = Readiness(False, ("the disk has 3 MB free",), ("pacs: it does not answer; start it",))
    found = verdict(now, store.counts(), _disk(2.04))
    assert [(one.code, one.level.value) for one in found.findings] == [
        ("not_ready", "stopped"),
        ("studies_failed", "failed"),
        ("trouble", "warning"),
        ("disk_fills", "warning"),
        ("studies_held", "person"),
        ("objects_put_aside", "person"),
    ]
    assert found.findings[2].way_out == "start it"
    assert found.level is Level.STOPPED
    assert "the disk has 3 MB free" in found.sentence


def test_disk_that_is_kept_free_is_no_trouble(world: Any) -> None:
    found = verdict(WELL_THEN, LedgerStore(world.ledger).counts(), _disk(2, is_kept_free=True))
    assert found.level is Level.WELL


def test_failed_delivery_waits_for_a_person(world: Any, asked: httpx.Client) -> None:
    world.move_delivery(world.encode(world.job(world.study())), DeliveryEvent.FAILED, "away")
    assert asked.get("/overview").json()["counts"]["waiting_for_a_person"] == 1


def test_overview_has_what_stands_and_what_came_today(world: Any, asked: httpx.Client) -> None:
    world.move(world.job(world.study(1)), JobEvent.FAILED, reason="the engine failed")
    world.job(world.study(2))
    found = asked.get("/overview").json()
    assert found["counts"]["studies"] == {
        "receiving": 0, "processing": 1, "failed": 1, "held": 0, "done": 0,
    }  # fmt: skip
    assert found["counts"]["waiting_for_a_person"] == 1
    assert (found["today"]["studies"], found["today"]["instances"], found["today"]["bytes"]) == (2, 4, 4000)
    assert (found["queue"]["waiting"], found["queue"]["running"]) == (1, 0)
    assert found["workers"] == {
        "number": 2,
        "troubles": [{"name": "pacs", "sentence": "it does not answer; start it"}],
    }
    assert found["associations"] == {"open": 2, "limit": 32, "turned_away": 0}
    assert [one["name"] for one in found["destinations"]] == ["pacs"]
    assert found["disk"]["bytes_a_day"] == 4000
    assert found["aws"] is None
    assert found["started"] < found["at"]


def test_history_of_a_day_has_what_the_present_hour_brought(world: Any, asked: httpx.Client) -> None:
    world.move_delivery(world.encode(world.job(world.study())), DeliveryEvent.SENT)
    day, month = (asked.get("/history", params={"span": span}).json() for span in ("day", "month"))
    assert (len(day["items"]), len(month["items"])) == (24, 30)
    for found in (day, month):
        assert sum(one["studies"] for one in found["items"]) == 1
        assert sum(one["delivered"] for one in found["items"]) == 1
        [stages] = [one["stages"] for one in found["items"] if one["stages"]]
        assert {"receive", "deliver"} <= set(stages)
        assert stages["deliver"]["number"] == 1
        assert all(one["usd"] is None for one in found["items"])
    assert asked.get("/history", params={"span": "year"}).status_code == 422


def test_days_begin_where_the_site_is_also_when_the_clocks_change() -> None:
    site = Site(time_zone="Europe/Berlin")
    begins = [site.begin_of(date(2026, 10, day)).astimezone(UTC) for day in (24, 25, 26)]
    assert [at.isoformat() for at in begins] == [
        "2026-10-23T22:00:00+00:00",
        "2026-10-24T22:00:00+00:00",
        "2026-10-25T23:00:00+00:00",
    ]


def test_destination_that_is_tried_says_how_it_answered(asked: httpx.Client) -> None:
    assert asked.post("/destinations/pacs/test").json() == {
        "name": "pacs",
        "checks": [{"verdict": "ok", "finding": "PACS@h:104 answers C-ECHO", "fix": ""}],
    }
    assert asked.post("/destinations/none/test").status_code == 404
