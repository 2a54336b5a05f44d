"""The seam: each network's run, kept as a checkpoint, timed, and followed patch by patch.

TotalSegmentator calls `totalsegmentator.nnunet.nnUNetv2_predict` once for each network, which reads
`{case}_0000.nii.gz` in a folder and writes `{case}.nii.gz` there. That function is wrapped here.
"""

import hashlib
import inspect
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from batch_job.engines import Work
from batch_job.errors import ComeBackLater

from .plan import Weights

SIGNATURE: Final = (
    "dir_in", "dir_out", "task_id", "model", "folds", "trainer", "tta", "num_threads_preprocessing",
    "num_threads_nifti_save", "plans", "device", "quiet", "step_size", "save_probabilities_path",
    "use_cropped_logits_resampling",
)  # fmt: skip
"""The wrapped function's parameters, as TotalSegmentator 2.18 has them."""
WITHOUT_EFFECT: Final = frozenset(
    {"dir_in", "dir_out", "num_threads_preprocessing", "num_threads_nifti_save", "device", "quiet"}
)
"""Those that do not change a network's result."""

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


class Predictions:
    """Runs a request's networks, or takes their results from an earlier attempt.

    Parameters
    ----------
    weights
        Those of the networks that are going to be run, in order.
    """

    def __init__(self, work: Work, weights: Sequence[Weights], clock: StageClock) -> None:
        self._work = work
        self._weights = weights
        self._clock = clock
        self._done = 0
        self._told = 0.0
        self.notes: list[str] = []

    @contextmanager
    def wrapped(self) -> Iterator[None]:
        """Take the place of nnU-Net's function for one pass, unless it is not the one that is known here."""
        from totalsegmentator import nnunet

        original = nnunet.nnUNetv2_predict
        if tuple(inspect.signature(original).parameters) != SIGNATURE:
            self._note(
                f"TotalSegmentator {metadata.version('TotalSegmentator')} runs its networks in a way that is "
                "not known here: nothing was kept for a next attempt, and progress is coarse"
            )
            yield
            return

        def wrapper(*args: Any, **kwargs: Any) -> None:
            self._predict(original, *args, **kwargs)

        nnunet.nnUNetv2_predict = wrapper
        self._done = 0
        try:
            yield
        finally:
            nnunet.nnUNetv2_predict = original
        if self._done < len(self._weights):
            self._note("the region that the task looks at was not found in the image; nothing was segmented")

    def _predict(self, original: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        self._clock.end("resample")
        call = inspect.signature(original).bind(*args, **kwargs)
        call.apply_defaults()
        weights = next(
            (each for each in self._weights if each.model.dataset == call.arguments["task_id"]), None
        )
        target = Path(call.arguments["dir_out"])
        cases = _cases(call, weights)
        if not self._restore(cases, target):
            with self._following(len(cases) * (weights.folds if weights else 1)):
                original(*args, **kwargs)
            self._keep(cases, target)
        self._done += 1
        self._clock.end(f"model {self._done}")
        self._tell(0.0)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    # -- checkpoints --------------------------------------------------------------------------------------

    def _restore(self, cases: dict[str, str], target: Path) -> bool:
        found = {name: self._work.checkpoints.get(kept) for name, kept in cases.items()}
        if not cases or None in found.values():
            return False
        for name, path in found.items():
            assert path is not None
            shutil.copyfile(path, target / name)
        return True

    def _keep(self, cases: dict[str, str], target: Path) -> None:
        try:
            for name, kept in cases.items():
                self._work.checkpoints.put(kept, target / name)
        except (OSError, ComeBackLater):
            self._note("a finished part could not be kept for a next attempt")

    # -- progress -----------------------------------------------------------------------------------------

    @contextmanager
    def _following(self, rounds: int) -> Iterator[None]:
        """Count the patches of a run, where nnU-Net shows them with tqdm, a bar for each image and fold."""
        from nnunetv2.inference import predict_from_raw_data

        usual = getattr(predict_from_raw_data, "tqdm", None)
        done = 0.0

        def bar_that_counts(*args: Any, **kwargs: Any) -> Any:
            assert usual is not None
            bar = usual(*args, **{**kwargs, "disable": True})
            patches = rounds * (bar.total or 0)

            def update(count: float = 1) -> None:
                nonlocal done
                done = min(1.0, done + count / patches)
                self._tell(PATCHES_END * done)

            if patches and not kwargs.get("desc"):  # those with a description count results
                bar.update = update
            return bar

        if usual is not None:
            predict_from_raw_data.tqdm = bar_that_counts
        try:
            yield
        finally:
            if usual is not None:
                predict_from_raw_data.tqdm = usual

    def _tell(self, share_of_model: float) -> None:
        sizes = [_effort(weights) for weights in self._weights]
        done = sum(sizes[: self._done]) + sum(sizes[self._done : self._done + 1]) * share_of_model
        number = min(self._done + 1, len(sizes))
        self._told = max(self._told, MODELS_BEGIN + (MODELS_END - MODELS_BEGIN) * done / sum(sizes))
        self._work.on_progress(self._told, f"model {number} of {len(sizes)}")


@contextmanager
def in_one_process() -> Iterator[None]:
    """Have nnU-Net do in this process what it hands to others; it has its own way for that, too.

    Of the two processes that it starts for each network, each loads torch anew, and with one image there is
    nothing that they could do meanwhile: `total` takes three times as long with tiny networks on two cores.
    They also need shared memory, copies of the logits, and a path that is short enough for a socket.
    """
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    if not hasattr(nnUNetPredictor, "predict_from_files_sequential"):
        yield
        return
    usual = nnUNetPredictor.predict_from_files

    def one_after_the_other(
        predictor: Any,
        source: Any,
        target: Any,
        save_probabilities: bool = False,
        overwrite: bool = True,
        num_processes_preprocessing: int = 1,
        num_processes_segmentation_export: int = 1,
        folder_with_segs_from_prev_stage: str | None = None,
        num_parts: int = 1,
        part_id: int = 0,
        **more: Any,
    ) -> Any:
        # As lists: nnU-Net would fork twelve processes to look what is in the folder.
        cases = _inputs(Path(source))
        images = [list(map(str, paths)) for paths in cases.values()]
        results = [str(Path(target) / case) for case in cases]
        return predictor.predict_from_files_sequential(
            images, results, save_probabilities, overwrite, folder_with_segs_from_prev_stage, **more
        )

    nnUNetPredictor.predict_from_files = one_after_the_other
    try:
        yield
    finally:
        nnUNetPredictor.predict_from_files = usual


def _cases(call: inspect.BoundArguments, weights: Weights | None) -> dict[str, str]:
    """The files that a network is going to write, and the names of their checkpoints.

    A name holds a digest of all that the result depends on beyond the request: the network's input and
    weights, how it is called, and by which packages.
    """
    inputs = _inputs(Path(call.arguments["dir_in"]))
    how = {
        "packages": [metadata.version(name) for name in ("TotalSegmentator", "nnunetv2")],
        "weights": weights.digest if weights else "",
        "call": {name: str(said) for name, said in call.arguments.items() if name not in WITHOUT_EFFECT},
    }
    names = {}
    for case, paths in inputs.items():
        digest = _digest({**how, "input": [_file_sha256(path) for path in paths]})
        names[f"{case}.nii.gz"] = f"model-{call.arguments['task_id']}-{case}-{digest}.nii.gz"
    return names


def _inputs(folder: Path) -> dict[str, list[Path]]:
    """The images in a folder, channel by channel, as nnU-Net names them."""
    inputs = defaultdict(list)
    for path in sorted(folder.glob("*_[0-9][0-9][0-9][0-9].nii.gz")):
        inputs[path.name[: -len("_0000.nii.gz")]].append(path)
    return inputs


def _effort(weights: Weights) -> float:
    """How long a network takes, compared with others on the same image: by its voxels."""
    spacing_mm = weights.model.spacing_mm or (1.0, 1.0, 1.0)
    return weights.folds / (spacing_mm[0] * spacing_mm[1] * spacing_mm[2])


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
