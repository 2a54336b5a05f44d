"""The way inside: what TotalSegmentator does with an image, in this process and in memory.

TotalSegmentator calls `totalsegmentator.nnunet.nnUNet_predict_image` for the image, and once before for each
region that a task looks for first. That function is taken the place of: no files between its steps, no other
processes, an image resampled once for all networks, networks that stay. Its own functions do what is left.
"""

import contextlib
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from totalsegmentator import map_to_binary as maps
from totalsegmentator import nnunet, postprocessing

from .grid import Grid, to_grid
from .networks import Networks, prepare
from .parts import Parts, digest
from .plan import Weights
from .proven import NotCovered, bound
from .sliding import Sums
from .volume import Volume, spacing_of, written_zooms

SPLIT_VOXELS: Final = 512 * 512 * 900
SPLIT_SLICES: Final = 200
"""TotalSegmentator cuts larger and taller images than these in three for tasks of several networks."""
MARGIN_SLICES: Final = 20
"""By how many slices the thirds reach into each other."""
SMALLEST_LIMB_MM3: Final = 50000
REFINED_BY_MM: Final = 2
"""How far `vertebrae_pp_refined` lets labels grow before it cuts them to the vertebrae's bodies."""
CLOSELY: Final = frozenset({"total", "total_v3", "total_mr"})
"""Tasks whose networks move on by 0.8 of a patch; those of others by half of one."""

Call = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """What the file of a network's labels says of their grid, where TotalSegmentator reads one."""

    affine: NDArray[np.float64]
    zooms_mm: tuple[float, ...]
    """(x, y, z), in 32 bits: what is grown by millimetres hangs on the last of them."""


class _LabelImage(nib.Nifti1Image):
    """Labels whose voxels TotalSegmentator gets as they are, where it asks for eight bytes of each."""

    def get_fdata(self, *args: Any, **kwargs: Any) -> Any:
        """The labels."""
        return self.dataobj


_as_image: Final[Callable[..., Any]] = _LabelImage


