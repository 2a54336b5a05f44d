"""A ledger with one study, whose receivers are told at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config
from gateway.ledger.store import Ledger
from gateway.notify import worker as telling
from gateway.notify.starting import notify_workers
from gateway.notify.worker import NotifyWorker
from gateway.workers.attempts import Backoff
from tests.one_job import Site


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "SETTLE_S", 0.0)
    monkeypatch.setattr(telling, "BACKOFF", Backoff(0.0, 0.0))


class House:
    """Makes workers for a configuration, as a gateway does at each start, and lets them look by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.complaints = {"disk": "", "mirror": ""}

    @property
    def ledger(self) -> Ledger:
        return self.site.ledger

    def config(self, **notify: Any) -> Config:
        notify.setdefault("every_minutes", 1e-6)
        return Config(
            site={"name": "test", "data_dir": self.site.data_dir, "time_zone": "Europe/Berlin"},
            api={"public_url": "https://iris.example"},
            rule=[{"name": "ct"}, {"name": "mr"}],
            notify=notify,
        )

    def start(self, **notify: Any) -> NotifyWorker:
        said = {kind: lambda kind=kind: self.complaints[kind] for kind in self.complaints}
        config = self.config(**notify)
        [worker] = notify_workers(config, self.ledger, self.site.bus, said, lambda: ["mirror: it is late"])
        return worker


@pytest.fixture
def house(site: Site) -> House:
    return House(site)


@pytest.fixture
def webhook(web, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    return lambda **given: {"webhooks": [{"name": "ops", "url": web.url, "secret": "s3cret", **given}]}
