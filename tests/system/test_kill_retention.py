"""The gateway is killed before and after every commit by which something is removed: by age, or on request.

Beside what goes there is a study whose result no PACS has taken yet: of that not one byte goes.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.dicom.peer import parse_peer
from gateway.delivery.sending import send_files
from gateway.files.names import DICOM_ADDRESS_NAME, LEDGER_NAME

AT_ONCE = "0.000001"
"""Days: a tenth of a second."""
BY_AGE = f"[retention]\nimages_days = {AT_ONCE}\nresults_days = {AT_ONCE}\nledger_days = {AT_ONCE}\n"
EMPTIED = f"[retention]\nimages_days = {AT_ONCE}\nquarantine_days = {AT_ONCE}\n"
KEPT = ("instances", "objects", "results", "quarantine")
DEADLINE_S = 120.0

GONE = ["removals.file_gone", "removals.folder_gone", "removals.objects_gone"]
AGED = ["study.images_removed", "study.results_removed", "study.erased", *GONE]
FORGOTTEN = ["study.forget_requested", "study.erased", *GONE]
IN_EVERY_RUN = {"study.images_removed:after", "removals.file_gone:before"}
"""What is written down, and not done yet; and what is done, and not written down."""


def cases(commits: list[str], in_every_run: set[str]) -> list[Any]:
    """Each commit, before and after it."""
    return [
        pytest.param(kill_at, marks=() if kill_at in in_every_run else pytest.mark.long)
        for commit in commits
        for kill_at in (f"{commit}:before", f"{commit}:after")
    ]


@dataclass
class Household:
    """A gateway with one study that goes, and one that must stay."""

    world: Any
    pacs: Any
    folder: Path
    write_study: Callable[..., str]

    def keep_one(self, kill_at: str = "") -> str:
        """Have a study that the PACS has refused: its result exists here only."""
        self.pacs.status = 0xC000
        study_uid = self.write_study(self.folder / "kept", seed="kept")
        self.world.start(kill_at)
        self.world.send(self.folder / "kept")
        self.world.until(study_uid, lambda s: any(d["state"] == "failed" for d in s["deliveries"]))
        self.pacs.status = 0x0000
        return study_uid

    def deliver_one(self) -> str:
        """Have another one that the PACS has."""
        study_uid = self.write_study(self.folder / "gone", seed="gone")
        self.world.send(self.folder / "gone")
        return study_uid

    def files(self) -> dict[str, str]:
        """Digests of everything that is kept, by its path."""
        return {
            str(path.relative_to(self.world.data_dir)): hashlib.sha256(path.read_bytes()).hexdigest()
            for name in KEPT
            for path in (self.world.data_dir / name).rglob("*")
            if path.is_file()
        }

    def until_removed(self, sql: str) -> None:
        """Wait until nothing is to be removed any more, and this question has an answer."""
        deadline = time.monotonic() + DEADLINE_S
        while not self._ask(f"SELECT EXISTS ({sql}) AND NOT EXISTS (SELECT 1 FROM removals)"):
            self.world.revive()
            assert time.monotonic() < deadline, self.world.log.read_text()
            time.sleep(0.05)

    def deliver_kept(self, study_uid: str) -> None:
        """The PACS takes it after all: everything that is needed for that is there."""
        study = self.world.study(study_uid)
        self.world.post(f"/api/v1/deliveries/{study['deliveries'][0]['key']}/retry")
        deadline = time.monotonic() + DEADLINE_S
        while len(self.pacs.objects) < 2:
            assert time.monotonic() < deadline, self.world.log.read_text()
            time.sleep(0.05)

    def _ask(self, sql: str) -> bool:
        with closing(sqlite3.connect(self.world.data_dir / LEDGER_NAME, timeout=30)) as connection:
            return bool(connection.execute(sql).fetchone()[0])


@pytest.fixture
def make_household(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> Callable[[str], Household]:
    def make(config: str) -> Household:
        world = make_world(("pacs", "RECORDER", recording_pacs.port), config=config)
        return Household(world, recording_pacs, tmp_path, write_study)

    return make


@pytest.mark.parametrize("kill_at", cases(AGED, IN_EVERY_RUN))
def test_removal_by_age_that_is_killed_is_finished_and_takes_nothing_undelivered(
    kill_at: str, make_household: Callable[[str], Household]
) -> None:
    house = make_household(BY_AGE)
    kept = house.keep_one(kill_at)
    before = house.files()
    house.deliver_one()
    house.world.until_revived()
    house.until_removed("SELECT 1 FROM tombstones WHERE why = 'age'")
    assert house.files() == before
    house.deliver_kept(kept)
    assert house.pacs.every_send_of_an_object_had_the_same_bytes()
    assert house.world.stop() == 0


@pytest.mark.parametrize("kill_at", cases(FORGOTTEN, {"study.erased:after"}))
def test_forgetting_that_is_killed_is_finished_and_takes_nothing_of_another_study(
    kill_at: str, make_household: Callable[[str], Household]
) -> None:
    house = make_household("")
    kept = house.keep_one(kill_at)
    before = house.files()
    gone = house.deliver_one()
    house.world.until(gone, lambda study: study["state"] == "done")
    house.world.post(f"/api/v1/studies/{gone}/forget", was_done=(404, 409))
    house.world.until_revived()
    house.until_removed("SELECT 1 FROM tombstones WHERE why = 'forgotten'")
    assert house.files() == before
    assert house.world.study(gone) is None
    house.deliver_kept(kept)
    assert house.world.stop() == 0


@pytest.mark.parametrize("kill_at", cases(["quarantine.emptied"], set()))
def test_quarantine_whose_emptying_is_killed_is_empty_and_nothing_else_is_gone(
    kill_at: str, make_household: Callable[[str], Household]
) -> None:
    house = make_household(EMPTIED)
    kept = house.keep_one(kill_at)
    before = house.files()
    aside = _another_under_the_same_uid(house)
    house.deliver_one()  # when it is done, retention looks
    house.world.until_revived()
    house.until_removed("SELECT 1 FROM studies WHERE images_here = 0")
    house.until_removed("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM quarantine)")
    after = house.files()
    assert aside not in after.values()
    assert before.items() <= after.items()
    house.deliver_kept(kept)
    assert house.world.stop() == 0


def _another_under_the_same_uid(house: Household) -> str:
    """Send an image that contradicts one that is kept: it is put aside; the digest of its file."""
    content = (house.folder / "kept" / "000.dcm").read_bytes()
    (house.folder / "other.dcm").write_bytes(content[:-100] + b"\1" * 100)
    peer = parse_peer((house.world.data_dir / DICOM_ADDRESS_NAME).read_text().strip())
    (result,) = send_files([house.folder / "other.dcm"], peer, "SENDER")
    assert result.status == 0xB007
    (digest,) = [digest for path, digest in house.files().items() if path.startswith("quarantine/")]
    return digest
