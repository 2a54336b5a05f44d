"""The engines: each turns an image into a label map. One module each, loaded when it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batch_job.contract import EngineInfo
from batch_job.image import Image


@dataclass(frozen=True)
class Segmented:
    """A label map on the grid of its image, and the name of every value that the task can give."""

    labels: NDArray[np.uint8]
    names: Mapping[int, str]


class Engine(Protocol):
    """Segments images."""

    @property
    def info(self) -> EngineInfo:
        """What it is, for the manifest."""
        ...

    def segment(
        self, image: Image, task: str, options: Mapping[str, Any], on_progress: Callable[[float], None]
    ) -> Segmented:
        """Segment one image.

        Parameters
        ----------
        on_progress
            Told 0 to 1 of its own work.

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
