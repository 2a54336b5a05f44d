"""`iris ledger rebuild` where it cannot do its work: it says so, and leaves nothing behind."""

from pathlib import Path

import pytest

from gateway.commands.ledger_rebuild import RebuildFailed, rebuild_ledger
from gateway.config import Config, ConfigError
from gateway.config.sections import Site
from gateway.ledger.store import Ledger


def _rebuild(data_dir: Path) -> None:
    rebuild_ledger(Config(site=Site(data_dir=data_dir)), lambda *_: None)


def test_rebuild_where_no_gateway_ever_was_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RebuildFailed, match=r"nothing to make a ledger of in .*"):
        _rebuild(tmp_path / "mistyped")
    assert [*tmp_path.iterdir()] == []


def test_rebuild_that_fails_leaves_no_half_of_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "instances" / "study").mkdir(parents=True)
    Ledger(tmp_path / "ledger.sqlite").close()
    with pytest.raises(ConfigError, match="is lost"):
        _rebuild(tmp_path)
    assert [*tmp_path.glob("ledger.rebuilding*")] == []
    assert (tmp_path / "ledger.sqlite").exists()
