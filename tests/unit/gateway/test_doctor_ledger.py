"""`iris doctor` on a ledger of an earlier version: it is whole, and brought up to date at the next start."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.adapters.checks import Verdict
from gateway.commands.doctor import _ledger
from gateway.config import Config
from gateway.config.sections import Site
from gateway.ledger.migrations import SCHEMAS, migrate


def test_doctor_before_an_upgrade_calls_the_ledger_well_and_says_what_comes(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as ledger:
        migrate(ledger, len(SCHEMAS) - 1)
    check = _ledger(Config(site=Site(data_dir=tmp_path)))
    assert (check.verdict, check.fix) == (Verdict.OK, "")
    assert check.finding.startswith(
        f"schema {len(SCHEMAS) - 1}, of an earlier version: the next start brings"
    )
