"""Mirror, watch and whoever else tells of the ledger, which fails: they say so, and go on by themselves."""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from gateway.adapters.measures import Readings
from gateway.adapters.mirror import ItemKey, MirrorItem
from gateway.config import Config
from gateway.config.notify import Webhook
from gateway.ledger.messages import keep_receivers
from gateway.ledger.outbox import backlog_of, switch_mirror
from gateway.ledger.states import JobEvent
from gateway.ledger.traced import switch_traces
from gateway.mirror import worker as mirror
from gateway.mirror.details import ConfiguredNames
from gateway.mirror.items import Items
from gateway.mirror.worker import MirrorWorker
from gateway.notify import worker as notify
from gateway.notify.composing import Composer
from gateway.notify.message import Message
from gateway.notify.worker import NotifyWorker
from gateway.traces import worker as traces
from gateway.traces.worker import TraceWorker
from gateway.watch.worker import WatchWorker
from gateway.workers import worker as workers
from gateway.workers.attempts import Backoff
from gateway.workers.worker import Worker
from tests.one_job import DEADLINE_S, Site


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(workers, "AFTER_A_FAILURE", Backoff(0.01, 0.02))
    monkeypatch.setattr(mirror, "BACKOFF", Backoff(0.01, 0.02))
    monkeypatch.setattr(traces, "BACKOFF", Backoff(0.01, 0.02))
    monkeypatch.setattr(notify, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(notify, "SETTLE_S", 0.0)
    with capture_logs():
        yield


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Table:
    """Takes everything."""

    def __init__(self) -> None:
        self.items: dict[ItemKey, MirrorItem] = {}

    def put(self, item: MirrorItem) -> int | None:
        self.items[item.key] = item
        return None

    def older(self, site: str, version: int) -> Iterator[ItemKey]:
        return iter(())

    def remove(self, key: ItemKey, version: int) -> None:
        self.items.pop(key, None)


class Figures:
    """Takes everything."""

    def __init__(self) -> None:
        self.puts: list[Readings] = []

    def put(self, readings: Readings) -> None:
        self.puts.append(readings)


def mirror_of(site: Site) -> tuple[Worker, Callable[[], bool]]:
    switch_mirror(site.ledger, is_on=True, keep_days=90)
    items = Items(site.ledger, "site", ConfiguredNames(), 90)
    worker = MirrorWorker(site.ledger, site.bus, Table(), items)
    return worker, lambda: backlog_of(site.ledger).waiting == 0


def watch_of(site: Site) -> tuple[Worker, Callable[[], bool]]:
    figures = Figures()
    return WatchWorker(site.ledger, site.bus, figures, 0.05), lambda: len(figures.puts) > 0


def notify_of(site: Site) -> tuple[Worker, Callable[[], bool]]:
    told: list[Message] = []

    class Receiver:
        tell = staticmethod(told.append)

    to = Webhook(name="ops", url="http://127.0.0.1:1/", secret=SecretStr("s"))
    config = Config(site={"data_dir": site.data_dir}, notify={"webhooks": [to]})
    with site.ledger.transaction() as transaction:
        keep_receivers(transaction, ["ops"], "")
    worker = NotifyWorker(to, Receiver(), site.ledger, site.bus, Composer(config, site.ledger, list), {})
    site.move(JobEvent.FAILED)
    return worker, lambda: len(told) > 0


def traces_of(site: Site) -> tuple[Worker, Callable[[], bool]]:
    put: list[str] = []

    class Collector:
        def put(self, trace: str, spans: object) -> None:
            put.append(trace)

        def end(self) -> None:
            pass

    switch_traces(site.ledger, is_on=True)
    worker = TraceWorker(site.ledger, site.bus, Collector())
    site.move(JobEvent.FAILED)
    return worker, lambda: len(put) > 0


ERRORS = {
    "busy": sqlite3.OperationalError("database is locked"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "unforeseen": RuntimeError("Doe^Jane"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("make", [mirror_of, watch_of, notify_of, traces_of])
def test_worker_whose_ledger_fails_says_so_and_goes_on_by_itself(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Site], tuple[Worker, Callable[[], bool]]],
    error: Exception,
) -> None:
    worker, is_done = make(site)
    is_ill, really, raised = threading.Event(), {}, []
    is_ill.set()

    def failing(how: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if is_ill.is_set() and threading.current_thread() is worker._thread:
                raised.append(how)
                raise error
            return really[how](*given, **named)

        return call

    for how in ("read", "transaction"):
        really[how] = getattr(site.ledger, how)
        monkeypatch.setattr(site.ledger, how, failing(how))
    worker.start()
    try:
        until(lambda: len(raised) > 3 and worker.trouble)
        assert "Doe" not in worker.complaint()
        assert not is_done()
        is_ill.clear()
        until(is_done)
        until(lambda: worker.complaint() == "")
    finally:
        worker.stop()
