"""The mirror in the API: how far it is, making it anew, and its metrics."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from gateway.adapters.mirror import ItemKey, MirrorItem
from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.server import ApiServer
from gateway.ledger.outbox import switch_mirror
from gateway.mirror.control import MirrorControl
from gateway.mirror.details import ConfiguredNames
from gateway.mirror.items import Items
from gateway.mirror.worker import MirrorWorker


class _Table:
    """A mirror in memory."""

    def __init__(self) -> None:
        self.items: dict[ItemKey, MirrorItem] = {}

    def put(self, item: MirrorItem) -> int | None:
        self.items[item.key] = item
        return None

    def older(self, site: str, version: int) -> Iterator[ItemKey]:
        return iter([key for key, item in self.items.items() if item.version < version])

    def remove(self, key: ItemKey, version: int) -> None:
        del self.items[key]


@contextmanager
def _served(world, worker: MirrorWorker | None) -> Iterator[httpx.Client]:
    control = MirrorControl(world.ledger, worker, 90)
    api = create_api(
        LedgerStore(world.ledger),
        LedgerActions(world.ledger),
        lambda: world.readiness,
        None,
        Access(None),
        world,
        world.uploads,
        mirror=control,
    )
    server = ApiServer(api, "127.0.0.1", 0)
    server.start()
    host, port = server.address
    with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=60) as client:
        yield client
    server.stop()


@pytest.fixture
def worker(world) -> MirrorWorker:
    switch_mirror(world.ledger, is_on=True, keep_days=90)
    return MirrorWorker(world.ledger, world.bus, _Table(), Items(world.ledger, "test", ConfiguredNames(), 90))


def test_mirror_says_how_many_changes_wait_and_for_how_long(world, worker: MirrorWorker) -> None:
    with _served(world, worker) as client:
        world.study(1)
        state = client.get("/api/v1/mirror").json()
        assert (state["on"], state["waiting"], state["trouble"]) == (True, 2, "")
        assert state["lag_s"] == 0  # it waits for what follows within seconds
        with world.ledger.transaction() as transaction:
            transaction.execute("UPDATE mirror_outbox SET due_at = '2026-01-01T00:00:00.000000Z'")
        assert client.get("/api/v1/mirror").json()["lag_s"] > 0
        worker.work()
        assert client.get("/api/v1/mirror").json() == {**state, "waiting": 0, "lag_s": 0}


def test_rebuild_is_taken_in_and_over_when_everything_is_written(world, worker: MirrorWorker) -> None:
    with _served(world, worker) as client:
        world.study(1)
        worker.work()
        answer = client.post("/api/v1/mirror/rebuild")
        assert (answer.status_code, answer.json()["waiting"], answer.json()["rebuilding"]) == (202, 2, True)
        worker.work()
        assert client.get("/api/v1/mirror").json()["rebuilding"] is False


def test_rebuild_without_a_mirror_is_a_conflict_that_says_so(world, client: httpx.Client) -> None:
    assert client.get("/api/v1/mirror").json()["on"] is False
    assert client.post("/api/v1/mirror/rebuild").status_code == 409
    with _served(world, None) as own:
        answer = own.post("/api/v1/mirror/rebuild")
        assert answer.status_code == 409
        assert "mirror.backend is 'none'" in answer.json()["detail"]


def test_mirror_needs_the_token(stranger: httpx.Client) -> None:
    assert stranger.get("/api/v1/mirror").status_code == 401
    assert stranger.post("/api/v1/mirror/rebuild").status_code == 401


def test_metrics_tell_the_mirrors_lag_only_where_there_is_one(world, client: httpx.Client) -> None:
    assert "iris_mirror" not in client.get("/metrics").text
    switch_mirror(world.ledger, is_on=True, keep_days=90)
    assert "iris_mirror_lag_seconds 0.0" in client.get("/metrics").text
    world.study(1)
    with world.ledger.transaction() as transaction:
        transaction.execute("UPDATE mirror_outbox SET due_at = '2026-01-01T00:00:00.000000Z'")
    text = client.get("/metrics").text
    assert "iris_mirror_waiting 2.0" in text
    assert "iris_mirror_lag_seconds 0.0" not in text
