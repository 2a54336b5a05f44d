"""The engine `totalsegmentator`: TotalSegmentator 2.18 or newer through its Python API.

Weights and licence are looked at first, then what the work needs of this machine; only then torch is loaded.
Nothing is downloaded, and nothing is told to the maker.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from batch_job.cgroup import cores
from batch_job.contract import EngineInfo, task_facts
from batch_job.engines import Segmented, Work
from batch_job.errors import NotSetUp
from batch_job.image import Image

from .demands import Demands, check_room, on_cpu
from .parts import Parts, StageClock
from .plan import Weights, find_weights, sub_models, weights_name
from .surroundings import check_licence, forbid_downloads, surroundings, weights_folder

if TYPE_CHECKING:
    from .networks import Networks

NAME: Final = "totalsegmentator"
PACKAGE: Final = "TotalSegmentator"
GRID_TOLERANCE_MM: Final = 1e-3


class TotalSegmentator:
    """The engine, for all tasks that `batch_job/catalogue/totalsegmentator.json` names."""

    def __init__(self) -> None:
        self._running: tuple[Weights, ...] = ()

    @property
    def info(self) -> EngineInfo:
        """The installed version, and the networks that are run: datasets and a digest of the weights."""
        return _info(self._running)

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        """Look whether package, licence and weights are there for a task; its `info` with them.

        Raises
        ------
        NotSetUp
            Something is missing; the text says what, and how to get it.
        """
        return _info(_networks(task, options))

    def segment(self, work: Work) -> Segmented:
        """Segment one image.

        Raises
        ------
        NotSetUp
            The package, weights or a licence are missing.
        BadInput
            The image is too large for this machine.
        ComeBackLater, MemoryError, OSError
        """
        clock = StageClock()
        running = self._running = _networks(work.task, work.options)
        demands = Demands.of(work.image, running)
        check_room(demands, work.scratch)
        with surroundings(work.scratch, cores()):
            return self._segment(work, running, demands, clock)

    def plain(self, work: Work) -> NDArray[np.uint8]:
        """The labels by TotalSegmentator's own function as it is, with its files and processes.

        Raises
        ------
        NotSetUp
            The package, weights or a licence are missing.
        """
        _networks(work.task, work.options)
        with surroundings(work.scratch, cores()):
            device = _device(work.task)
            forbid_downloads()
            return _labels(_call(work, device, split=False), work.image)

    @cached_property
    def _kept(self) -> "Networks":
        """Kept from one image to the next."""
        from .networks import Networks  # late: torch comes after the surroundings

        return Networks()

    def _segment(
        self, work: Work, weights: Sequence[Weights], demands: Demands, clock: StageClock
    ) -> Segmented:
        work.on_progress(0.0, "loading")
        from totalsegmentator import map_to_binary, nnunet, python_api  # noqa: F401  (for the time they take)

        from .ways import inside_or_plain

        forbid_downloads()
        notes = []
        device = _device(work.task)
        if device == "cpu":
            notes.append(on_cpu(demands, cores()))
            sys.stderr.write(f"{notes[0]}\n")
        clock.end("import")
        parts = Parts(work, weights, clock)

        def request(split: bool) -> Any:
            return _call(work, device, split=split)

        result = inside_or_plain(request, work, parts, self._kept, demands, device)
        labels = _labels(result, work.image)
        clock.end("export")
        work.on_progress(1.0, "done")
        names = {int(value): str(name) for value, name in map_to_binary.class_map[work.task].items()}
        if work.options["roi_subset"]:
            names = {value: name for value, name in names.items() if name in work.options["roi_subset"]}
        return Segmented(labels, names, clock.rounded(), (*notes, *parts.notes))


def _networks(task: str, options: Mapping[str, Any]) -> tuple[Weights, ...]:
    """The networks that a task runs, once package, licence and weights are there."""
    _installed_version()
    if task_facts(NAME, task).is_licensed:
        check_licence(task)
    weights = find_weights(task, sub_models(task, options), weights_folder())
    return tuple(each for each in weights if each.model.is_run)


def _info(running: Sequence[Weights]) -> EngineInfo:
    return EngineInfo(name=NAME, version=_installed_version(), weights=weights_name(running))


def _installed_version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        raise NotSetUp(f"{PACKAGE} is not installed here: pip install {PACKAGE}") from None


def _device(task: str) -> str:
    """The GPU where there is one, as TotalSegmentator calls it.

    Raises
    ------
    NotSetUp
        Version 2.18 loses the name of the CPU on the way to the other task that a task crops by.
    """
    import torch
    from totalsegmentator import python_api
    from totalsegmentator.map_tasks_config import TASK_CONFIGS

    if torch.cuda.is_available():
        return "gpu"
    if TASK_CONFIGS[task].get("crop_model") and python_api.convert_device_to_string("cpu") != "cpu":
        raise NotSetUp(f"the task {task} needs a GPU: {PACKAGE} {_installed_version()} cannot do it without")
    return "cpu"


def _call(work: Work, device: str, *, split: bool) -> Any:
    from totalsegmentator import python_api

    names = ("fast", "fastest", "robust_crop", "body_seg")
    try:
        return python_api.totalsegmentator(
            _input(work),
            # Nothing is written there; but without it version 2.18 goes on with the whole image where the
            # region that it crops to is empty, instead of ending with an empty label map.
            work.scratch / "labels.nii.gz",
            task=work.task,
            roi_subset=work.options["roi_subset"] or None,
            **{name: work.options[name] for name in names},
            ml=True,
            device=device,
            quiet=True,
            skip_saving=True,
            force_split=split,
            # One process writes the one label map: more would each load torch and then wait.
            nr_thr_saving=1,
        )
    except SystemExit:
        raise RuntimeError(f"{PACKAGE} ended instead of saying what is wrong") from None


def _input(work: Work) -> Any:
    """The image as it was read already, unless its values were scaled: then TotalSegmentator reads it anew.

    It scales in 64 bits and cuts off what stands behind the point; `Image` scales in 32.
    """
    source: Any = nib.load(work.source)
    if (source.dataobj.slope, source.dataobj.inter) != (1, 0):
        return source
    return nib.Nifti1Image(work.image.values, source.affine, source.header)


def _labels(result: Any, image: Image) -> NDArray[np.uint8]:
    """The label map, which must lie on the image's own grid."""
    if result.shape != image.values.shape or not np.allclose(
        result.affine, image.affine, rtol=0, atol=GRID_TOLERANCE_MM
    ):
        raise RuntimeError("TotalSegmentator gave a label map on another grid than the image's")
    labels = np.asanyarray(result.dataobj)
    if labels.dtype != np.uint8:
        raise RuntimeError("TotalSegmentator gave a label map that is not of 8 bits")
    return np.asfortranarray(labels)
