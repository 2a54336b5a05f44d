"""What a run holds of its machine, as its manifest says it."""

from pathlib import Path

import pytest

from batch_job.ec2_metadata import Machine
from batch_job.machine import HeldMachine

OURS = Machine("g4dn.xlarge", "i-0abc", "us-east-1b", is_spot=True)
STAGES_S = {"load": 1.0, "segment": 12.345}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "uptime").write_text("350.75 1234.5\n")
    return tmp_path


def test_run_on_a_machine_with_a_gpu_held_it_while_it_segmented(root: Path) -> None:
    (root / "dev" / "nvidia0").touch()
    use = HeldMachine(OURS, root).use(STAGES_S)
    assert (use.instance, use.zone, use.is_spot) == ("i-0abc", "us-east-1b", True)
    assert (use.up_s, use.gpu_s) == (350.75, 12.35)
    assert use.machine_s >= 0


def test_run_on_a_machine_with_a_driver_alone_held_no_gpu(root: Path) -> None:
    (root / "dev" / "nvidiactl").touch()
    assert HeldMachine(OURS, root).use(STAGES_S).gpu_s == 0


def test_run_on_a_machine_of_no_cloud_says_nothing_of_how_long_that_is_up(root: Path) -> None:
    use = HeldMachine(Machine(), root).use(STAGES_S)
    assert (use.instance, use.up_s) == ("", None)


def test_run_that_cannot_see_how_long_its_machine_is_up_says_so(tmp_path: Path) -> None:
    assert HeldMachine(OURS, tmp_path).use({}).up_s is None
