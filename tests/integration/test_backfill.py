"""`iris backfill` with a real Orthanc and a gateway: what is missing comes, once, behind live studies."""

import fcntl
import json
import os
import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.arrival.planning import BEHIND_LIVE
from gateway.config import Config
from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.quick_start import IRIS, quick_python

DEADLINE_S = 60.0
SENDER = "DEMOPACS"
SLICES = 6
KILLS = 10
PIXELS = 16
EVERYTHING = ("backfill", "--since", "2026-11-01", "--until", "2026-11-03")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Site:
    """An Orthanc, a gateway that knows it as `study.find`, and studies of some images each."""

    def __init__(
        self, folder: Path, study: Path, port: int, with_get: bool = True, more: str = "", tiny: bool = False
    ) -> None:
        program = find_orthanc()
        assert program
        self.folder, self._is_tiny, self._slices = folder, tiny, sorted(study.glob("*.dcm"))[:SLICES]
        self.pacs = Orthanc(
            folder / "pacs",
            program,
            configuration={
                "DicomModalities": {
                    "iris": {"AET": "IRIS", "Host": "127.0.0.1", "Port": port, "AllowGet": with_get},
                    "sender": [SENDER, "127.0.0.1", 104],
                }
            },
        )
        self.pacs.start()
        self.config_file = folder / "iris.toml"
        peer = self.pacs.peer
        settings = {
            "site": {"data_dir": str(folder / "data"), "low_water_mb": 0},
            "dicom": {"port": port},
            "api": {"port": 0},
            "study": {
                "quiet_s": 0.1,
                "timeout_s": 0.2,
                "find": {"ae_title": peer.ae_title, "host": peer.host, "port": peer.port},
            },
            "rule": [{"name": "ct", "when": {"Modality": "CT"}}],
        }
        self.config_file.write_text(_toml(settings) + more, encoding="utf-8")
        self.config = Config(**settings)
        self.gateway: App | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def process(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """`iris` as a process of its own."""
        log = (self.folder / f"{arguments[0]}.log").open("ab")
        command = [quick_python(IRIS), "-m", "gateway.cli", *arguments, "--config", str(self.config_file)]
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._processes.append(process)
        return process

    def start_gateway(self) -> App:
        self.gateway = App(self.config)
        self.gateway.start()
        return self.gateway

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        if self.gateway is not None:
            self.gateway.stop()
        self.pacs.stop()

    def write(self, number: int, day: str) -> list[Path]:
        """A study of its own of that day."""
        folder = self.folder / "written" / str(number)
        folder.mkdir(parents=True)
        for path in self._slices:
            image = dcmread(path)
            if self._is_tiny:
                image.Rows = image.Columns = PIXELS
                image.PixelData = bytes(2 * PIXELS * PIXELS)
                image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            image.StudyDate, image.StudyInstanceUID = day, f"1.2.826.0.1.{number}"
            image.SeriesInstanceUID = f"1.2.826.0.1.{number}.1"
            uid = f"{image.SeriesInstanceUID}.{image.InstanceNumber}"
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
            image.save_as(folder / path.name)
        return sorted(folder.iterdir())

    def fill(self, *days: str) -> list[list[Path]]:
        """Put a study into the PACS for each of these days."""
        studies = [self.write(number, day) for number, day in enumerate(days, start=1)]
        files = [path for study in studies for path in study]
        assert all(one.status == 0 for one in send_files(files, self.pacs.peer, SENDER))
        return studies

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        assert self.gateway is not None
        return [tuple(row) for row in self.gateway._ledger.read(sql)]


def _toml(settings: dict[str, Any]) -> str:
    """The same as a file; values as JSON are TOML, tables and lists of tables apart."""
    find = settings["study"].pop("find")
    (rule,) = settings["rule"]
    parts = [
        *(f"[{name}]\n{_keys(keys)}" for name, keys in settings.items() if isinstance(keys, dict)),
        f"[study.find]\n{_keys(find)}",
        f"[[rule]]\nname = {json.dumps(rule['name'])}\nwhen = {{ Modality = 'CT' }}\n",
    ]
    settings["study"]["find"] = find
    return "\n".join(parts)


def _keys(keys: dict[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


@pytest.fixture
def make_site(
    tmp_path: Path, demo_study: Path, free_port: Callable[[], int]
) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(**given: Any) -> Site:
        sites.append(Site(tmp_path, demo_study, free_port(), **given))
        return sites[-1]

    yield make
    for site in sites:
        site.stop()


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("with_get", [True, False], ids=["C-GET", "C-MOVE"])
def test_backfill_fetches_what_is_missing_once_behind_live_studies(
    make_site: Callable[..., Site], iris: Run, with_get: bool
) -> None:
    site = make_site(with_get=with_get)
    live, half, *_ = site.fill("20261101", "20261102", "20261103", "20261203")
    gateway = site.start_gateway()
    here = Peer("IRIS", *gateway.listener.address)
    send_files(live, here, SENDER)
    send_files(half[:1], here, SENDER)
    until(lambda: len(site.read("SELECT 1 FROM studies WHERE state <> 'receiving'")) == 2)
    options = ("--config", str(site.config_file), "--json")

    lock = site.folder / "data" / "backfill" / "lock"
    lock.parent.mkdir()
    with lock.open("w") as of_another_run:  # only to look is allowed beside it
        fcntl.flock(of_another_run, fcntl.LOCK_EX)
        dry = iris(*EVERYTHING, "--dry-run", "--modality", "ct", *options)
        refused = iris(*EVERYTHING, *options)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "another `iris backfill` runs" in refused.stderr
    assert (dry.returncode, json.loads(dry.stdout)) == (
        0,
        {"studies": 2, "images": 2 * SLICES - 1, "per_hour": None, "hours": None, "usd": None},
    )

    stopped = site.process(*EVERYTHING, "--limit-per-hour", "1", "--json")
    until(lambda: len(site.read("SELECT 1 FROM instances")) == 2 * SLICES)
    until(lambda: "waits for the next one" in (site.folder / "backfill.log").read_text())
    stopped.terminate()
    assert stopped.wait(DEADLINE_S) == 1
    said = (site.folder / "backfill.log").read_text()
    plan = {"studies": 2, "images": 2 * SLICES - 1, "per_hour": 1, "hours": 2.0, "usd": None}
    answer, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])
    assert answer == {**plan, "fetched": 1, "failed": 0, "stopped": True}
    assert "iris: stopped: 1 of 2 studies were fetched; the same command goes on" in said
    assert ("C-MOVE" in said) is not with_get

    first = iris(*EVERYTHING, "--limit-per-hour", "36000", *options)
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert (said["fetched"], said["failed"], said["stopped"]) == (1, 0, False)
    assert sorted(
        site.read("SELECT study_uid, sender, count(*) FROM instances GROUP BY study_uid, sender")
    ) == [
        ("1.2.826.0.1.1", SENDER, SLICES),
        ("1.2.826.0.1.2", "(backfilled)", SLICES - 1),
        ("1.2.826.0.1.2", SENDER, 1),
        ("1.2.826.0.1.3", "(backfilled)", SLICES),
    ]

    again = iris(*EVERYTHING, *options)
    assert json.loads(again.stdout)["studies"] == 0
    until(lambda: len(site.read("SELECT 1 FROM jobs")) >= 3)
    (priority,) = {p for (p,) in site.read("SELECT priority FROM jobs WHERE study_uid = '1.2.826.0.1.3'")}
    assert priority == -BEHIND_LIVE
    assert site.read("SELECT DISTINCT priority FROM jobs WHERE study_uid = '1.2.826.0.1.1'") == [(0,)]
    assert list((site.folder / "data" / "backfill").iterdir()) == [lock]


def test_backfill_without_a_pacs_or_with_a_wrong_time_says_so(iris: Run) -> None:
    said = iris("backfill", "--since", "2026-11-01")
    assert (said.returncode, said.stderr) == (
        1,
        "iris: study.find names no PACS: give its ae_title, host and port in the configuration\n",
    )
    for wrong in (("--between", "20-06"), ("--until", "2026-10-31"), ("--limit-per-hour", "-1")):
        assert iris("backfill", "--since", "2026-11-01", *wrong).returncode == 2
    for option in (("--since", "yesterday"), ("--since", "2026-11-01", "--until", "2026-02-30")):
        said = iris("backfill", *option)
        assert said.returncode == 2
        assert f"'{option[-1]}' is no day; write one as 2026-11-30" in said.stderr
    assert "still to come" in iris("backfill", "--since", "2999-01-01").stderr


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.peer("orthanc")
def test_backfill_killed_ten_times_brings_each_study_once(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    """`IRIS_BACKFILL_STUDIES` says how many (2,000); kills fall on the command and on the gateway in turn."""
    number = int(os.environ.get("IRIS_BACKFILL_STUDIES", "2000"))
    site = make_site(more="[queue]\nmax_jobs_per_hour = 1\n", tiny=True)
    site.fill(*(f"202611{1 + number % 28:02}" for number in range(number)))
    chance, kills, began = random.Random(number), {"backfill": 0, "serve": 0}, time.monotonic()
    serve = site.process("serve")
    until(lambda: (tmp_path / "data" / "api-address").exists())
    while True:
        backfill = site.process("backfill", "--since", "2026-11-01", "--until", "2026-11-30")
        victim = ("backfill", "serve")[sum(kills.values()) % 2]
        try:
            code = backfill.wait(chance.uniform(2, 4 + number / 20) if sum(kills.values()) < KILLS else None)
            assert code == 0
            break
        except subprocess.TimeoutExpired:
            kills[victim] += 1
            (backfill if victim == "backfill" else serve).kill()
            if victim == "serve":
                serve.wait()
                (tmp_path / "data" / "api-address").unlink(missing_ok=True)
                serve = site.process("serve")
                backfill.terminate()
            backfill.wait()
    minutes = (time.monotonic() - began) / 60
    assert sum(kills.values()) == KILLS

    with closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite")) as ledger:
        # A study whose request a kill of the gateway cut is closed by the short timeout; its job gives way.
        current = "FROM jobs WHERE state <> 'superseded'"
        until(lambda: ledger.execute(f"SELECT count(*) {current}").fetchone() == (number,))
        instances = ledger.execute("SELECT study_uid, sop_instance_uid, revision FROM instances").fetchall()
        jobs = ledger.execute(f"SELECT study_uid, priority {current}").fetchall()
        (again,) = ledger.execute("SELECT count(*) FROM runs").fetchone()
        senders = ledger.execute("SELECT DISTINCT sender FROM instances").fetchall()
        quarantined = ledger.execute("SELECT count(*) FROM quarantine").fetchone()
    studies = {f"1.2.826.0.1.{one}" for one in range(1, number + 1)}
    assert sorted(Counter(study for study, _, _ in instances).items()) == sorted(
        (study, SLICES) for study in studies
    )
    assert {revision for *_, revision in instances} == {1}
    assert sorted(study for study, _ in jobs) == sorted(studies)
    assert {priority for _, priority in jobs} == {-BEHIND_LIVE}
    assert (again, quarantined) == (1, (0,))
    print(f"{number} studies of {SLICES} images, {KILLS} kills, {minutes:.1f} minutes; senders {senders}")
