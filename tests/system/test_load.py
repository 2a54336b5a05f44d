"""Many senders at once, very many images, one very long study: those that matter come back all the while.

`IRIS_LOAD_IMAGES` and `IRIS_LOAD_SLICES` say how many (100,000; 5,000 in one study). What is measured is
printed, never asserted: it is this machine's. `docs/durability.md` has the last figures.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from benchmarks.outcome import machine
from gateway.adapters.dicom.peer import parse_peer
from gateway.delivery.sending import send_files
from tests.load import IMAGES_A_STUDY, REJECTED, Asked, ask_api, send_studies
from tests.mutations import Base, plain_bytes
from tests.process import held_by
from tests.wire import address_of

IMAGES = int(os.environ.get("IRIS_LOAD_IMAGES", "100000"))
SLICES = int(os.environ.get("IRIS_LOAD_SLICES", "5000"))
PROCESSES, ASSOCIATIONS_EACH = 4, 7
"""With the long study and a study that matters at most 30 of the 32 places."""
EVERY_S = 60.0
"""So often a study is sent that is to come back."""
LOOK_EVERY_S = 1.0
ALLOWANCE_MB = 60.0
"""What memory may be higher in the second half of the load than ever in the first."""
MB_A_SLICE = 0.03
"""What a study takes while it is closed and converted, for each of its images."""
SPAWN = get_context("spawn")
DEADLINE_S = 1800.0


@dataclass
class Watched:
    """What was seen of the gateway while it worked."""

    asked: Asked = field(default_factory=Asked)
    memory_mb: list[float] = field(default_factory=list)
    came_back_s: list[float] = field(default_factory=list)


class Watcher:
    """Asks the API, looks at memory, and sends studies that are to come back, until it is told to stop."""

    def __init__(self, world: Any, write_study: Callable[..., str], folder: Path) -> None:
        self._world, self._write_study, self._folder = world, write_study, folder
        self._stopping = threading.Event()
        self.seen = Watched()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Watch meanwhile."""
        address = (self._world.data_dir / "api-address").read_text().strip()
        token = (self._world.data_dir / "admin-token").read_text().strip()
        with (
            SPAWN.Manager() as manager,
            ProcessPoolExecutor(1, mp_context=SPAWN) as process,
            ThreadPoolExecutor(2) as threads,
        ):
            ended = manager.Event()
            asking = process.submit(ask_api, address, token, ended)
            working = [threads.submit(each) for each in (self._look, self._send)]
            try:
                yield
            finally:
                self._stopping.set()
                ended.set()
            for each in working:
                each.result()
            self.seen.asked = asking.result()

    def _look(self) -> None:
        pid = self._world.gateway_pid()
        while not self._stopping.wait(LOOK_EVERY_S):
            self.seen.memory_mb.append(held_by(pid).memory_mb)

    def _send(self) -> None:
        number = 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            name = f"matters-{number}"
            study_uid = self._write_study(self._folder / name, seed=name)
            send(self._world, self._folder / name)
            until_done(self._world, study_uid)
            self.seen.came_back_s.append(time.monotonic() - begun)
            number += 1
            self._stopping.wait(max(0.0, EVERY_S - (time.monotonic() - begun)))


def send(world: Any, folder: Path) -> None:
    """Send a folder once: each is acknowledged at the first try."""
    paths = sorted(folder.glob("*.dcm"))
    peer = parse_peer((world.data_dir / "dicom-address").read_text().strip())
    assert {result.status for result in send_files(paths, peer, "SENDER")} == {0x0000}


