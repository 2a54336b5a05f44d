"""The plain way's seam: each network's run, kept as a checkpoint, timed, and followed patch by patch.

TotalSegmentator calls `totalsegmentator.nnunet.nnUNetv2_predict` once for each network, which reads
`{case}_0000.nii.gz` in a folder and writes `{case}.nii.gz` there. That function is wrapped here.
"""

import hashlib
import inspect
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from .parts import Parts, digest
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


class Predictions:
    """Runs a request's networks by nnU-Net's function, or takes their results from an earlier attempt."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @contextmanager
    def wrapped(self) -> Iterator[None]:
        """Take the place of nnU-Net's function for one pass, unless it is not the one that is known here."""
        from totalsegmentator import nnunet

        original = nnunet.nnUNetv2_predict
        if tuple(inspect.signature(original).parameters) != SIGNATURE:
            self._parts.note(
                f"TotalSegmentator {metadata.version('TotalSegmentator')} runs its networks in a way that is "
                "not known here: nothing was kept for a next attempt, and progress is coarse"
            )
            yield
            return

        def wrapper(*args: Any, **kwargs: Any) -> None:
            self._predict(original, *args, **kwargs)

        nnunet.nnUNetv2_predict = wrapper
        self._parts.begin()
        try:
            yield
        finally:
            nnunet.nnUNetv2_predict = original
        self._parts.end()

    def _predict(self, original: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        self._parts.clock.end("resample")
        call = inspect.signature(original).bind(*args, **kwargs)
        call.apply_defaults()
        weights = self._parts.weights(call.arguments["task_id"])
        target = Path(call.arguments["dir_out"])
        cases = _cases(call, weights)
        kept = self._parts.take(list(cases.values()))
        if kept is None:
            with following(len(cases) * (weights.folds if weights else 1), self._parts.tell_patches):
                original(*args, **kwargs)
            self._parts.keep({name: target / case for case, name in cases.items()})
        else:
            for case, path in zip(cases, kept, strict=True):
                shutil.copyfile(path, target / case)
        self._parts.end_one()


@contextmanager
def following(rounds: int, tell: Callable[[float], None]) -> Iterator[None]:
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
            tell(done)

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

    A name holds a digest of the network's input and weights, and how it is called.
    """
    inputs = _inputs(Path(call.arguments["dir_in"]))
    how = {
        "weights": weights.digest if weights else "",
        "call": {name: str(said) for name, said in call.arguments.items() if name not in WITHOUT_EFFECT},
    }
    names = {}
    for case, paths in inputs.items():
        facts = {**how, "input": [_file_sha256(path) for path in paths]}
        names[f"{case}.nii.gz"] = f"model-{call.arguments['task_id']}-{case}-{digest(facts)}.nii.gz"
    return names


def _inputs(folder: Path) -> dict[str, list[Path]]:
    """The images in a folder, channel by channel, as nnU-Net names them."""
    inputs = defaultdict(list)
    for path in sorted(folder.glob("*_[0-9][0-9][0-9][0-9].nii.gz")):
        inputs[path.name[: -len("_0000.nii.gz")]].append(path)
    return inputs


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
