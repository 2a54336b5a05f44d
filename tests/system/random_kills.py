"""A gateway under load that is killed at random instants: who sends, who kills, and what is counted.

Several senders send one study after the other, each on two associations at once, and send again what was not
acknowledged, as a PACS does. Nobody waits for anybody else; the gateway is started again at once.
"""

import random
import shutil
import sqlite3
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from gateway.adapters.dicom.peer import NotReached, parse_peer
from gateway.delivery.sending import send_files
from gateway.files.names import DICOM_ADDRESS_NAME, LEDGER_NAME
from gateway.listener.statuses import SUCCESS

SENDERS = 4
ASSOCIATIONS = 2
"""Of each sender, at once."""
SLICES = (6, 12)
EARLY = 0.25
"""So many of the gateways die within their start."""
LONGEST = 4.0
"""The others live on for up to so many times what it took."""
AFRESH_EVERY = 10
"""One in so many gateways is started as an operator does; the others are forked, which is quicker."""
LOOK_S = 0.01
DEADLINE_S = 300.0

STARTING = "no port was open yet"
WRITING = "an instance was being written"
WORK = {
    "a study was being received": "SELECT 1 FROM studies WHERE state = 'receiving'",
    "a volume was to be converted": "SELECT 1 FROM jobs WHERE state = 'planned'",
    "a job was to be staged or submitted": "SELECT 1 FROM jobs WHERE state IN ('converted', 'staged')",
    "a run was open": "SELECT 1 FROM runs WHERE is_open = 1",
    "a label map was to be encoded": "SELECT 1 FROM jobs WHERE state = 'segmented'",
    "a result was to be delivered": "SELECT 1 FROM deliveries WHERE state = 'pending'",
}
"""What may be open at a kill, and how the ledger says so."""
NOTHING = "nothing was open"


@dataclass
class Figures:
    """What a run of it counted."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    """By what was open then; several things may be."""
    killed: int = 0
    listening_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By Python, of each start that came so far: from its beginning until the DICOM port was open."""
    open_runs: Counter[str] = field(default_factory=Counter)
    """By job: at how many kills a run of it was open."""


@dataclass
class Sent:
    """One study that was sent, and what of it was acknowledged."""

    study_uid: str
    paths: list[Path]
    acknowledged: set[Path] = field(default_factory=set)

    def missing(self) -> list[Path]:
        """What has to be sent again."""
        return [path for path in self.paths if path not in self.acknowledged]


class Senders:
    """Send studies until they are told to stop.

    Parameters
    ----------
    folder
        Where the studies are written.
    """

    def __init__(self, world: Any, write_study: Callable[..., str], folder: Path, seed: int) -> None:
        self._world, self._write_study = world, write_study
        self._folder, self._seed = folder, seed
        self._stopping = threading.Event()
        self.studies: list[Sent] = []
        self.again = 0
        """Instances that were acknowledged more than once: the whole study was sent again."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have them send; at the end each has sent all of its last study."""
        with ThreadPoolExecutor(SENDERS) as threads:
            working = [threads.submit(self._send_studies, number) for number in range(SENDERS)]
            try:
                yield
            finally:
                self._stopping.set()
                if not self._world.is_alive():  # something failed: nobody answers them any more
                    self._world.start()
            for each in working:
                each.result()

    def acknowledged(self) -> set[Path]:
        """Every file that was answered with success."""
        return {path for study in list(self.studies) for path in list(study.acknowledged)}

    def _send_studies(self, sender: int) -> None:
        """One study after the other; two of each sender are under way."""
        chance = random.Random(f"{self._seed} {sender}")
        before: Sent | None = None
        while not self._stopping.is_set():
            number = len(self.studies)
            name = f"{self._seed}-{sender}-{number}"
            slices = chance.randint(*SLICES)
            study_uid = self._write_study(self._folder / name, seed=name, slices=slices)
            study = Sent(study_uid, sorted((self._folder / name).iterdir()))
            self.studies.append(study)
            self._send(study)
            if chance.random() < 0.25:  # some PACS begin from the start
                self.again += len(study.paths)
                study.acknowledged.clear()
                self._send(study)
            if before is not None:
                self._until_done(before)
            before = study

    def _send(self, study: Sent) -> None:
        deadline = time.monotonic() + DEADLINE_S
        with ThreadPoolExecutor(ASSOCIATIONS) as threads:
            while missing := study.missing():
                assert time.monotonic() < deadline, "it takes no instance any more"
                parts = [missing[number::ASSOCIATIONS] for number in range(ASSOCIATIONS)]
                list(threads.map(lambda part: self._send_some(study, part), filter(None, parts)))
                time.sleep(LOOK_S)

    def _send_some(self, study: Sent, paths: Sequence[Path]) -> None:
        def note(path: Path, status: int | None) -> None:
            if status == SUCCESS:
                study.acknowledged.add(path)

        try:
            peer = parse_peer((self._world.data_dir / DICOM_ADDRESS_NAME).read_text().strip())
            send_files(paths, peer, "SENDER", on_sent=note)
        except (NotReached, OSError, RuntimeError, ValueError):  # it is not there, or died just now
            time.sleep(5 * LOOK_S)

    def _until_done(self, study: Sent) -> None:
        while not self._stopping.is_set():
            said = self._world.study(study.study_uid)
            if said is not None and said["state"] == "done":
                return
            time.sleep(10 * LOOK_S)


