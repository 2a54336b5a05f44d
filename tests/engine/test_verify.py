"""`python -m batch_job verify`: both ways on one image, with the weights that are there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import random_weights
from totalsegmentator import map_to_binary as maps

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    canonical_options,
)
from batch_job.engines.totalsegmentator import TotalSegmentator, verify
from batch_job.engines.totalsegmentator.plan import sub_models

ROOT = Path(__file__).parents[2]


def test_verify_says_that_labels_are_equal_or_in_how_many_voxels_they_differ(
    quarter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, inside = ["--options", '{"fast": true}', str(quarter)], TotalSegmentator.segment
    changed = 0

    def plain(engine: TotalSegmentator, work: object) -> np.ndarray:
        labels = inside(engine, work).labels
        labels.ravel(order="F")[:changed] += 1
        return labels

    monkeypatch.setattr(TotalSegmentator, "plain", plain)
    assert verify.main(arguments) == EXIT_DONE
    assert capsys.readouterr().out.startswith(f"equal: {61 * 51 * 30} voxels with 5 structures; inside ")
    changed = 3
    assert verify.main(arguments) == EXIT_SOFTWARE_ERROR
    assert capsys.readouterr().out.startswith("different: in 3 of ")


@pytest.mark.usefixtures("plainly")
def test_verify_compares_nothing_where_the_plain_way_is_taken(
    quarter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.main(["--options", '{"fast": true}', str(quarter)]) == EXIT_DONE
    assert "not compared: " in (said := capsys.readouterr().out)
    assert "it was proven for nnunetv2" in said


def test_verify_of_what_is_not_there_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(["--task", "totl"]) == EXIT_BAD_INPUT
    assert verify.main(["--task", "total_mr"]) == EXIT_NOT_SET_UP
    assert "totalseg_download_weights -t total_mr" in capsys.readouterr().err


@pytest.mark.long
def test_full_size_networks_give_the_labels_of_the_plain_command(tmp_path: Path) -> None:
    """Each of the five heads with all its features, of random numbers, on a small volume."""
    for model in sub_models("total", canonical_options("totalsegmentator", "total", {})):
        names = maps.class_map_5_parts[maps.map_taskid_to_partname_ct[model.dataset]]
        labels = {name: value for value, name in names.items()}
        random_weights.write(tmp_path, model, labels, random_weights.FULL_SIZE, model.dataset)
    done = subprocess.run(
        [sys.executable, "-m", "batch_job", "verify"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOTALSEG_WEIGHTS_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    assert done.stdout.startswith("equal: "), done.stdout + done.stderr
