"""What of the machine this process may use: memory and cores, as its cgroups (v2, v1) limit them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path("/")
UNLIMITED: Final = 1 << 60
"""From here on a v1 limit means none."""


@dataclass(frozen=True)
class Memory:
    """Bytes that this process may have in all, and those that are not in use now; None where nothing says."""

    total: int | None
    free: int | None


def memory(root: Path = ROOT) -> Memory:
    """The smallest of the machine's memory and the limits of the cgroups that this process is in.

    Parameters
    ----------
    root
        Where `proc` and `sys` are.
    """
    system = _fields(root / "proc" / "meminfo")
    totals, frees = [], []
    if "MemTotal:" in system:
        totals.append(system["MemTotal:"] * 1024)
        frees.append(system.get("MemAvailable:", system["MemTotal:"]) * 1024)
    for group, is_v2 in _groups(root, "memory"):
        limit = _number(group / ("memory.max" if is_v2 else "memory.limit_in_bytes"))
        if limit is None or limit >= UNLIMITED:
            continue
        used = _number(group / ("memory.current" if is_v2 else "memory.usage_in_bytes")) or 0
        # Cached files are given back when memory is wanted.
        cached = _fields(group / "memory.stat").get("inactive_file" if is_v2 else "total_inactive_file", 0)
        totals.append(limit)
        frees.append(max(limit - used + cached, 0))
    return Memory(min(totals, default=None), min(frees, default=None))


def cores(root: Path = ROOT) -> int:
    """How many cores this process may keep busy, at least one: its affinity and the quotas of its cgroups."""
    allowed: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group, is_v2 in _groups(root, "cpu"):
        if is_v2:
            quota, _, period = _text(group / "cpu.max").partition(" ")
        else:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            allowed = min(allowed, int(quota) / int(period))
    return max(1, int(allowed))


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """The folder of each cgroup that this process is in, from its own up to the top, and whether it is v2.

    In a container the names in `/proc/self/cgroup` may be those of the host, while the container's own group
    is mounted as the top: the top is looked at in any case.
    """
    mounted = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            top, is_v2 = mounted, True
        elif controller in controllers.split(","):
            top, is_v2 = mounted / controller, False
        else:
            continue
        own = PurePosixPath(name.lstrip("/"))
        for group in (own, *own.parents):
            yield top / group, is_v2


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    lines = (line.split() for line in _text(path).splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}
