"""What a request takes of the machine is reckoned, and refused with numbers where there is not enough."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from batch_job.cgroup import Memory
from batch_job.engines.totalsegmentator import demands as module
from batch_job.engines.totalsegmentator.demands import Demands, check_room, on_cpu
from batch_job.engines.totalsegmentator.plan import SubModel, Weights
from batch_job.errors import BadInput, ComeBackLater
from batch_job.image import Image

GB = 10**9


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    """A part of `total`: 27 classes, patches of 128."""
    model = SubModel(291, "Dataset291_TotalSegmentator_part1", "trainer__plans__3d_fullres", (0,), (1.5,) * 3)
    folder = tmp_path / model.name
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").touch()
    (folder / "dataset.json").write_text(json.dumps({"labels": {str(n): n for n in range(27)}}))
    plans = {"configurations": {"3d_fullres": {"patch_size": [128, 128, 128]}}}
    (folder / "plans.json").write_text(json.dumps(plans))
    return Weights(model, folder)


def image(*shape: int, spacing_mm: tuple[float, float, float] = (0.7, 0.7, 1.5)) -> Image:
    """An image without voxels of its own."""
    return Image(np.broadcast_to(np.int16(0), shape), np.diag([*spacing_mm, 1.0]))


def test_demands_of_a_full_size_ct_are_of_the_measured_order(weights: Weights) -> None:
    demands = Demands.of(image(512, 512, 280), [weights])
    assert demands.model_shape == (239, 239, 280)
    assert 4.1 * GB < demands.least_memory_bytes < 6.5 * GB  # measured 4.1 with tiny networks
    assert demands.patch_voxels == 3 * 3 * 3 * 128**3


def test_demands_grow_with_the_image_and_the_networks(weights: Weights) -> None:
    small, large = (Demands.of(image(512, 512, n), [weights]) for n in (100, 800))
    assert large.least_memory_bytes > 2 * small.least_memory_bytes
    assert large.scratch_bytes > 5 * small.scratch_bytes
    assert Demands.of(image(512, 512, 100), [weights] * 5).patch_voxels == 5 * small.patch_voxels


def test_image_of_a_single_slice_has_demands(weights: Weights) -> None:
    assert Demands.of(image(1, 1, 1), [weights]).model_shape == (1, 1, 1)


def test_network_that_gets_a_region_only_refuses_no_image(weights: Weights) -> None:
    rough = dataclasses.replace(weights.model, spacing_mm=(6.0,) * 3)
    fine = dataclasses.replace(weights.model, spacing_mm=(0.5,) * 3, is_cropped=True)
    alone = Demands.of(image(512, 512, 280), [Weights(rough, weights.folder)])
    both = Demands.of(image(512, 512, 280), [Weights(model, weights.folder) for model in (rough, fine)])
    assert both.least_memory_bytes == alone.least_memory_bytes
    assert not both.can_be_split


@pytest.mark.parametrize(("slices", "can_be_split"), [(59, False), (60, True)])
def test_image_can_be_split_when_its_thirds_can_overlap(
    weights: Weights, slices: int, can_be_split: bool
) -> None:
    assert Demands.of(image(64, 64, slices), [weights]).can_be_split is can_be_split


@pytest.fixture
def demands(weights: Weights) -> Demands:
    return Demands.of(image(512, 512, 280), [weights])


def test_image_that_the_machine_never_holds_is_bad_input_with_the_numbers(
    demands: Demands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory", lambda: Memory(4 * GB, 4 * GB))
    needed = f"{demands.least_memory_bytes / GB:.1f} GB"
    with pytest.raises(BadInput, match=rf"512 x 512 x 280 voxels.*about {needed} of memory.*has 4\.0 GB"):
        check_room(demands, tmp_path)


def test_image_that_the_machine_does_not_hold_now_comes_back_later(
    demands: Demands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory", lambda: Memory(16 * GB, 2 * GB))
    with pytest.raises(ComeBackLater, match=r"2\.0 GB are free; run fewer jobs"):
        check_room(demands, tmp_path)


def test_scratch_without_room_comes_back_later(
    demands: Demands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory", lambda: Memory(16 * GB, 16 * GB))
    check_room(demands, tmp_path)
    with pytest.raises(ComeBackLater, match="of scratch"):
        check_room(dataclasses.replace(demands, scratch_bytes=1 << 60), tmp_path)


def test_warning_about_the_cpu_says_how_long_it_takes(demands: Demands) -> None:
    assert on_cpu(demands, 2).startswith("there is no GPU: on 2 cores the networks take about 6 min")
    longer = dataclasses.replace(demands, patch_voxels=100 * demands.patch_voxels)
    assert "hours" in on_cpu(longer, 2)
