"""The way inside gives the plain way's labels in every voxel, by networks of random numbers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
import pytest
import random_weights
import torch
from conftest import Run, Segment
from numpy.typing import NDArray
from scipy import ndimage
from totalsegmentator import map_to_binary as maps

from batch_job.cgroup import Memory
from batch_job.contract import canonical_options
from batch_job.engines.totalsegmentator import proven
from batch_job.engines.totalsegmentator.plan import Weights, sub_models
from batch_job.engines.totalsegmentator.resampling import linear, nearest

Both = Callable[..., NDArray[np.uint8]]

CPU: Final = torch.device("cpu")
STRAIGHT: Final = np.eye(3)
FINE_Z_MM: Final = (2.0, 1.1, 1.2)
SHAPES: Final = {
    8: random_weights.Shape(spacing_mm=FINE_Z_MM),
    615: random_weights.Shape(normalization="ZScoreNormalization"),
}
"""Networks for which nnU-Net itself resamples, by splines, and of MR; all others are as usual."""


@pytest.fixture(scope="module", autouse=True)
def random_networks(weights: Path) -> None:
    """Beside the networks that all tests share, which find the regions."""
    there = {path.name for path in weights.iterdir()}
    for task in ("total_v3", "kidney_cysts", "liver_vessels", "body", "brain_aneurysm", *FOLLOWED):
        for model in sub_models(task, canonical_options("totalsegmentator", task, {})):
            if model.name not in there:
                labels = _labels(model.dataset, task)
                shape = SHAPES.get(model.dataset, random_weights.Shape())
                random_weights.write(weights, model, labels, shape, model.dataset)


def _labels(dataset: int, task: str) -> dict[str, int]:
    part = maps.map_taskid_to_partname_ct_v3.get(dataset)
    names = maps.class_map_5_parts_total_v3[part] if part else maps.class_map[task]
    return {name: value for value, name in names.items()}


def made_up(shape: tuple[int, ...], seed: int = 1) -> NDArray[np.int16]:
    """Blobs from -1000 to 1500 HU, some of them 0."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, [min(2.0, count / 4) for count in shape])
    values = (smooth / np.abs(smooth).max() * 1500).clip(-1000)
    return np.where(np.abs(values) < 10, 0, values).astype(np.int16)


def save(path: Path, values: NDArray[Any], spacing_mm: tuple[float, ...], turn: Any = STRAIGHT) -> Path:
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(turn) @ np.diag(spacing_mm)
    affine[:3, 3] = (-31.7, 12.3, 470.1)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


@pytest.fixture
def both(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> Both:
    """`both(source, task, **options)`: what both ways give, which must be the same."""

    def compare(source: Path, task: str = "total", **options: Any) -> NDArray[np.uint8]:
        inside = segment(source, task, **options)
        assert any("ran inside the job's process" in note for note in inside.segmented.notes)
        with monkeypatch.context() as patch:
            patch.setitem(proven.VERSIONS, "nnunetv2", "2.0")
            plain = segment(source, task, **options)
        assert any(
            "own way was taken: it was proven for nnunetv2 2.0" in note for note in plain.segmented.notes
        )
        np.testing.assert_array_equal(inside.labels, plain.labels)
        assert inside.labels.flags.f_contiguous
        assert inside.engine.info == plain.engine.info
        return inside.labels

    return compare


FOLLOWED: Final = ("vertebrae_pp_refined", "heartchambers_highres")
"""Tasks after whose networks TotalSegmentator does more, by millimetres."""

OBLIQUE: Final = [[-0.96, 0.28, 0], [0.28, 0.96, 0], [0, 0, -1]]
VOLUMES: Final = {
    "odd": ((23, 18, 13), (1.7, 1.6, 2.9), STRAIGHT),
    "oblique to the left, back and feet": ((21, 24, 5), (1.3, 1.3, 5.0), OBLIQUE),
    "sagittal": ((5, 20, 18), (4.0, 1.5, 1.5), STRAIGHT[[0, 2, 1]]),
    "one slice": ((25, 21, 1), (1.7, 1.7, 5.0), STRAIGHT),
    "one slice on the networks' grid": ((25, 21, 1), (1.5, 1.5, 1.5), STRAIGHT),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_five_parts_are_equal(both: Both, tmp_path: Path, name: str) -> None:
    shape, spacing_mm, turn = VOLUMES[name]
    labels = both(save(tmp_path / "ct.nii.gz", made_up(shape), spacing_mm, turn), "total_v3")
    assert len(np.unique(labels)) > 10


def test_image_that_is_cut_in_three_is_equal(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batch_job.engines.totalsegmentator import ways

    monkeypatch.setattr(ways, "_with_second_try", lambda predict, parts, demands: predict(True))
    source = save(tmp_path / "ct.nii.gz", made_up((9, 8, 47)), (1.5, 1.6, 3.0))
    assert len(np.unique(both(source, "total_v3"))) > 10


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Something of the liver's intensity in air, which is what a region is cut to."""
    values = np.full((22, 20, 16), -1000, np.int16)
    values[5:17, 4:15, 3:13] = made_up((12, 11, 10)).clip(0)
    return save(tmp_path / "small.nii.gz", values, (3.1, 3.0, 2.9))


@pytest.mark.parametrize("task", ["kidney_cysts", "liver_vessels", "body"])
def test_task_of_one_network_is_equal(both: Both, small: Path, task: str) -> None:
    assert both(small, task).any()


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), (1.7, 1.6, 1.1)])
@pytest.mark.parametrize("task", ["vertebrae_pp", "vertebrae_pp_refined"])
def test_vertebrae_that_are_told_apart_and_grown_are_equal(
    both: Both, tmp_path: Path, task: str, spacing_mm: tuple[float, ...]
) -> None:
    source = save(tmp_path / "ct.nii.gz", made_up((26, 22, 20)), spacing_mm)
    assert both(source, task).any()