class Inside:
    """Does one request's images.

    Parameters
    ----------
    scratch
        An empty folder of its own.
    """

    def __init__(self, parts: Parts, networks: Networks, scratch: Path) -> None:
        self._parts = parts
        self._networks = networks
        self._scratch = scratch
        self._sums = Sums()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Take the place of TotalSegmentator's function for one pass."""
        original = nnunet.nnUNet_predict_image

        def instead(*args: Any, **kwargs: Any) -> tuple[Any, Any, None]:
            return self._predict_image(bound(original, *args, **kwargs))

        nnunet.nnUNet_predict_image = instead
        self._parts.begin()
        try:
            yield
        finally:
            nnunet.nnUNet_predict_image = original
        self._parts.end()

    def _predict_image(self, call: Call) -> tuple[Any, Any, None]:
        original = call["file_in"]
        region = None if call["crop"] is None else np.asanyarray(call["crop"].dataobj)
        if region is not None and not region.any() and call["file_out"] is not None:
            return _image(np.zeros(original.shape, np.uint8), original), original, None
        grid = to_grid(original, region, call["crop_addon"], call["resample"])
        labels = grid.back(_improved(*self._labels(grid, call), call["task_name"]))
        return _image(_finished(labels, original, call), original), original, None

    # -- networks -----------------------------------------------------------------------------------------

    def _labels(self, grid: Grid, call: Call) -> tuple[NDArray[np.uint8], Said]:
        """What the task's networks find together, (x, y, z) on their grid, and what its file says of that."""
        volumes = self._volumes(grid, call)
        self._parts.clock.end("resample")
        whole = [np.zeros(volume.values.shape, np.uint8) for volume in volumes]
        for dataset, values in _networks_of(call):
            found = self._part(dataset, volumes, call)
            for together, labels in zip(whole, found, strict=True):
                mapped = labels if values is None else np.take(values, labels)
                np.copyto(together, mapped, where=mapped != 0)
        # The file of a single network's labels is nnU-Net's own, others are written by TotalSegmentator.
        is_nnunets = len(volumes) == 1 and not isinstance(call["task_id"], list)
        zooms_mm = (
            written_zooms(grid.affine, grid.values.shape, self._scratch) if is_nnunets else grid.zooms_mm
        )
        return _joined(whole).T, Said(grid.affine, zooms_mm)

    def _volumes(self, grid: Grid, call: Call) -> list[Volume]:
        values = np.ascontiguousarray(grid.values.T, np.float32)
        spacing_mm = spacing_of(grid.affine, grid.values.shape, self._scratch)
        is_large = values.size > SPLIT_VOXELS and len(values) > SPLIT_SLICES
        if not (call["force_split"] or (is_large and isinstance(call["task_id"], list))):
            return [Volume("s01", values, spacing_mm)]
        return [
            Volume(f"s0{number}", values[begin:end], spacing_mm)
            for number, (begin, end) in enumerate(_thirds(len(values)), start=1)
        ]

    def _part(self, dataset: int, volumes: Sequence[Volume], call: Call) -> list[NDArray[np.uint8]]:
        """What one network finds in each volume, (z, y, x)."""
        weights = self._parts.weights(dataset)
        if weights is None or not weights.folder.name.endswith(f"__{call['model']}"):
            raise NotCovered("a network that was not planned is asked for")
        step_size = 0.8 if call["task_name"] in CLOSELY else 0.5
        names = [_name(weights, volume, step_size) for volume in volumes]
        kept = self._parts.take(names)
        if kept is None:
            found = self._run(weights, volumes, torch.device(call["device"]), step_size)
            self._keep(names, found)
        else:
            found = [_read(path) for path in kept]
        self._parts.end_one()
        return found

    def _run(
        self, weights: Weights, volumes: Sequence[Volume], device: torch.device, step_size: float
    ) -> list[NDArray[np.uint8]]:
        prepare(device)
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net talks
            network = self._networks.get(weights, device, step_size)
            found = []
            for number, volume in enumerate(volumes):

                def on_share(share: float, before: int = number) -> None:
                    self._parts.tell_patches((before + share) / len(volumes))

                found.append(volume.labels(network, self._sums, on_share))
        return found

    def _keep(self, names: Sequence[str], found: Sequence[NDArray[np.uint8]]) -> None:
        files = {}
        for number, (name, labels) in enumerate(zip(names, found, strict=True)):
            files[name] = self._scratch / f"part-{number}.npy.gz"
            with gzip.open(files[name], "wb", compresslevel=1) as stream:
                np.save(stream, labels)
        self._parts.keep(files)
        for path in files.values():
            path.unlink()


def _networks_of(call: Call) -> list[tuple[int, NDArray[np.uint8] | None]]:
    """The datasets of the networks that are run, and the task's value for each of a network's own."""
    if not isinstance(call["task_id"], list):
        return [(call["task_id"], None)]
    parts, names = {
        "total": (maps.class_map_5_parts, maps.map_taskid_to_partname_ct),
        "total_v3": (maps.class_map_5_parts_total_v3, maps.map_taskid_to_partname_ct_v3),
        "total_mr": (maps.class_map_parts_mr, maps.map_taskid_to_partname_mr),
        "headneck_muscles": (
            maps.class_map_parts_headneck_muscles,
            maps.map_taskid_to_partname_headneck_muscles,
        ),
    }[call["task_name"]]
    values = {name: value for value, name in maps.class_map[call["task_name"]].items()}
    datasets = call["task_id"]
    if call["roi_subset"] is not None:
        wanted = set(call["roi_subset"])
        datasets_by_name = {name: dataset for dataset, name in names.items()}
        datasets = [datasets_by_name[name] for name, part in parts.items() if wanted & set(part.values())]
    return [(dataset, _table(parts[names[dataset]], values)) for dataset in datasets]


