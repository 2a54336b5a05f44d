"""nnU-Net's networks, read once and kept from one image to the next within the memory that is there.

A checkpoint is mapped into memory and not read: the network's parameters are parts of the file, its
optimiser's state is never touched, and no parameter is made up first only to be overwritten.
"""

import multiprocessing
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from nnunetv2.inference import predict_from_raw_data as nnunet
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from batch_job.cgroup import memory

from .plan import Weights

SHARE_OF_MEMORY: Final = 4
"""A quarter of the device's memory may be taken by networks that wait for their next image."""


@dataclass(frozen=True)
class Network:
    """A network, ready: nnU-Net's predictor for it, and the module of each fold."""

    predictor: Any
    folds: tuple[torch.nn.Module, ...]

    @property
    def bytes(self) -> int:
        """What its parameters take."""
        return sum(each.nbytes for fold in self.folds for each in fold.parameters())

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self.predictor.device
        return device


class Networks:
    """Those that were used last, as many as fit."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str, str, float], Network] = OrderedDict()

    def get(self, weights: Weights, device: torch.device, step_size: float) -> Network:
        """A network, from the files only where it is not kept or they are others than before.

        Parameters
        ----------
        step_size
            How far it moves on from one patch to the next, as a share of a patch.
        """
        key = (weights.folder, weights.digest, str(device), step_size)
        network = self._kept.pop(key, None) or _load(weights, device, step_size)
        self._kept[key] = network
        room = _room(device)
        while room is not None and len(self._kept) > 1 and self._bytes > room:
            self._kept.popitem(last=False)
        return network

    @property
    def _bytes(self) -> int:
        return sum(each.bytes for each in self._kept.values())

    def forget(self) -> None:
        """Let go of all: the memory is needed for an image."""
        self._kept.clear()


def prepare(device: torch.device) -> None:
    """Set what nnU-Net sets for all of torch before it runs a network."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(1)
    else:
        # The two numbers of which nnU-Net takes the smaller one.
        torch.set_num_threads(min(nnunet.default_num_processes, multiprocessing.cpu_count()))


def _load(weights: Weights, device: torch.device, step_size: float) -> Network:
    checkpoints = [_mapped(path) for path in weights.checkpoints]
    dataset = nnunet.load_json(str(weights.folder / "dataset.json"))
    plans = PlansManager(nnunet.load_json(str(weights.folder / "plans.json")))
    first = checkpoints[0]
    configuration = plans.get_configuration(first["init_args"]["configuration"])
    trainer = nnunet.recursive_find_python_class(
        nnunet.join(nnunet.nnunetv2.__path__[0], "training", "nnUNetTrainer"),
        first["trainer_name"],
        "nnunetv2.training.nnUNetTrainer",
    )
    heads = plans.get_label_manager(dataset).num_segmentation_heads
    channels = nnunet.determine_num_input_channels(plans, configuration, dataset)
    folds = tuple(
        _module(trainer, configuration, channels, heads, each["network_weights"]).to(device).eval()
        for each in checkpoints
    )
    predictor = nnunet.nnUNetPredictor(
        tile_step_size=step_size,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=True,
        device=device,
        allow_tqdm=False,
    )
    axes = first.get("inference_allowed_mirroring_axes")
    predictor.manual_initialization(
        folds[0], plans, configuration, None, dataset, first["trainer_name"], axes
    )
    return Network(predictor, folds)


def _mapped(path: Path) -> Mapping[str, Any]:
    """A checkpoint whose numbers stay in the file until they are used; one of an old format is read.

    It holds more than weights, as nnU-Net writes it: so it is read as nnU-Net reads it, and believed.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=False, mmap=True)  # nosec B614
    except RuntimeError:
        content = torch.load(path, map_location="cpu", weights_only=False)  # nosec B614
    return {name: content.get(name) for name in (
        "network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes"
    )}  # fmt: skip


def _module(
    trainer: Any, configuration: Any, channels: int, heads: int, parameters: Mapping[str, torch.Tensor]
) -> torch.nn.Module:
    def build() -> torch.nn.Module:
        module: torch.nn.Module = trainer.build_network_architecture(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            channels,
            heads,
            enable_deep_supervision=False,
        )
        return module

    with torch.device("meta"):
        module = build()
    module.load_state_dict(parameters, assign=True)
    if any(each.is_meta for each in (*module.parameters(), *module.buffers())):
        # It has something that is not in its checkpoint.
        module = build()
        module.load_state_dict(parameters)
    return module.requires_grad_(False)


def _room(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // SHARE_OF_MEMORY
    total = memory().total
    return None if total is None else total // SHARE_OF_MEMORY
