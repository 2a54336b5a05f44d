"""What the runs of one process share: room in memory, and whose peak was how high."""

import subprocess
import sys
import threading

import pytest

from batch_job import resources
from batch_job.cgroup import Memory
from batch_job.errors import ComeBackLater
from batch_job.image import ImageSize
from batch_job.shared import Room

DEADLINE_S = 120.0
SIZE = ImageSize(voxels=100_000_000, bytes=200_000_000)
"""Takes 1,150 MB at 8 bytes a voxel."""


def test_room_for_a_second_image_is_waited_for_until_the_first_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "memory", lambda: Memory(4_000_000_000, 2_000_000_000))
    room, taken = Room(), threading.Event()

    def take() -> None:
        with room.taken(SIZE, 8):
            taken.set()

    second = threading.Thread(target=take, daemon=True)
    with room.taken(SIZE, 8):
        second.start()
        assert not taken.wait(0.2)
    assert taken.wait(DEADLINE_S)


def test_room_for_two_images_is_given_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "memory", lambda: Memory(4_000_000_000, 2_400_000_000))
    room = Room()
    with room.taken(SIZE, 8), room.taken(SIZE, 8):
        pass


def test_room_that_nobody_here_has_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "memory", lambda: Memory(4_000_000_000, 1_000_000_000))
    with pytest.raises(ComeBackLater, match="1,000 MB are free"), Room().taken(SIZE, 8):
        pass


PEAKS = """
from batch_job.resources import PeakMemory
memory = PeakMemory()
with memory.watched() as first:
    ballast = b"\\1" * 200_000_000
    with memory.watched() as both:
        more = b"\\1" * 100_000_000
        del ballast, more
        with memory.watched() as last:
            print(first(), both(), last())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count anew")
def test_peak_of_a_run_is_what_was_reached_in_its_time() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True, timeout=60
    )
    first, both, last = map(float, result.stdout.split())
    assert 300 < first < 380
    assert both == first
    assert last < 100
