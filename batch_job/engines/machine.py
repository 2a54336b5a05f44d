"""What this machine, or this container of it, gives to the job: cores, memory, disk.

Control groups are read as Linux's documentation describes them (admin-guide/cgroup-v2 and cgroup-v1): a limit
of any group above counts, too. Where a file is missing there is no limit.
"""

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")


def cores(root: Path = ROOT) -> int:
    """How many cores the job may use: affinity and the control groups' quota, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _groups(root, "cpu"):
        quota = _quota(folder)
        if quota is not None:
            allowed = min(allowed, max(1, math.ceil(quota)))
    return allowed


def memory_bytes(root: Path = ROOT) -> tuple[int, int]:
    """The memory that the job may have at all, and what of it is free now; of the smallest of all limits."""
    lines = _lines(root / "proc" / "meminfo")
    facts = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    limit, free = facts.get("MemTotal", 1 << 62), facts.get("MemAvailable", 1 << 62)
    for folder in _groups(root, "memory"):
        most = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if most is None:
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        stat = dict(line.split() for line in _lines(folder / "memory.stat"))
        reclaimable = int(stat.get("inactive_file", stat.get("total_inactive_file", 0)))
        limit, free = min(limit, most), min(free, max(0, most - used + reclaimable))
    return limit, min(free, limit)


def shared_memory_bytes(root: Path = ROOT) -> int:
    """What is free of the shared memory that processes pass arrays through; 0 where there is none."""
    folder = root / "dev" / "shm"
    return shutil.disk_usage(folder).free if folder.is_dir() else 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of all above it, in version 2, then in version 1."""
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        base = root / "sys" / "fs" / "cgroup"
        if controllers and controller not in controllers.split(","):
            continue
        if controllers:
            base /= controller
        # In a container the path may be one of the host's: what is not there is passed over.
        inner = Path(path.lstrip("/"))
        yield from (base / folder for folder in (inner, *inner.parents) if (base / folder).is_dir())


def _quota(folder: Path) -> float | None:
    """Cores' worth of time that a group may use."""
    for line in _lines(folder / "cpu.max"):
        most, period = line.split()
        return None if most == "max" else int(most) / int(period)
    most_us = _number(folder / "cpu.cfs_quota_us")
    period_us = _number(folder / "cpu.cfs_period_us")
    return most_us / period_us if most_us and period_us and most_us > 0 else None


def _number(path: Path) -> int | None:
    for line in _lines(path):
        return int(line) if line.lstrip("-").isdecimal() else None
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
