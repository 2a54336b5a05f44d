"""What a machine gives to the job, read from files as Linux writes them."""

import os
from pathlib import Path

import pytest

from batch_job.engines.machine import cores, memory_bytes, shared_memory_bytes

GB = 1024**3


def write(root: Path, **files: str) -> Path:
    """Write files named by their paths, with `__` for `/` and `_DOT_` for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 16 GB, 12 of them free, without control groups."""
    return write(
        tmp_path, proc__meminfo=f"MemTotal: {16 * GB // 1024} kB\nMemAvailable: {12 * GB // 1024} kB\n"
    )


def test_memory_without_control_groups_is_the_machines(root: Path) -> None:
    assert memory_bytes(root) == (16 * GB, 12 * GB)


def test_memory_in_a_group_is_the_smallest_limit_of_those_above_it(root: Path) -> None:
    write(
        root,
        proc__self__cgroup="0::/job.slice/task\n",
        sys__fs__cgroup__job_DOT_slice__task__memory_DOT_max="max\n",
        sys__fs__cgroup__job_DOT_slice__memory_DOT_max=f"{8 * GB}\n",
        sys__fs__cgroup__job_DOT_slice__memory_DOT_current=f"{3 * GB}\n",
        sys__fs__cgroup__job_DOT_slice__memory_DOT_stat=f"anon {GB}\ninactive_file {1 * GB}\n",
    )
    assert memory_bytes(root) == (8 * GB, 6 * GB)  # file pages that nobody uses can be had


def test_memory_in_a_container_whose_group_is_named_after_the_hosts_is_read_at_the_top(root: Path) -> None:
    write(
        root,
        proc__self__cgroup="0::/not/there\n",
        sys__fs__cgroup__memory_DOT_max=f"{4 * GB}\n",
        sys__fs__cgroup__memory_DOT_current=f"{1 * GB}\n",
    )
    assert memory_bytes(root) == (4 * GB, 3 * GB)


def test_memory_in_a_group_of_version_one_is_its_limit(root: Path) -> None:
    write(
        root,
        proc__self__cgroup="5:memory:/job\n4:cpu,cpuacct:/job\n",
        sys__fs__cgroup__memory__job__memory_DOT_limit_in_bytes=f"{2 * GB}\n",
        sys__fs__cgroup__memory__job__memory_DOT_usage_in_bytes=f"{GB // 2}\n",
        sys__fs__cgroup__cpu__job__cpu_DOT_cfs_quota_us="100000\n",
        sys__fs__cgroup__cpu__job__cpu_DOT_cfs_period_us="100000\n",
    )
    assert memory_bytes(root) == (2 * GB, 3 * GB // 2)
    assert cores(root) == 1


@pytest.mark.parametrize(("quota", "most"), [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1)])
def test_cores_are_those_of_the_affinity_and_the_quota(root: Path, quota: str, most: int | None) -> None:
    given = len(os.sched_getaffinity(0))
    write(root, proc__self__cgroup="0::/\n", sys__fs__cgroup__cpu_DOT_max=f"{quota}\n")
    assert cores(root) == (given if most is None else min(given, most))


def test_shared_memory_that_is_absent_is_none(root: Path) -> None:
    assert shared_memory_bytes(root) == 0
    (root / "dev" / "shm").mkdir(parents=True)
    assert shared_memory_bytes(root) > 0
