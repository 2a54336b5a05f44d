"""A study that was delivered, its ledger damaged and made anew: the same keys, UIDs and bytes."""

import contextlib
import hashlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.ledger_rebuild import ASIDE
from gateway.files.names import LEDGER_NAME
from gateway.ledger.backup import FOLDER
from gateway.ledger.store import REBUILT_NAME, Ledger
from tests.damage import overwrite_page, root_page, settle
from tests.quick_start import IRIS, quick_python

from .conftest import RecordingPacs, World, write_study

Study = dict[str, Any]

TABLES = ("instances", "jobs")
FURTHER_TABLES = ("studies", "deliveries", "volumes", "job_images", "result_objects", "events", "facts")
KILLS = 10


def _done(study: Study) -> bool:
    return bool(study["state"] == "done")


@dataclass
class Delivered:
    """A gateway that has delivered one study, and was stopped; `before` is what it said of that."""

    world: Any
    pacs: Any
    study_uid: str
    before: Study
    sends: list[tuple[str, str]]

    @property
    def path(self) -> Path:
        """The ledger."""
        return Path(self.world.data_dir, LEDGER_NAME)

    def command(self, *arguments: str) -> list[str]:
        config = ["--config", str(self.world.folder / "iris.toml")]
        return [quick_python(IRIS), "-m", "gateway.cli", *arguments, *config]

    def iris(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, timeout=120
        )

    def rebuild(self, *arguments: str) -> str:
        done = self.iris("ledger", "rebuild", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def require_the_same_again(self) -> Study:
        """Start the gateway on the new ledger: everything is as it was, and everything holds."""
        self.world.start()
        study: Study = self.world.until(self.study_uid, lambda study: _done(study) and study["jobs"])
        assert [job["job_key"] for job in study["jobs"]] == [job["job_key"] for job in self.before["jobs"]]
        assert [job["state"] for job in study["jobs"]] == ["delivered"]
        assert [d["key"] for d in study["deliveries"]] == [d["key"] for d in self.before["deliveries"]]
        assert len(study["series"]) == 1
        assert set(self.pacs.sends) == set(self.sends)  # the same object, in the same bytes
        checked = self.iris("ledger", "check")
        assert checked.returncode == 0, checked.stdout
        assert self.world.stop() == 0
        return study


@pytest.fixture(scope="module")
def delivered_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    """The one whose data directory all tests get a copy of."""
    folder = tmp_path_factory.mktemp("delivered")
    pacs = RecordingPacs()
    stop = pacs.start()
    world = World(folder / "world", [("pacs", "RECORDER", pacs.port)])
    study_uid = write_study(folder / "study")
    world.start()
    world.send(folder / "study")
    before = world.until(study_uid, _done)
    assert world.stop() == 0
    settle(world.data_dir / LEDGER_NAME)
    assert len(pacs.sends) == 1
    yield Delivered(world, pacs, study_uid, before, list(pacs.sends))
    world.close()
    stop()


@pytest.fixture
def delivered(delivered_once: Delivered, make_world: Callable[..., Any]) -> Delivered:
    world = make_world(*delivered_once.world.destinations)
    shutil.copytree(delivered_once.world.data_dir, world.data_dir)
    world.write_config()
    delivered_once.pacs.sends[:] = delivered_once.sends
    return replace(delivered_once, world=world, sends=list(delivered_once.sends))


@pytest.mark.parametrize(
    "table", [*TABLES, *(pytest.param(table, marks=pytest.mark.long) for table in FURTHER_TABLES)]
)
def test_ledger_with_a_lost_table_is_made_anew(delivered: Delivered, table: str) -> None:
    overwrite_page(delivered.path, root_page(delivered.path, table))
    damaged = hashlib.sha256(delivered.path.read_bytes()).digest()
    said = delivered.rebuild()
    assert f"{table}: 0 rows; others cannot be read" in said
    (aside,) = (delivered.world.data_dir / FOLDER).glob(f"{ASIDE}*.sqlite")
    assert str(aside) in said
    assert hashlib.sha256(aside.read_bytes()).digest() == damaged
    study = delivered.require_the_same_again()
    if table not in ("jobs", "deliveries"):  # it is known that the PACS has it
        assert delivered.pacs.sends == delivered.sends
    if table != "events":
        assert study["timeline"][0]["event"] == delivered.before["timeline"][0]["event"]


def _first_page(delivered: Delivered) -> None:
    overwrite_page(delivered.path, 1)


def _nothing_is_there(delivered: Delivered) -> None:
    delivered.path.unlink()


@pytest.mark.parametrize("damage", [_first_page, _nothing_is_there])
def test_ledger_of_which_nothing_can_be_read_is_made_anew_of_what_is_kept(
    delivered: Delivered, damage: Callable[[Delivered], None]
) -> None:
    damage(delivered)
    said = delivered.rebuild()
    assert "nothing can be read" in said
    assert "8 images were filed anew" in said
    delivered.require_the_same_again()


def test_ledger_is_made_anew_of_a_backup_and_of_what_came_since(delivered: Delivered, tmp_path: Path) -> None:
    assert delivered.iris("ledger", "backup", "--out", str(tmp_path / "backup.sqlite")).returncode == 0
    later = write_study(tmp_path / "later", seed="later")
    delivered.world.start()
    delivered.world.send(tmp_path / "later")
    delivered.world.until(later, _done)
    assert delivered.world.stop() == 0
    delivered.sends = list(delivered.pacs.sends)
    _first_page(delivered)
    said = delivered.rebuild("--from", str(tmp_path / "backup.sqlite"))
    assert "8 images were filed anew" in said
    delivered.world.start()
    delivered.world.until(later, _done)
    assert delivered.world.stop() == 0
    delivered.require_the_same_again()


def test_ledger_that_is_whole_is_made_anew_as_it_was(delivered: Delivered) -> None:
    said = delivered.rebuild()
    assert "cannot be read" not in said
    study = delivered.require_the_same_again()
    assert delivered.pacs.sends == delivered.sends
    events = [line["event"] for line in delivered.before["timeline"]]
    assert [line["event"] for line in study["timeline"]][: len(events)] == events


def test_rebuild_while_a_gateway_runs_is_refused(delivered: Delivered) -> None:
    with Ledger(delivered.path):  # as a gateway holds it
        refused = delivered.iris("ledger", "rebuild")
    assert refused.returncode == 1
    assert "stop it" in refused.stderr
    delivered.require_the_same_again()


def test_rebuild_without_the_secret_is_refused(delivered: Delivered) -> None:
    _first_page(delivered)
    before = delivered.path.read_bytes()
    secret = delivered.world.data_dir / "site-secret"
    kept = secret.read_bytes()
    secret.unlink()
    refused = delivered.iris("ledger", "rebuild")
    assert refused.returncode == 1
    assert "is lost; put it back" in refused.stderr
    assert delivered.path.read_bytes() == before
    assert not secret.exists()
    secret.write_bytes(kept)
    delivered.rebuild()
    delivered.require_the_same_again()


@pytest.mark.long
def test_rebuild_that_is_killed_again_and_again_loses_nothing(delivered: Delivered) -> None:
    overwrite_page(delivered.path, root_page(delivered.path, "studies"))
    began = time.monotonic()
    command = delivered.command("ledger", "rebuild")
    subprocess.run(command, check=True, capture_output=True)
    whole_s = time.monotonic() - began
    chance = random.Random(20261129)
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.1, 1.0) * whole_s)
        process.kill()
        process.wait()
    delivered.rebuild()
    delivered.require_the_same_again()


def test_rebuild_that_ended_in_its_last_step_is_ended_by_the_next(delivered: Delivered) -> None:
    data_dir = delivered.world.data_dir
    delivered.rebuild()
    (aside,) = (data_dir / FOLDER).glob(f"{ASIDE}*.sqlite")
    delivered.path.rename(data_dir / REBUILT_NAME)  # as if it had been killed before the last move
    refused = delivered.iris("serve")
    assert refused.returncode == 1
    assert "iris ledger rebuild" in refused.stderr
    assert "is finished" in delivered.rebuild()
    assert aside.exists()
    delivered.require_the_same_again()
