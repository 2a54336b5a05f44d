"""What an attempt has finished is not done again by the next one, wherever the first was killed."""

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from conftest import FolderCheckpoints, Run, Segment

from batch_job.engines.totalsegmentator.plan import Weights

ROOT = Path(__file__).parents[2]
PARTS = ["291", "292", "293", "294", "295"]


def attempts(source: Path, folder: Path, *kill_after: int) -> tuple[list[str], np.ndarray]:
    """The networks that ran in these attempts together, and the label map of the last."""
    (folder / "kept").mkdir(parents=True)
    command = [
        sys.executable,
        Path(__file__).with_name("attempts.py"),
        source,
        folder / "kept",
        folder / "log",
    ]
    subprocess.run(
        [*map(str, command), *map(str, kill_after)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=280,
    )
    return (folder / "log").read_text().split(), np.load(folder / "log.npy")


def test_task_of_five_parts_killed_after_each_part_runs_no_part_twice(
    quarter: Path, five_parts: Run, tmp_path: Path
) -> None:
    ran, labels = attempts(quarter, tmp_path / "killed", 1, 2, 3, 4, 5, 0)
    assert ran == PARTS
    np.testing.assert_array_equal(labels, five_parts.labels)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The networks that ran, by their datasets, whichever way."""
    from totalsegmentator import nnunet

    from batch_job.engines.totalsegmentator.networks import Networks

    plain, inside, datasets = nnunet.nnUNetv2_predict, Networks.get, []

    @functools.wraps(plain)
    def counted(*args: Any, **kwargs: Any) -> None:
        datasets.append(args[2])
        plain(*args, **kwargs)

    def counted_inside(networks: Networks, weights: Weights, *args: Any) -> Any:
        datasets.append(weights.model.dataset)
        return inside(networks, weights, *args)

    monkeypatch.setattr(nnunet, "nnUNetv2_predict", counted)
    monkeypatch.setattr(Networks, "get", counted_inside)
    return datasets


@pytest.fixture(params=["inside", "plain"])
def way(request: pytest.FixtureRequest) -> None:
    """Both ways, one after the other."""
    if request.param == "plain":
        request.getfixturevalue("plainly")


@pytest.mark.usefixtures("way")
def test_second_attempt_at_another_image_takes_nothing_of_the_first(
    segment: Segment, ran: list[int], quarter: Path, tmp_path: Path
) -> None:
    segment(quarter, fast=True)
    source = nib.load(quarter)
    values = np.asanyarray(source.dataobj).copy()
    values[60, 50, 15] += 1
    other = tmp_path / "other.nii.gz"
    nib.save(nib.Nifti1Image(values, source.affine), other)
    segment(other, fast=True)
    assert ran == [297, 297]
    segment(quarter, fast=True)
    assert ran == [297, 297]


def test_part_that_is_not_whole_is_run_again(
    segment: Segment, ran: list[int], tall_torso: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segment(tall_torso, fast=True)
    monkeypatch.setattr(FolderCheckpoints, "get", lambda self, name: None)  # its digest is not the one noted
    second = segment(tall_torso, fast=True)
    assert ran == [297, 297]
    np.testing.assert_array_equal(first.labels, second.labels)


def test_checkpoints_that_cannot_be_kept_are_a_note_and_no_failure(
    segment: Segment, quarter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(checkpoints: FolderCheckpoints, name: str, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FolderCheckpoints, "put", full)
    run = segment(quarter, fast=True)
    assert run.labels.any()
    assert any("could not be kept" in note for note in run.segmented.notes)


@pytest.mark.usefixtures("plainly")
def test_function_with_another_signature_is_left_alone_and_that_is_said(
    segment: Segment, ran: list[int], quarter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from totalsegmentator import nnunet

    usual = nnunet.nnUNetv2_predict

    def renamed(source, target, *args, **kwargs):
        return usual(source, target, *args, **kwargs)

    monkeypatch.setattr(nnunet, "nnUNetv2_predict", renamed)
    for _ in range(2):
        run = segment(quarter, fast=True)
        assert run.labels.any()
        assert any("nothing was kept" in note for note in run.segmented.notes)
    assert run.checkpoints.put_names == []
    assert ran == [297, 297]
