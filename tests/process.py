"""What the system says of a process: memory, descriptors, threads (proc(5))."""

import os
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment."""

    memory_mb: float
    """Resident."""
    descriptors: int
    threads: int


def held_by(pid: int) -> Held:
    """What it holds now."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Held(
        pages * PAGE_BYTES / 1e6,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )


def peak_memory_mb(pid: int) -> float:
    """What it held at most since it began, resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
