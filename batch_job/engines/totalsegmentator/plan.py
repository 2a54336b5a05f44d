"""Which networks a task runs, in order, and whether their weights and a licence are there.

TotalSegmentator decides this inside `python_api.totalsegmentator`; its tables (`map_tasks_config`,
`map_to_binary`) are read here before any work is done, and without importing torch.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from batch_job.catalogue.trained_model import checkpoint_digest
from batch_job.errors import NotSetUp

PLANS: Final = "nnUNetPlans"
CHECKPOINT: Final = "checkpoint_final.pth"
ROUGH_TRAINER: Final = "nnUNetTrainer_4000epochs_NoMirroring"
ROUGH_TRAINER_MR: Final = "nnUNetTrainer_2000epochs_NoMirroring"


@dataclass(frozen=True)
class SubModel:
    """One network, as nnU-Net keeps it: `{name}/{configuration}/fold_{n}/checkpoint_final.pth`."""

    dataset: int
    name: str
    """The folder of its dataset, such as `Dataset297_TotalSegmentator_total_3mm_1559subj`."""
    configuration: str
    folds: tuple[int, ...]
    """Empty: all that are there."""
    spacing_mm: tuple[float, float, float] | None
    """What TotalSegmentator resamples its input to; None: it stays as it is."""
    is_cropped: bool = False
    """Whether it is only given the region that one before it has found."""
    is_run: bool = True
    """Whether this request needs it; TotalSegmentator wants all of a task's weights to be there."""


@dataclass(frozen=True)
class Weights:
    """A network's folder on this machine."""

    model: SubModel
    folder: Path

    @property
    def is_there(self) -> bool:
        """Whether all that nnU-Net reads is there."""
        needed = [self.folder / name for name in ("plans.json", "dataset.json")]
        return bool(self.checkpoints) and all(path.is_file() for path in [*needed, *self.checkpoints])

    @property
    def checkpoints(self) -> list[Path]:
        """The file of each fold."""
        folds = [self.folder / f"fold_{fold}" for fold in self.model.folds]
        return [fold / CHECKPOINT for fold in folds or sorted(self.folder.glob("fold_[0-9]*"))]

    @property
    def folds(self) -> int:
        """How many networks are averaged."""
        return len(self.checkpoints)

    @cached_property
    def classes(self) -> int:
        """How many values it can give, with the background."""
        return len(json.loads((self.folder / "dataset.json").read_bytes())["labels"])

    @cached_property
    def patch(self) -> tuple[int, ...]:
        """The size of one sliding-window patch, in voxels (z, y, x)."""
        plans = json.loads((self.folder / "plans.json").read_bytes())
        return tuple(plans["configurations"][self.model.configuration.split("__")[-1]]["patch_size"])

    @cached_property
    def digest(self) -> str:
        """Tells weights apart: SHA-256 of what the archives say of their parts (CRC-32, size)."""
        digest = hashlib.sha256(self.model.name.encode())
        for path in self.checkpoints:
            digest.update(checkpoint_digest(path))
        return digest.hexdigest()


def sub_models(task: str, options: Mapping[str, Any]) -> tuple[SubModel, ...]:
    """The networks that a task's weights are, those that are run in the order in which they are.

    Parameters
    ----------
    options
        With every default, as `contract.canonical_options` gives them.
    """
    config = _config(task, options)
    names = list(options["roi_subset"])
    first: tuple[SubModel, ...] = ()
    if config["crop_model"]:
        first = sub_models(config["crop_model"], NO_OPTIONS)
    elif config["crop"] or names or config["cascade"]:
        first = (_cropping(task, config),)
    elif options["body_seg"]:
        first = (_rough(300, "nnUNetTrainer", 6.0),)
    is_cropped = bool(first)
    if task == "vertebrae_pp_refined":
        first += (_sub_model(305, "nnUNetTrainer_DASegOrd0", "3d_fullres", [0], 1.5),)
    ids = config["task_id"] if isinstance(config["task_id"], list) else [config["task_id"]]
    running = _parts_with(task, names) & set(ids) if names and len(ids) > 1 else set(ids)
    main = (
        _sub_model(
            dataset,
            config["trainer"],
            config["model"],
            config["folds"],
            config["resample"],
            is_cropped=is_cropped,
            is_run=dataset in running,
        )
        for dataset in ids
    )
    return (*first, *main)


