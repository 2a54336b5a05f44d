"""The engines: each turns an image into a label map. One module each, loaded when it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batch_job.contract import EngineInfo
from batch_job.image import Image


class Checkpoints(Protocol):
    """Finished parts of the work, which outlive an interruption."""

    def get(self, name: str) -> Path | None:
        """A part that an earlier attempt at the same work finished, with the bytes it had then; read only."""
        ...

    def put(self, name: str, path: Path) -> None:
        """Keep a finished part; it is durable on return.

        Raises
        ------
        OSError, ComeBackLater
        """
        ...


@dataclass(frozen=True)
class Work:
    """What an engine is given."""

    image: Image
    source: Path
    """The NIfTI that the image was read from; never changed."""
    task: str
    options: Mapping[str, Any]
    """Every option of the engine, checked against the contract."""
    scratch: Path
    """An empty folder; it goes when the run ends."""
    checkpoints: Checkpoints
    on_progress: Callable[[float, str], None]
    """Told 0 to 1 of the engine's own work and what is done now; returns at once."""


@dataclass(frozen=True)
class Segmented:
    """A label map on the grid of its image, and the name of every value that the task can give."""

    labels: NDArray[np.uint8]
    names: Mapping[int, str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each stage of the engine took."""
    notes: tuple[str, ...] = ()
    """What is to be known of this run, in sentences."""


class Engine(Protocol):
    """Segments images."""

    @property
    def info(self) -> EngineInfo:
        """What it is, for the manifest."""
        ...

    def segment(self, work: Work) -> Segmented:
        """Segment one image.

        Raises
        ------
        BadInput
            The image does not suit the task.
        """
        ...


def load_engine(name: str) -> Engine:
    """The engine of that name; the request was checked against the contract before."""
    if name == "threshold":
        from .threshold import Threshold

        return Threshold()
    raise LookupError(f"no module for the engine {name}")
