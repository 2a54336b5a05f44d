"""The engines: each turns an image into a label map. The catalogue says where each is loaded from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batch_job.contract import EngineInfo, StructureCodes, recorded_facts
from batch_job.errors import WrongResult
from batch_job.image import Image


class Checkpoints(Protocol):
    """Keeps what an attempt has finished for the next attempt at the same request and input."""

    def get(self, name: str) -> Path | None:
        """A file that an earlier attempt put, checked by its digest; None where there is none."""
        ...

    def put(self, name: str, path: Path) -> None:
        """Keep a copy of a file; it is durable on return.

        Raises
        ------
        OSError, ComeBackLater
        """
        ...


class NoCheckpoints:
    """Keeps nothing."""

    def get(self, name: str) -> Path | None:
        """None."""
        return None

    def put(self, name: str, path: Path) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Work:
    """What an engine has to do, and with what."""

    image: Image
    source: Path
    """The NIfTI that the image was read from."""
    task: str
    options: Mapping[str, Any]
    """With every default, as `contract.canonical_options` gives them."""
    scratch: Path
    """An empty folder of this run's own, which is removed afterwards."""
    checkpoints: Checkpoints
    on_progress: Callable[[float, str], None]
    """Told how far the engine's own work is, 0 to 1, and what it does."""


@dataclass(frozen=True)
class Segmented:
    """A label map on the grid of its image, and the name of every value that the task can give."""

    labels: NDArray[np.uint8]
    names: Mapping[int, str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By stage of the engine's own."""
    notes: tuple[str, ...] = ()
    """What a reader of the result should know, in sentences."""
    codes: Mapping[str, StructureCodes] = field(default_factory=dict)
    """Codes of structures by name, where the engine says them beside the catalogue."""


def check_segmented(segmented: Segmented, image: Image) -> None:
    """Refuse what is no label map of that image, whatever engine it is from.

    Raises
    ------
    WrongResult
    """
    labels = segmented.labels
    if labels.shape != image.values.shape or labels.dtype != np.uint8:
        raise WrongResult(
            f"the engine gave labels of {_sizes(labels.shape)} voxels ({labels.dtype}) for an image of"
            f" {_sizes(image.values.shape)}; they must be of 8 bits, on the image's own grid"
        )
    planes = np.moveaxis(labels, -1, 0)  # one at a time: counting takes eight bytes a voxel
    found = set().union(*(np.flatnonzero(np.bincount(plane.ravel())).tolist() for plane in planes))
    if nameless := sorted(found - {0} - set(segmented.names)):
        few = ", ".join(map(str, nameless[:5]))
        raise WrongResult(f"the engine gave labels without a name: {few}; every value needs one")


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


class Engine(Protocol):
    """Segments images.

    A process makes one object of each engine, which may keep what it likes from one image to the next; after
    an image at which it failed another one is made. `segment` is called by one thread at a time, `check`
    perhaps by another one meanwhile, for the next image.
    """

    @property
    def info(self) -> EngineInfo:
        """What it is; complete once something was segmented."""
        ...

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        """Look, without any work, whether all is there that a task with these options needs.

        Returns
        -------
        EngineInfo
            For the manifest: what it is, with the weights of that task.

        Raises
        ------
        NotSetUp
            Something is missing; the text says what, and how to get it.
        """
        ...

    def segment(self, work: Work) -> Segmented:
        """Segment one image.

        Raises
        ------
        BadInput
            The image does not suit the task, or is too large for this machine.
        NotSetUp
            Something that the engine needs is not installed.
        ComeBackLater, MemoryError, OSError
        """
        ...


def load_engine(name: str) -> Engine:
    """The engine of that name; the request was checked against the contract before."""
    module, _, attribute = recorded_facts(name).loader.partition(":")
    engine: Engine = getattr(import_module(module), attribute)()
    return engine