def test_what_lies_far_from_the_region_is_removed_equally(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_TOTALSEG_LICENSE", "aca_123456789ABCDE")
    values = made_up((40, 30, 26)).clip(-1000, 900)
    values[4:9, 5:10, 6:11] = 1900  # what the network for the region takes for a heart
    labels = both(save(tmp_path / "ct.nii.gz", values, (1.4, 1.5, 1.6)), "heartchambers_highres")
    assert labels.any()
    assert not labels[25:].any()


@pytest.mark.parametrize("options", [{"roi_subset": ["liver"]}, {"fast": True, "body_seg": True}], ids=str)
def test_option_is_equal(both: Both, small: Path, options: dict[str, Any]) -> None:
    assert both(small, **options).any()


def test_two_folds_on_an_mr_of_fractions_are_equal(both: Both, tmp_path: Path) -> None:
    values = ((made_up((16, 14, 9)) + 1000) / 7).astype(np.float32)
    assert both(save(tmp_path / "mr.nii.gz", values, (0.5, 0.45, 0.8)), "brain_aneurysm").any()


def test_mr_that_needs_no_resampling_is_equal(both: Both, mr: Path) -> None:
    assert both(mr, "total_mr", fast=True).any()


# -- resampling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(31, 29, 23), (1, 30, 17), (30, 17, 1), (2, 2, 2)])
@pytest.mark.parametrize("kind", [np.int16, np.float32, np.uint8])
def test_linear_is_zoom_with_what_is_behind_the_point_cut_off(shape: tuple[int, ...], kind: Any) -> None:
    values = np.asfortranarray((made_up(shape) * 1.37).astype(kind))
    for zoom in np.array([[0.7, 1.9, 2.3], [1.13, 1.0, 0.47], [1 / 3, 3.0, 1.0]]):
        wanted = ndimage.zoom(values.astype(np.float64), zoom, mode="nearest", order=1).astype(np.int32)
        np.testing.assert_array_equal(linear(values, zoom), wanted)


@pytest.mark.parametrize("shape", [(31, 29, 23), (1, 30, 17), (30, 17, 1), (2, 2, 2)])
def test_nearest_is_zoom_of_order_0(shape: tuple[int, ...]) -> None:
    labels = np.random.default_rng(3).integers(0, 118, shape).astype(np.uint8)
    for target in ((62, 58, 46), (63, 11, 1), (1, 90, 31), (200, 45, 99)):
        zoom = np.array(target) / np.array(shape)
        wanted = ndimage.zoom(labels.astype(np.float64), zoom, mode="nearest", order=0)
        np.testing.assert_array_equal(nearest(labels, target), wanted)


# -- the window -------------------------------------------------------------------------------------------


def test_logits_are_those_of_the_loop_of_nnunet_which_runs_on_a_gpu(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batch_job.engines.totalsegmentator import sliding
    from batch_job.engines.totalsegmentator.networks import Networks

    (model,) = sub_models("brain_aneurysm", canonical_options("totalsegmentator", "brain_aneurysm", {}))
    network = Networks().get(Weights(model, weights / model.name / model.configuration), CPU, 0.5)
    volume = torch.from_numpy(np.random.default_rng(5).standard_normal((1, 13, 37, 29)).astype(np.float32))
    told: list[float] = []
    ours = sliding.logits_of(network, volume, sliding.Sums(), told.append)
    monkeypatch.setattr(sliding, "_is_on_gpu", lambda predictor: True)
    told_by_nnunet: list[float] = []
    theirs = sliding.logits_of(network, volume, sliding.Sums(), told_by_nnunet.append)
    assert ours.dtype == torch.half
    assert torch.equal(ours, theirs)
    assert told == pytest.approx(told_by_nnunet)
    assert len(told) > 10
    assert told[-1] == 1


# -- the largest logit ------------------------------------------------------------------------------------


def test_largest_of_equal_logits_is_the_first_and_no_number_counts_as_largest() -> None:
    from batch_job.engines.totalsegmentator.sliding import largest

    logits = torch.from_numpy(np.random.default_rng(1).integers(-2, 3, (9, 5, 31, 17)).astype(np.float16))
    logits[3, 2, 0, 0] = -0.0
    np.testing.assert_array_equal(largest(logits), logits.numpy().argmax(0))
    logits[4, 1, 7, 7] = logits[6, 1, 7, 7] = torch.nan
    np.testing.assert_array_equal(largest(logits), logits.numpy().argmax(0))
    logits[7, 3, 2, 2] = torch.inf
    with pytest.raises(RuntimeError, match="16 bits"):
        largest(logits)


# -- networks that stay -----------------------------------------------------------------------------------


def test_networks_are_read_once_and_anew_when_their_files_are_others(
    weights: Path, segment: Segment, quarter: Path, tmp_path: Path
) -> None:
    from batch_job.engines.totalsegmentator.networks import Networks

    kept = Networks()
    (model,) = sub_models("total", canonical_options("totalsegmentator", "total", {"fast": True}))
    folder = tmp_path / model.name
    shutil.copytree(weights / model.name / model.configuration, folder)
    first = kept.get(Weights(model, folder), CPU, 0.8)
    assert kept.get(Weights(model, folder), CPU, 0.8) is first
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["network_weights"]["decoder.seg_layers.0.bias"][3] += 1
    torch.save(content, path)
    assert kept.get(Weights(model, folder), CPU, 0.8) is not first


def test_networks_beyond_their_share_of_memory_are_forgotten(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batch_job.engines.totalsegmentator import networks

    models = sub_models("total", canonical_options("totalsegmentator", "total", {}))
    found = [Weights(model, weights / model.name / model.configuration) for model in models]
    kept = networks.Networks()
    first = kept.get(found[0], CPU, 0.8)
    monkeypatch.setattr(networks, "memory", lambda: Memory(networks.SHARE_OF_MEMORY * 2 * first.bytes, None))
    for each in found[1:]:
        kept.get(each, CPU, 0.8)
    assert kept.get(found[-1], CPU, 0.8) is kept.get(found[-1], CPU, 0.8)
    assert kept.get(found[0], CPU, 0.8) is not first


def test_failure_inside_is_a_note_and_the_plain_way_is_taken(
    segment: Segment, fast: Run, torso: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batch_job.engines.totalsegmentator.volume import Volume

    def fail(*args: Any) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(Volume, "labels", fail)
    run = segment(torso, fast=True)
    np.testing.assert_array_equal(run.labels, fast.labels)
    assert any(
        "own way was taken: the way inside failed (ValueError)" in note for note in run.segmented.notes
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"resampling_order": 3}, "resampling_order is asked for"),
        ({"save_lowres": True}, "save_lowres is asked for"),
    ],
)
def test_what_is_not_done_inside_is_refused_with_its_name(arguments: dict[str, Any], why: str) -> None:
    from totalsegmentator import nnunet

    with pytest.raises(proven.NotCovered, match=why):
        proven.bound(nnunet.nnUNet_predict_image, "in", "out", 1, **arguments)


def test_resampling_on_the_gpu_is_not_done_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    from totalsegmentator import resampling

    monkeypatch.setattr(resampling, "cupy_available", True)
    monkeypatch.setattr(resampling, "cucim_available", True)
    proven.check_device("cpu")
    with pytest.raises(proven.NotCovered, match="cupy and cucim"):
        proven.check_device("gpu")