def until_done(world: Any, study_uid: str) -> dict[str, Any]:
    """Wait until a study is delivered."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        study = world.study(study_uid)
        if study is not None and study["state"] in ("done", "failed", "held"):
            assert (study["state"], study["reason"]) == ("done", "delivered"), study
            return dict(study)
        assert time.monotonic() < deadline, study
        time.sleep(0.5)


def small_image(folder: Path) -> Base:
    """An MR image of 5 kB, for which there is no rule."""
    image = dcmread(next(folder.glob("*.dcm")))
    image.SOPClassUID, image.Modality = MRImageStorage, "MR"
    uids = (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
    content = plain_bytes(image, ExplicitVRLittleEndian)
    return Base("small", MRImageStorage, ExplicitVRLittleEndian, *map(str, uids), content)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_studies_come_back_and_memory_stays_flat_under_load(
    make_world: Callable[..., Any],
    recording_pacs: Any,
    write_study: Callable[..., str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    write_study(tmp_path / "small", seed="small", slices=1)
    long_study_uid = write_study(tmp_path / "long", seed="long", slices=SLICES, thickness_mm=0.2)
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start()
    image, pid = small_image(tmp_path / "small"), world.gateway_pid()
    before_it_closed_mb: list[float] = []
    watcher, begun, cpu_before_s = Watcher(world, write_study, tmp_path), time.monotonic(), cpu_s(pid)
    with watcher.at_work(), ThreadPoolExecutor(1) as beside:
        long_study = beside.submit(send, world, tmp_path / "long")
        long_study.add_done_callback(lambda _: before_it_closed_mb.extend(watcher.seen.memory_mb))
        answers = send_small_ones(world, image)
        long_study.result()
        seconds, cpu = time.monotonic() - begun, cpu_s(pid) - cpu_before_s
        until_done(world, long_study_uid)
    assert watcher.seen.asked.not_answered == []
    rejected = answers.pop(REJECTED, 0)
    half = len(before_it_closed_mb) // 2
    first_mb, second_mb = max(before_it_closed_mb[:half]), max(before_it_closed_mb[half:])
    long_mb = max(watcher.seen.memory_mb) - max(first_mb, second_mb)
    figures = figures_of(watcher.seen, answers.total() + SLICES, seconds, cpu)
    figures["memory MB while the long study comes in: first half, second half, at most"] = (
        f"{first_mb:.0f}, {second_mb:.0f}"
    )
    figures["... more than that while it is closed, converted and sent, at most"] = round(long_mb)
    figures["associations without a place, that were tried again"] = rejected
    for name, value in figures.items():
        record_property(name, value)
        print(f"| {name} | {value} |")
    print(machine())
    assert set(answers) == {0x0000}
    assert len(watcher.seen.came_back_s) >= seconds // EVERY_S / 2
    assert second_mb <= first_mb + ALLOWANCE_MB
    assert long_mb <= ALLOWANCE_MB + MB_A_SLICE * SLICES
    assert world.stop() == 0


def send_small_ones(world: Any, image: Base) -> Counter[int]:
    """Send all of them from several processes; how many were answered what."""
    address, studies = address_of(world.data_dir), IMAGES // IMAGES_A_STUDY
    parts = [range(first, studies, PROCESSES) for first in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=SPAWN) as processes:
        sent = [processes.submit(send_studies, address, image, part, ASSOCIATIONS_EACH) for part in parts]
        return sum((each.result() for each in sent), Counter[int]())


def figures_of(seen: Watched, images: int, seconds: float, cpu: float) -> dict[str, object]:
    """What was measured, as rows of a table."""
    latencies_s = [latency_s for each in seen.asked.latencies_s.values() for latency_s in each]
    return {
        "images": f"{images:,} in {seconds:.0f} s",
        "images/s": round(images / seconds),
        "processor ms of the gateway an image": round(1000 * cpu / images, 2),
        "API answers": f"{len(latencies_s):,}, none missing",
        "API ms, median and 99th percentile": _two(latencies_s),
        **{f"... {path}": _two(each) for path, each in seen.asked.latencies_s.items()},
        "studies that came back": len(seen.came_back_s),
        "... after s, median and longest": f"{median(seen.came_back_s):.0f}, {max(seen.came_back_s):.0f}",
    }


def _two(latencies_s: list[float]) -> str:
    return f"{1000 * median(latencies_s):.0f}, {1000 * quantiles(latencies_s, n=100)[98]:.0f}"