NO_OPTIONS: Final[Mapping[str, Any]] = {
    "fast": False, "fastest": False, "robust_crop": False, "body_seg": False, "roi_subset": []
}  # fmt: skip


def _config(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What `python_api.get_task_config` gives; a task's own `robust_crop` wins over the request's."""
    from totalsegmentator.map_tasks_config import DEFAULT_CONFIG, TASK_CONFIGS

    raw = TASK_CONFIGS[task]
    modes = raw.get("sub_modes", {})
    mode = next((name for name in ("fast", "fastest") if options[name]), "default")
    return {**DEFAULT_CONFIG, "robust_crop": options["robust_crop"], **raw, **modes.get(mode, {})}


def _cropping(task: str, config: Mapping[str, Any]) -> SubModel:
    crop = config["crop"] or ()
    if "body_trunc" in crop or "body_extremities" in crop:
        return _rough(300, "nnUNetTrainer", 6.0)
    if task.endswith("_mr"):
        return _rough(852, ROUGH_TRAINER_MR, 3.0)
    return _rough(297, ROUGH_TRAINER, 3.0) if config["robust_crop"] else _rough(298, ROUGH_TRAINER, 6.0)


def _rough(dataset: int, trainer: str, spacing_mm: float) -> SubModel:
    return _sub_model(dataset, trainer, "3d_fullres", [0], spacing_mm)


def _sub_model(
    dataset: int,
    trainer: str,
    model: str,
    folds: Sequence[int] | None,
    spacing_mm: float | Sequence[float] | None,
    *,
    is_cropped: bool = False,
    is_run: bool = True,
) -> SubModel:
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    if spacing_mm is None:
        spacing = None
    else:
        x, y, z = [spacing_mm] * 3 if isinstance(spacing_mm, float) else spacing_mm
        spacing = (float(x), float(y), float(z))
    name = str(TASK_ID_WEIGHTS_CONFIGS[dataset]["foldername"])
    configuration = f"{trainer}__{PLANS}__{model}"
    return SubModel(dataset, name, configuration, tuple(folds or ()), spacing, is_cropped, is_run)


def _parts_with(task: str, names: Iterable[str]) -> set[int]:
    """The parts of a task of several networks that know one of these structures."""
    from totalsegmentator import map_to_binary as maps

    parts, ids = {
        "total": (maps.class_map_5_parts, maps.map_taskid_to_partname_ct),
        "total_v3": (maps.class_map_5_parts_total_v3, maps.map_taskid_to_partname_ct_v3),
        "total_mr": (maps.class_map_parts_mr, maps.map_taskid_to_partname_mr),
    }[task]
    return {dataset for dataset, part in ids.items() if set(names) & set(parts.get(part, {}).values())}


def find_weights(task: str, models: Sequence[SubModel], folder: Path) -> tuple[Weights, ...]:
    """Find the weights of these networks.

    Raises
    ------
    NotSetUp
        Some are missing; the text names the task, the folders and the command that gets them.
    """
    found = tuple(Weights(model, folder / model.name / model.configuration) for model in models)
    missing = [weights.model for weights in found if not weights.is_there]
    if missing:
        names = ", ".join(dict.fromkeys(model.name for model in missing))
        commands = " && ".join(f"totalseg_download_weights -t {name}" for name in _downloads(missing))
        raise NotSetUp(
            f"the task {task} needs weights that are not in the weights folder "
            f"(TOTALSEG_WEIGHTS_PATH): {names}; get them with: {commands}"
        )
    return found


def _downloads(models: Iterable[SubModel]) -> list[str]:
    """The names under which TotalSegmentator's own command downloads these, as few as will do."""
    from totalsegmentator.bin.totalseg_download_weights import TASK_TO_ID

    wanted, names = {model.dataset for model in models}, []
    while wanted:
        best = max(TASK_TO_ID, key=lambda name: (len(wanted & set(TASK_TO_ID[name])), -len(TASK_TO_ID[name])))
        if not wanted & set(TASK_TO_ID[best]):
            break
        names.append(best)
        wanted -= set(TASK_TO_ID[best])
    return names or ["all"]


def weights_name(weights: Iterable[Weights]) -> str:
    """Name what was run: the datasets' numbers and a digest of their weights; fit for a DICOM header."""
    used = list(dict.fromkeys(weights))
    if not used:
        return ""
    digest = hashlib.sha256("".join(each.digest for each in used).encode()).hexdigest()[:12]
    return " ".join([*(str(each.model.dataset) for each in used), digest])
