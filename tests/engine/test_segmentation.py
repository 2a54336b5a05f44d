"""The real API on real images: structures where the tiny networks must find them, on the image's own grid."""

import multiprocessing
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bands import FAST_HU, MR, SEGMENTS, clear, merged, nearest
from conftest import Run, Segment
from numpy.typing import NDArray
from scipy import ndimage
from totalsegmentator import map_to_binary as maps

from batch_job.errors import BadInput


def values_of(run: Run, names: NDArray[np.str_]) -> NDArray[np.int_]:
    """The label values of these names."""
    value = {"background": 0, **run.values}
    found, index = np.unique(names, return_inverse=True)
    return np.array([value[str(name)] for name in found])[index.reshape(names.shape)]


def inside(labels: NDArray[np.int_]) -> NDArray[np.bool_]:
    """The voxels whose neighbours all belong to the same structure: resampling cannot change them."""
    return np.asarray(ndimage.maximum_filter(labels, 3) == ndimage.minimum_filter(labels, 3))


def test_fast_model_on_the_torso_gives_every_voxel_its_band(fast: Run) -> None:
    run = fast
    wanted = values_of(run, nearest(run.image, FAST_HU))
    assert run.labels.dtype == np.uint8
    same = run.labels == wanted  # the image is of 3 mm already
    assert same[clear(run.image, FAST_HU)].all()
    assert same.mean() > 0.99
    assert run.found == set(FAST_HU) - {"background"}
    assert run.segmented.names == maps.class_map["total"]
    assert run.engine.info.version == "2.18.0"
    assert run.engine.info.weights.startswith("297 ")


def test_five_parts_on_the_torso_are_merged_the_later_over_the_earlier(five_parts: Run) -> None:
    run = five_parts
    wanted = values_of(run, merged(run.image))
    same = run.labels == wanted
    assert same[inside(wanted)].mean() > 0.99
    assert same.mean() > 0.85  # to 1.5 mm and back
    assert run.found >= {"rib_left_1", "spleen", "liver", "vertebrae_L1", "aorta"}
    assert run.engine.info.weights.startswith("291 292 293 294 295 ")
    assert list(run.segmented.seconds) == [
        "import", "resample", "model 1", "model 2", "model 3", "model 4", "model 5", "export",
    ]  # fmt: skip


def test_fast_model_on_the_demo_study_comes_back_onto_its_fine_slices(segment: Segment, demo: Path) -> None:
    run = segment(demo, fast=True)
    wanted = values_of(run, nearest(run.image, FAST_HU))
    assert run.labels.shape == (256, 256, 20)
    deep = ndimage.maximum_filter(wanted, (7, 7, 5)) == ndimage.minimum_filter(wanted, (7, 7, 5))
    assert (run.labels == wanted)[deep].mean() > 0.98  # more than a voxel of 3 mm from every edge
    liver, air = run.labels == run.values["liver"], run.image < -900
    assert liver.sum() > 100_000
    assert not (liver & ndimage.binary_erosion(air, iterations=4)).any()


def test_image_with_axes_to_the_left_and_back_is_labelled_where_it_is(segment: Segment, mr: Path) -> None:
    run = segment(mr, "total_mr", fast=True)
    assert (run.labels == values_of(run, nearest(run.image, MR)))[clear(run.image, MR)].all()
    assert run.segmented.names == maps.class_map["total_mr"]


def test_cropped_task_labels_its_region_only_on_the_whole_grid(segment: Segment, mr: Path) -> None:
    run = segment(mr, "liver_segments_mr")
    assert run.labels.shape == run.image.shape
    region = np.argwhere(nearest(run.image, MR) == "liver")
    low, high = region.min(axis=0) - 4, region.max(axis=0) + 4  # 10 mm around it
    outside = run.labels.copy()
    outside[tuple(slice(max(0, start), stop + 1) for start, stop in zip(low, high, strict=True))] = 0
    assert not outside.any()
    wanted = values_of(run, nearest(run.image, SEGMENTS))
    there = inside(wanted) & (run.labels > 0)
    assert there.sum() > 10_000
    assert (run.labels == wanted)[there].mean() > 0.99
    assert run.engine.info.weights.startswith("852 576 ")


