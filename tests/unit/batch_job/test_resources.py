"""What a run may use of the machine, and what it refuses to begin without."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from batch_job.cgroup import Memory, cores, memory
from batch_job.errors import BadInput, ComeBackLater
from batch_job.image import ImageSize, read_size
from batch_job.resources import check_disk, check_memory

GB = 1024**3
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n"


def machine(root: Path, groups: str, files: dict[str, str], meminfo: str = MEMINFO) -> Path:
    """A made-up `/proc` and `/sys`."""
    written = {"proc/meminfo": meminfo, "proc/self/cgroup": groups}
    written |= {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def test_memory_without_limits_is_the_machines(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", {})
    assert memory(root) == Memory(16 * GB, 8 * GB)


def test_memory_of_an_unknown_system_is_unknown(tmp_path: Path) -> None:
    assert memory(tmp_path) == Memory(None, None)


def test_memory_limit_of_a_container_in_v2_counts_without_its_cache(tmp_path: Path) -> None:
    files = {
        "memory.max": str(4 * GB),
        "memory.current": str(3 * GB),
        "memory.stat": f"anon 1\ninactive_file {2 * GB}",
    }
    assert memory(machine(tmp_path, "0::/\n", files)) == Memory(4 * GB, 3 * GB)


def test_memory_limit_of_any_group_above_in_v2_counts(tmp_path: Path) -> None:
    files = {
        "pods/memory.max": str(2 * GB),
        "pods/memory.current": str(GB),
        "pods/job/memory.max": "max",
        "pods/job/memory.current": "0",
    }
    assert memory(machine(tmp_path, "0::/pods/job\n", files)) == Memory(2 * GB, GB)


def test_memory_limit_in_v1_counts_also_under_the_hosts_names(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": str(4 * GB),
        "memory/memory.usage_in_bytes": str(2 * GB),
        "memory/memory.stat": f"total_inactive_file {GB}",
    }
    groups = "11:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n"  # no such folder inside the container
    assert memory(machine(tmp_path, groups, files)) == Memory(4 * GB, 3 * GB)


def test_memory_limit_in_v1_that_is_none_does_not_count(tmp_path: Path) -> None:
    files = {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "1"}
    assert memory(machine(tmp_path, "5:memory:/\n", files)) == Memory(16 * GB, 8 * GB)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "100000 100000"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "max 100000"}, 4),
        ("0::/a/b\n", {"a/cpu.max": "250000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_cores_are_those_of_affinity_and_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert cores(machine(tmp_path, groups, files)) == expected


SIZE = ImageSize(voxels=100_000_000, bytes=200_000_000)


def test_image_too_large_for_the_machine_is_refused_with_the_numbers() -> None:
    with pytest.raises(BadInput, match=r"100 million voxels need 1,150 MB .* may have 1,000 MB"):
        check_memory(SIZE, 8, Memory(1_000_000_000, 1_000_000_000))


def test_image_too_large_just_now_is_put_off_with_the_numbers() -> None:
    with pytest.raises(ComeBackLater, match="need 1,150 MB of memory and 500 MB are free"):
        check_memory(SIZE, 8, Memory(2_000_000_000, 500_000_000))


def test_image_that_fits_is_taken() -> None:
    check_memory(SIZE, 8, Memory(2_000_000_000, 1_200_000_000))
    check_memory(SIZE, 8, Memory(None, None))
    check_memory(SIZE, 2, Memory(600_000_000, 600_000_000))


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 2), (2.0, 6)])
def test_image_size_counts_what_scaling_adds(tmp_path: Path, slope: float, expected: int) -> None:
    nifti = nib.Nifti1Image(np.zeros((10, 10, 10), np.int16), np.eye(4))
    nib.save(nifti, tmp_path / "input.nii")
    content = bytearray((tmp_path / "input.nii").read_bytes())
    content[112:116] = np.float32(slope).tobytes()  # scl_slope
    (tmp_path / "input.nii").write_bytes(content)
    assert read_size(tmp_path / "input.nii").bytes == 1000 * expected


def test_disk_too_small_is_told_with_the_numbers(tmp_path: Path) -> None:
    check_disk(1_000_000, tmp_path)
    with pytest.raises(ComeBackLater, match=r"needs 2,000,000,000,050 MB of disk .* are free"):
        check_disk(10**18, tmp_path)


BALLAST = """
import os
from batch_job.resources import peak_rss_mb
before = peak_rss_mb()
if (child := os.fork()) == 0:
    ballast = b"\1" * 100_000_000
    os._exit(0)
os.waitpid(child, 0)
print(before, peak_rss_mb())
"""


def test_peak_memory_counts_the_largest_child() -> None:
    result = subprocess.run(
        [sys.executable, "-c", BALLAST], capture_output=True, text=True, check=True, timeout=60
    )
    before, after = map(float, result.stdout.split())
    assert 5 < before < 60
    assert 95 < after - before < 180
