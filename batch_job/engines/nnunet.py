"""The engine `nnunet`: a model of one's own, trained with nnU-Net 2, through nnU-Net's own predictor.

The networks are loaded once by process. An image is read and labels are written by the model's own reader, so
that each axis is where it was in training.
"""

import contextlib
import io
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from batch_job.catalogue.trained_model import TrainedModel, read_model
from batch_job.cgroup import cores
from batch_job.contract import EngineInfo, EngineSettings, ModelError, recorded_facts
from batch_job.errors import BadInput, ComeBackLater, NotSetUp, WrongResult
from batch_job.image import Image, ImageSize
from batch_job.resources import check_memory

from . import Segmented, Work

FACTS: Final = recorded_facts("nnunet")
KEPT: Final = "labels.nii.gz"
READ: Final = 0.05
PREDICTED: Final = 0.9
"""How much of the whole is done when the networks begin, and when they have seen the last patch."""

BASE_BYTES: Final = 1_200_000_000
"""Python, torch and nnU-Net."""
BYTES_A_VOXEL: Final = 12
"""The image as it is read and as it is given to the networks, in 32 bits each, and its labels."""
BYTES_A_LOGIT: Final = 8
"""For each class and voxel: of the network's grid in 16 and in 32 bits, of the image's in 32."""
BYTES_A_PATCH_VOXEL: Final = 640
"""Five sets of 32 features in 32 bits: what a full-size network holds at once."""
GRID_TOLERANCE_MM: Final = 1e-2


class NnUnet:
    """The engine, for the model in the folder that `engine.model` names."""

    def __init__(self) -> None:
        self._model: TrainedModel | None = None
        self._loaded: tuple[str, bool, Any] | None = None

    @property
    def info(self) -> EngineInfo:
        """The installed version, the model's dataset and a digest of its weights."""
        weights = self._model.weights if self._model else ""
        return EngineInfo(name=FACTS.name, version=_installed_version(), weights=weights)

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        """Look whether nnU-Net and the model's weights are there; its `info` with them.

        Raises
        ------
        NotSetUp
        """
        _installed_version()
        settings = EngineSettings.from_environment()
        try:
            self._model = read_model(Path(settings.model))
        except ModelError as error:
            raise NotSetUp(f"engine.{error}") from None
        if not self._model.checkpoints:
            raise NotSetUp(
                f"engine.model: {settings.model} has no weights here; put fold_0/checkpoint_final.pth there"
            )
        return self.info

    def segment(self, work: Work) -> Segmented:
        """Segment one image with all folds that are there.

        Raises
        ------
        NotSetUp
            The package or the weights are missing.
        BadInput
            The image is too large for this machine or its GPU.
        ComeBackLater, MemoryError, OSError
        """
        self.check(work.task, work.options)
        model = self._model
        assert model is not None
        check_memory(_size(work.image, model), 0)
        work.on_progress(0.0, "loading")
        path, notes = work.checkpoints.get(KEPT), []
        if path is None:
            with contextlib.redirect_stdout(io.StringIO()):  # standard output is the job's own
                path = self._predicted(work, model)
            notes = _keep(work, path)
        labels = _on_the_grid(path, work.image)
        work.on_progress(1.0, "done")
        return Segmented(labels, model.labels, notes=tuple(notes), codes=model.codes)

    def _predicted(self, work: Work, model: TrainedModel) -> Path:
        """The label map's file, as the model's reader writes it."""
        predictor = self._predictor(model, mirroring=work.options["mirroring"])
        reader = predictor.plans_manager.image_reader_writer_class()
        try:
            values, geometry = reader.read_images([str(work.source)])
        except RuntimeError:  # ITK's, whose text names files
            raise BadInput("nnU-Net cannot read the image: its axes are not at right angles") from None
        work.on_progress(READ, "networks")
        predictor.on_share = lambda share: work.on_progress(READ + (PREDICTED - READ) * share, "networks")
        try:
            found = predictor.predict_single_npy_array(values, geometry)
        except RuntimeError as error:
            raise _meant(error) from None
        finally:
            predictor.on_share = _nobody
        written = work.scratch / KEPT
        reader.write_seg(found, str(written), geometry)
        return written

    def _predictor(self, model: TrainedModel, *, mirroring: bool) -> Any:
        """The networks, which stay loaded as long as the model's files are the same."""
        if self._loaded is None or self._loaded[:2] != (model.digest, mirroring):
            self._loaded = None  # the room comes first
            self._loaded = (model.digest, mirroring, _load(model, mirroring=mirroring))
        return self._loaded[2]