def test_oblique_image_is_labelled_as_the_straight_one_is(
    segment: Segment, fast: Run, torso: Path, tmp_path: Path
) -> None:
    source = nib.load(torso)
    turn = np.eye(4)
    turn[:3, :3] = [[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]
    oblique = tmp_path / "oblique.nii"
    nib.save(nib.Nifti1Image(np.asanyarray(source.dataobj), turn @ source.affine), oblique)
    np.testing.assert_array_equal(segment(oblique, fast=True).labels, fast.labels)


def test_scaled_image_is_labelled_by_its_scaled_values(segment: Segment, torso: Path, tmp_path: Path) -> None:
    source = nib.load(torso)
    header = source.header.copy()
    header.set_slope_inter(2, -1024)
    stored = np.round((np.asanyarray(source.dataobj) + 1024) / 2).astype(np.int16)
    scaled = nib.Nifti1Image(stored, source.affine, header)
    scaled.header.set_slope_inter(2, -1024)
    path = tmp_path / "scaled.nii"
    scaled.to_filename(path)
    if nib.load(path).dataobj.slope != 2:  # nibabel scales on its own when it writes
        content = bytearray(path.read_bytes())
        content[112:120] = np.array([2, -1024], "<f4").tobytes()
        path.write_bytes(content)
    run = segment(path, fast=True)
    assert run.image.min() < -900
    assert (run.labels == values_of(run, nearest(run.image, FAST_HU)))[clear(run.image, FAST_HU)].all()


# -- options ----------------------------------------------------------------------------------------------


def test_roi_subset_runs_the_parts_that_know_it_and_names_nothing_else(segment: Segment, torso: Path) -> None:
    run = segment(torso, roi_subset=["vertebrae_L1", "liver"])
    assert run.found == {"liver", "vertebrae_L1"}
    assert set(run.segmented.names.values()) == {"liver", "vertebrae_L1"}
    assert run.engine.info.weights.startswith("298 291 292 ")  # the rough one first
    assert [name.split("-")[1] for name in run.checkpoints.put_names] == ["298", "291", "292"]


def test_robust_crop_finds_the_region_with_the_finer_model(segment: Segment, torso: Path) -> None:
    run = segment(torso, roi_subset=["liver"], robust_crop=True)
    assert run.engine.info.weights.startswith("297 291 ")
    assert run.found == {"liver"}


def test_body_seg_crops_to_the_body_first(segment: Segment, torso: Path) -> None:
    run = segment(torso, fast=True, body_seg=True)
    assert run.engine.info.weights.startswith("300 297 ")
    assert {"liver", "vertebrae_L1"} <= run.found


def test_region_that_is_not_there_gives_an_empty_map_and_a_note(
    segment: Segment, torso: Path, tmp_path: Path
) -> None:
    source = nib.load(torso)
    air = tmp_path / "air.nii.gz"
    nib.save(nib.Nifti1Image(np.full(source.shape, -1000, np.int16), source.affine), air)
    run = segment(air, roi_subset=["liver"])
    assert not run.labels.any()
    assert run.labels.dtype == np.uint8
    assert any("region" in note for note in run.segmented.notes)


# -- progress, scratch, memory ----------------------------------------------------------------------------


def test_progress_grows_with_the_patches_of_each_model(five_parts: Run) -> None:
    told = five_parts.told
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    for number in range(1, 6):
        assert len({share for share, what in told if what == f"model {number} of 5"}) > 3
    assert max(np.diff(shares)) < 0.2


def test_scratch_keeps_nothing_of_the_image_and_no_process_is_left(
    segment: Segment, torso: Path, tmp_path: Path
) -> None:
    segment(torso, fast=True)
    assert list((tmp_path / "scratch-0").rglob("*.gz")) == []
    assert multiprocessing.active_children() == []


def test_gpu_without_memory_is_tried_once_more_in_three_parts(
    segment: Segment, tall_torso: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = segment(tall_torso, fast=True)
    calls = fail_for_memory(monkeypatch, times=1)
    for kept in whole.checkpoints.folder.iterdir():
        kept.unlink()
    run = segment(tall_torso, fast=True)
    assert calls == ["s01", "s01", "s02", "s03"]
    assert (run.labels == whole.labels).mean() > 0.99
    assert any("cut in three" in note for note in run.segmented.notes)


def test_gpu_without_memory_for_parts_either_ends_with_the_sizes(
    segment: Segment, tall_torso: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fail_for_memory(monkeypatch, times=2)
    with pytest.raises(BadInput, match=r"61 x 51 x 90 voxels.*three parts"):
        segment(tall_torso, fast=True)
    assert calls == ["s01", "s01"]


@pytest.mark.parametrize(
    "said",
    [
        "Background workers died. Look for the error message further up!",
        "Segmentation export worker died. It was likely killed by your OS",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    ],
)
def test_machine_without_memory_is_no_fault_of_the_image(
    segment: Segment, tall_torso: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    calls = fail_for_memory(monkeypatch, times=1, error=RuntimeError(said))
    with pytest.raises(MemoryError):
        segment(tall_torso, fast=True)
    assert calls == ["s01"]


def fail_for_memory(
    monkeypatch: pytest.MonkeyPatch, times: int, error: RuntimeError | None = None
) -> list[str]:
    """Let the network's first runs find no memory, on the GPU or as said; the images that it was given."""
    from batch_job.engines.totalsegmentator.volume import Volume  # late: it reads where the weights lie

    usual, calls = Volume.labels, []

    def labels(volume: Volume, *args: Any) -> Any:
        calls.append(volume.name)
        if len(calls) <= times:
            raise error or torch.cuda.OutOfMemoryError("CUDA out of memory")
        return usual(volume, *args)

    monkeypatch.setattr(Volume, "labels", labels)
    return calls
