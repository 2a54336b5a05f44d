"""Which structures the tiny networks find, by intensity, and what a task's networks give together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tiny_weights
from numpy.typing import NDArray
from totalsegmentator import map_to_binary as maps

from batch_job.contract import canonical_options
from batch_job.engines.totalsegmentator.plan import SubModel, sub_models

Bands = Mapping[str, float]

FAST_HU: Final[Bands] = {
    "background": -1000,
    "lung_upper_lobe_left": -700,
    "spleen": -100,
    "liver": 60,
    "vertebrae_L1": 400,
    "heart": 1900,
}
PARTS_HU: Final[Mapping[int, Bands]] = {
    291: {"background": -1000, "spleen": -100, "liver": 60},
    292: {"background": 0, "vertebrae_L1": 400},
    293: {"background": 0, "aorta": 1000},
    294: {"background": 0, "gluteus_maximus_left": -900},
    295: {"background": 0, "rib_left_1": -1000},
}
"""Each part of `total` knows some; where two find something the later one wins."""
REGION_HU: Final[Bands] = {"background": -1000, "liver": 60}
OWN_HU: Final[Bands] = {"background": -1000, "lung": -700, "adipose_tissue": -100, "muscle": 60, "bone": 400}
MR: Final[Bands] = {"background": 0, "liver": 300, "spleen": 600}
SEGMENTS: Final[Bands] = {"background": 0, "liver_segment_2": 400, "liver_segment_7": 700}

LOWEST: Final = -1024.0
HIGHEST: Final = 2000.0


def write_weights(root: Path) -> None:
    """Write every network that the tests use."""
    bands: dict[int, Bands] = {
        **PARTS_HU,
        297: FAST_HU,
        298: REGION_HU,
        300: {"background": -1000, "body_trunc": 0},
        852: MR,
        576: SEGMENTS,
    }
    for dataset, (model, task) in _models().items():
        if dataset in bands:
            labels = {name: value for value, name in _labels(dataset, task).items()}
            tiny_weights.write(root, model, labels, bands[dataset])


def nearest(values: NDArray[Any], bands: Bands) -> NDArray[np.str_]:
    """The name of the band that each value belongs to."""
    names = np.array(list(bands))
    distances = [np.abs(np.clip(values, LOWEST, HIGHEST) - middle) for middle in bands.values()]
    return names[np.argmin(distances, axis=0)]


def clear(values: NDArray[Any], bands: Bands, margin_hu: float = 15.0) -> NDArray[np.bool_]:
    """Where a value is further than this from the border of its band: the networks' logits are of 16 bits."""
    distances = np.sort(
        [np.abs(np.clip(values, LOWEST, HIGHEST) - middle) for middle in bands.values()], axis=0
    )
    return np.asarray(distances[1] - distances[0] > 2 * margin_hu)


def merged(values: NDArray[Any]) -> NDArray[np.str_]:
    """What the five parts of `total` give together."""
    together = np.full(values.shape, "background", dtype="U40")
    for bands in PARTS_HU.values():
        found = nearest(values, bands)
        together = np.where(found == "background", together, found)
    return together


def _models() -> dict[int, tuple[SubModel, str]]:
    """Every network of these tasks by its dataset, and the task whose class map it has."""
    wanted: list[tuple[str, dict[str, Any], str]] = [
        ("total", {}, "total"),
        ("total", {"fast": True}, "total"),
        ("total", {"body_seg": True}, "body"),
        ("total", {"roi_subset": ["liver"]}, "total"),
        ("total_mr", {"fast": True}, "total_mr"),
        ("liver_segments_mr", {}, "liver_segments_mr"),
    ]
    models: dict[int, tuple[SubModel, str]] = {}  # the first that names a dataset says whose labels it has
    for task, options, labelled in wanted:
        full = canonical_options("totalsegmentator", task, options)
        for model in sub_models(task, full):
            models.setdefault(model.dataset, (model, labelled))
    return models


def _labels(dataset: int, task: str) -> Mapping[int, str]:
    part = maps.map_taskid_to_partname_ct.get(dataset)
    return maps.class_map_5_parts[part] if part else maps.class_map[task]