class Killer:
    """Starts and kills the gateway, and looks each time at what it left.

    Parameters
    ----------
    known_as
        The SOP Instance UID of a file that was sent.
    """

    def __init__(
        self, world: Any, senders: Senders, known_as: Callable[[Path], str], figures: Figures
    ) -> None:
        self._world, self._senders, self._known_as = world, senders, known_as
        self._figures = figures
        self._chance = random.Random(figures.seed)
        self._looked_at: set[Path] = set()

    def kill(self, times: int) -> None:
        """Do it so often; a last gateway is left running."""
        quick = self._world.python
        for number in range(times):
            self._world.python = quick if number % AFRESH_EVERY else sys.executable
            self._live()
            self._world.kill()
            self._look()
        self._world.start()

    def _live(self) -> None:
        """Let a gateway live: one in four dies within its start, the others a while after they listen."""
        starts_s = self._figures.listening_s[self._world.python]
        dies_early, share = self._chance.random() < EARLY, self._chance.random()
        start_s = median(starts_s[-5:]) if starts_s else None
        self._world.launch()
        while self._world.gateway_pid() is None:
            time.sleep(LOOK_S)
        began = time.monotonic()
        if dies_early and start_s is not None:
            self._wait_until(lambda: time.monotonic() >= began + share * start_s)
            return
        self._wait_until(lambda: self._world.is_listening)
        starts_s.append(time.monotonic() - began)
        ends_at = time.monotonic() + share * LONGEST * starts_s[-1]
        self._wait_until(lambda: time.monotonic() >= ends_at)

    def _wait_until(self, is_time: Callable[[], bool]) -> None:
        while not is_time():
            assert self._world.is_alive(), self._world.log.read_text()
            time.sleep(LOOK_S)

    def _look(self) -> None:
        """What was acknowledged is there; what was open is counted."""
        figures, world = self._figures, self._world
        acknowledged = self._senders.acknowledged()
        figures.killed += 1
        with self._ledger_as_it_was_left() as ledger:
            for path in acknowledged - self._looked_at:
                row = ledger.execute(
                    "SELECT path FROM instances WHERE sop_instance_uid = ?", (self._known_as(path),)
                ).fetchone()
                assert row is not None, f"{path} was acknowledged, and the ledger does not know it"
                assert (world.data_dir / row[0]).is_file(), f"{path} was acknowledged, and is not there"
            open_now = [what for what, sql in WORK.items() if ledger.execute(f"{sql} LIMIT 1").fetchone()]
            jobs = ledger.execute("SELECT DISTINCT job_key FROM runs WHERE is_open = 1").fetchall()
        self._looked_at |= acknowledged
        figures.open_runs.update(job_key for (job_key,) in jobs)
        if not world.is_listening:
            open_now.append(STARTING)
        if any((world.data_dir / "incoming").rglob("*.part")):
            open_now.append(WRITING)
        figures.kills.update(open_now or [NOTHING])

    @contextmanager
    def _ledger_as_it_was_left(self) -> Iterator[sqlite3.Connection]:
        """A copy: whoever opens the ledger itself mends what the kill left."""
        copy = self._world.folder / "left"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for end in ("", "-wal"):
            if (file := self._world.data_dir / f"{LEDGER_NAME}{end}").exists():
                shutil.copy(file, copy)
        with closing(sqlite3.connect(copy / LEDGER_NAME)) as connection:
            yield connection