def _table(part: Mapping[int, str], values: Mapping[str, int]) -> NDArray[np.uint8]:
    """A network's values to the task's; what it knows beyond those is nothing."""
    table = np.zeros(256, np.uint8)
    for value, name in part.items():
        table[value] = values[name]
    return table


def _thirds(slices: int) -> list[tuple[int, int]]:
    third = slices // 3
    return [
        (0, third + MARGIN_SLICES),
        (third + 1 - MARGIN_SLICES, 2 * third + MARGIN_SLICES),
        (2 * third + 1 - MARGIN_SLICES, slices),
    ]


def _joined(labels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The thirds together again, without their margins."""
    if len(labels) == 1:
        return labels[0]
    first, second, third = labels
    return np.concatenate(
        [first[:-MARGIN_SLICES], second[MARGIN_SLICES - 1 : -MARGIN_SLICES], third[MARGIN_SLICES - 1 :]]
    )


# -- what follows the networks ----------------------------------------------------------------------------


def _improved(labels: NDArray[np.uint8], said: Said, task: str) -> NDArray[np.uint8]:
    """What TotalSegmentator improves on the networks' grid, by its own functions."""
    image = postprocessing.remove_auxiliary_labels(_as_image(labels, said.affine), task)
    labels = np.asanyarray(image.dataobj)
    names = maps.class_map[task]
    if task == "body":
        labels = postprocessing.keep_largest_blob_multilabel(labels, names, ["body_trunc"], quiet=True)
        voxels = [SMALLEST_LIMB_MM3 / np.prod(said.zooms_mm), 1e10]
        labels = postprocessing.remove_small_blobs_multilabel(
            labels, names, ["body_extremities"], interval=voxels, quiet=True
        )
    elif task == "vertebrae_pp":
        labels = postprocessing.postprocess_vertebrae_pp(
            labels, names, voxel_volume=np.prod(said.zooms_mm), voxel_spacing=said.zooms_mm
        )
    return labels.astype(np.uint8, copy=False)


def _finished(labels: NDArray[np.uint8], original: Any, call: Call) -> NDArray[np.uint8]:
    """What it does on the image's own grid, by its own functions."""
    names, zooms_mm = maps.class_map[call["output_task_name"]], original.header.get_zooms()
    if call["save_binary"]:
        labels = (labels > 0).astype(np.uint8)
    if call["vertebrae_body_mask"] is not None:
        bodies = np.asanyarray(call["vertebrae_body_mask"].dataobj)
        labels = postprocessing.refine_vertebrae_pp_with_body_mask(
            labels, bodies, names, voxel_spacing=zooms_mm, dilation_mm=REFINED_BY_MM
        )
    if call["roi_subset"] is not None:
        kept = [value for value, name in names.items() if name in call["roi_subset"]]
        labels = labels * np.isin(labels, kept)
    if call["remove_outside_dilation"] is not None:
        labels = postprocessing.remove_outside_of_mask(
            labels,
            np.asanyarray(call["remove_outside_mask"].dataobj),
            addon=int(call["remove_outside_dilation"] / np.mean(zooms_mm)),
        )
    return labels


def _image(labels: NDArray[np.uint8], original: Any) -> Any:
    header = original.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    return _as_image(labels, original.affine, header)


# -- checkpoints ------------------------------------------------------------------------------------------


def _name(weights: Weights, volume: Volume, step_size: float) -> str:
    facts = {"weights": weights.digest, "input": volume.digest, "step_size": step_size}
    return f"inside-{weights.model.dataset}-{volume.name}-{digest(facts)}.npy.gz"


def _read(path: Path) -> NDArray[np.uint8]:
    with gzip.open(path) as stream:
        labels: NDArray[np.uint8] = np.load(io.BytesIO(stream.read()))
    return labels
