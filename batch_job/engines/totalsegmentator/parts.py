"""A request's networks one after the other: what was kept of each, how long it took, how far they are.

Both ways to run them, inside and plain, keep and tell by this.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from batch_job.engines import Work
from batch_job.errors import ComeBackLater

from .plan import Weights

MODELS_BEGIN: Final = 0.05
MODELS_END: Final = 0.95
"""How much of the whole is done when the first network begins and when the last one ends."""
PATCHES_END: Final = 0.9
"""The same of one network, when its last patch is done; its result is still to be written."""


class StageClock:
    """Seconds by stage: what is not a network's run is preparation before the last one, export after it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._since = time.monotonic()

    def end(self, stage: str) -> None:
        """Count the time since the end of the stage before for this one."""
        now = time.monotonic()
        self.seconds[stage] += now - self._since
        self._since = now

    def rounded(self) -> dict[str, float]:
        """Seconds by stage, to the millisecond."""
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}


class Parts:
    """Takes finished parts from an earlier attempt, keeps new ones, and tells progress.

    Parameters
    ----------
    weights
        Those of the networks that are going to be run, in order.
    """

    def __init__(self, work: Work, weights: Sequence[Weights], clock: StageClock) -> None:
        self._work = work
        self._weights = weights
        self._efforts = [_effort(each) for each in weights]
        self.clock = clock
        self._done = 0
        self._told = 0.0
        self.notes: list[str] = []

    def begin(self) -> None:
        """A pass over all networks begins, perhaps the second one."""
        self._done = 0

    def end_one(self) -> None:
        """One of them is done."""
        self._done += 1
        self.clock.end(f"model {self._done}")
        self.tell(0.0)

    def end(self) -> None:
        """The pass is at its end; what has not run had nothing to look at."""
        if self._done < len(self._weights):
            self.note("the region that the task looks at was not found in the image; nothing was segmented")

    def note(self, sentence: str) -> None:
        """Say something that a reader of the result should know, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def weights(self, dataset: int) -> Weights | None:
        """Those of a dataset among these networks."""
        return next((each for each in self._weights if each.model.dataset == dataset), None)

    def take(self, names: Sequence[str]) -> list[Path] | None:
        """The files that were kept under these names, if all were."""
        found = [self._work.checkpoints.get(name) for name in names]
        paths = [path for path in found if path is not None]
        return paths if paths and len(paths) == len(names) else None

    def keep(self, files: Mapping[str, Path]) -> None:
        """Keep a network's files under these names for a next attempt."""
        try:
            for name, path in files.items():
                self._work.checkpoints.put(name, path)
        except (OSError, ComeBackLater):
            self.note("a finished part could not be kept for a next attempt")

    def tell_patches(self, done: float) -> None:
        """How far the present network is with its patches, 0 to 1."""
        self.tell(PATCHES_END * done)

    def tell(self, share_of_model: float) -> None:
        """How far the present network is, 0 to 1."""
        sizes = self._efforts
        done = sum(sizes[: self._done]) + sum(sizes[self._done : self._done + 1]) * share_of_model
        number = min(self._done + 1, len(sizes))
        self._told = max(self._told, MODELS_BEGIN + (MODELS_END - MODELS_BEGIN) * done / sum(sizes))
        self._work.on_progress(self._told, f"model {number} of {len(sizes)}")


def digest(facts: Mapping[str, Any]) -> str:
    """Of all that a network's result depends on beyond the request, and by which packages it is made."""
    packages = [metadata.version(name) for name in ("TotalSegmentator", "nnunetv2")]
    content = json.dumps({**facts, "packages": packages}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _effort(weights: Weights) -> float:
    """How long a network takes, compared with others on the same image: by its voxels."""
    spacing_mm = weights.model.spacing_mm or (1.0, 1.0, 1.0)
    return weights.folds / (spacing_mm[0] * spacing_mm[1] * spacing_mm[2])