def _installed_version() -> str:
    try:
        return metadata.version(FACTS.package)
    except metadata.PackageNotFoundError:
        raise NotSetUp(f"{FACTS.package} is not installed here: pip install {FACTS.package}") from None


def _size(image: Image, model: TrainedModel) -> ImageSize:
    """What it takes at its peak, beyond the job itself."""
    zyx, spacing_mm = image.values.shape[::-1], image.spacing_mm[::-1]
    shape, spacing = [zyx[axis] for axis in model.axes], [spacing_mm[axis] for axis in model.axes]
    flat = len(shape) - len(model.spacing_mm)  # networks that see slices leave the first axis as it is
    targets = [*spacing[:flat], *model.spacing_mm]
    resampled = [max(1, round(n * mm / to)) for n, mm, to in zip(shape, spacing, targets, strict=True)]
    patch = math.prod(model.patch)
    seen = max(math.prod(resampled), patch) + image.values.size
    logits = BYTES_A_LOGIT * (len(model.labels) + 1) * seen
    of_image = image.values.nbytes + BYTES_A_VOXEL * image.values.size
    return ImageSize(image.values.size, BASE_BYTES + of_image + logits + BYTES_A_PATCH_VOXEL * patch)


def _load(model: TrainedModel, *, mirroring: bool) -> Any:
    os.environ.setdefault("nnUNet_def_n_proc", str(cores()))  # read when nnU-Net is imported
    import torch
    from nnunetv2.inference import predict_from_raw_data

    # One that feeds the network stays for ever when the network fails, and the process with it.
    predict_from_raw_data.Thread = partial(Thread, daemon=True)

    class Predictor(predict_from_raw_data.nnUNetPredictor):  # type: ignore[misc]
        """nnU-Net's own, which counts the patches that it has seen."""

        on_share: Callable[[float], None] = staticmethod(_nobody)
        _patches, _seen = 1, 0

        def predict_logits_from_preprocessed_data(self, data: Any) -> Any:
            self._seen = 0
            return super().predict_logits_from_preprocessed_data(data)

        def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> Any:
            slicers = super()._internal_get_sliding_window_slicers(image_size)
            self._patches = len(slicers) * len(self.list_of_parameters)
            return slicers

        def _internal_maybe_mirror_and_predict(self, x: Any) -> Any:
            found = super()._internal_maybe_mirror_and_predict(x)
            self._seen += 1
            self.on_share(min(1.0, self._seen / self._patches))
            return found

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = Predictor(use_mirroring=mirroring, device=device, allow_tqdm=False)
    folds = tuple(path.parent.name.removeprefix("fold_") for path in model.checkpoints)
    try:
        predictor.initialize_from_trained_model_folder(str(model.folder), folds)
    except Exception as error:
        if isinstance(error, OSError | MemoryError):
            raise
        raise NotSetUp(
            f"engine.model: nnU-Net {_installed_version()} cannot load its weights ({type(error).__name__});"
            " use the version that trained it, with its trainer's class"
        ) from error
    return predictor


def _nobody(share: float) -> None:
    """Is told of progress while nobody asks."""


def _meant(error: RuntimeError) -> Exception:
    """What a failure of the networks means, told apart as far as it can be."""
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return BadInput("the GPU's memory does not do for the model's patch; use a larger GPU")
    return MemoryError() if "can't allocate memory" in str(error) else error


def _on_the_grid(path: Path, image: Image) -> NDArray[np.uint8]:
    written: Any = nib.load(path)
    if written.shape != image.values.shape or not np.allclose(
        written.affine, image.affine, rtol=0, atol=GRID_TOLERANCE_MM
    ):
        raise WrongResult("nnU-Net gave a label map on another grid than the image's; convert the image anew")
    return np.asfortranarray(np.asanyarray(written.dataobj), np.uint8)


def _keep(work: Work, path: Path) -> list[str]:
    """Keep the labels for a next attempt; what there is to say where that failed."""
    try:
        work.checkpoints.put(KEPT, path)
    except (OSError, ComeBackLater):
        return ["the labels could not be kept for a next attempt"]
    return []
