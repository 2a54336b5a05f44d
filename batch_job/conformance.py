"""What every engine has to keep, as tests: a class to inherit from, for pytest.

    class TestBright(EngineConformance):
        engine = "bright"

It works on the reference case of the task's modality (`reference`), and needs what a job needs.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from . import cgroup
from .contract import (
    LABELS_NAME,
    MANIFEST_NAME,
    EngineInfo,
    canonical_options,
    engine_facts,
    read_manifest,
    task_facts,
)
from .engines import Engine, Segmented, Work, check_segmented, load_engine
from .errors import BadInput, NotSetUp, meaning_of
from .image import Image, read_image
from .reference import try_engine, write_reference

TINY: Any = cgroup.Memory(1 << 20, 1 << 20)


class Interrupted(BaseException):
    """Ends an engine's work in its middle, as nothing it may catch."""


@dataclass
class _Kept:
    """Checkpoints in a folder."""

    folder: Path
    names: list[str] = field(default_factory=list)

    def get(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.is_file() else None

    def put(self, name: str, path: Path) -> None:
        self.names.append(name)
        (self.folder / name).write_bytes(path.read_bytes())


@dataclass
class _Trial:
    """One engine object and what it is given; every attempt has the same checkpoints."""

    engine: Engine
    task: str
    options: Mapping[str, Any]
    source: Path
    image: Image
    kept: _Kept
    told: list[float] = field(default_factory=list)

    def segment(self, *, end_after: int | None = None) -> Segmented:
        """Segment; `end_after` so many times that it told its progress it is interrupted."""
        self.told = []

        def tell(share: float, what: str) -> None:
            self.told.append(share)
            if end_after is not None and len(self.told) > end_after:
                raise Interrupted

        scratch = self.kept.folder.parent / f"scratch-{len(list(self.kept.folder.parent.iterdir()))}"
        scratch.mkdir()
        work = Work(self.image, self.source, self.task, self.options, scratch, self.kept, tell)
        return self.engine.segment(work)


_UNDISTURBED: dict[type, tuple[_Trial, Segmented]] = {}


class EngineConformance:
    """The tests. What a subclass says of its engine stands first."""

    engine: ClassVar[str]
    task: ClassVar[str] = ""
    """Empty: the engine's own."""
    options: ClassVar[Mapping[str, Any]] = {}

    def take_away(self, monkeypatch: Any) -> bool:
        """Take away something that the engine needs; False where it needs nothing."""
        return False

    # -- what follows is the same for every engine ----------------------------------------------------------

    def test_check_says_what_it_is_and_works_on_nothing(self) -> None:
        task, options = self._wish()
        info = load_engine(self.engine).check(task, options)
        assert isinstance(info, EngineInfo)
        assert (info.name, bool(info.version)) == (self.engine, True)

    def test_reference_case_is_found(self, tmp_path: Path) -> None:
        tried = try_engine(load_engine(self.engine), self.engine, *self._wish(), tmp_path)
        assert tried.info.name == self.engine
        assert not list(tmp_path.iterdir())

    def test_labels_lie_on_the_grid_of_the_image_and_every_value_has_its_name(self, tmp_path: Path) -> None:
        trial, segmented = self._undisturbed(tmp_path)
        check_segmented(segmented, trial.image)
        assert len(set(segmented.names.values())) == len(segmented.names)
        recorded = task_facts(self.engine, trial.task).labels
        assert not recorded or segmented.names.items() <= recorded.items()

    def test_labels_are_the_same_again_from_the_same_engine_and_from_a_new_one(self, tmp_path: Path) -> None:
        trial, first = self._undisturbed(tmp_path)
        for engine in (trial.engine, load_engine(self.engine)):
            again = replace(trial, engine=engine, kept=_empty(tmp_path / str(id(engine)))).segment()
            np.testing.assert_array_equal(again.labels, first.labels)
            assert again.names == first.names

    def test_image_is_left_as_it_was(self, tmp_path: Path) -> None:
        trial, _ = self._undisturbed(tmp_path)
        other = self._trial(tmp_path / "other")
        np.testing.assert_array_equal(trial.image.values, other.image.values)
        assert trial.source.read_bytes() == other.source.read_bytes()

    def test_progress_rises_to_the_end(self, tmp_path: Path) -> None:
        told = self._undisturbed(tmp_path)[0].told
        assert told == sorted(told)
        assert told[0] >= 0
        assert told[-1] == 1

    def test_work_that_was_interrupted_anywhere_goes_on_to_the_same_labels(self, tmp_path: Path) -> None:
        usual, whole = self._undisturbed(tmp_path)
        for end_after in (0, len(usual.told) // 2):
            trial = self._trial(tmp_path / f"after-{end_after}")
            try:
                trial.segment(end_after=end_after)
            except Interrupted:
                trial.engine = load_engine(self.engine)
            else:
                raise AssertionError("the engine went on after it was interrupted")
            np.testing.assert_array_equal(trial.segment().labels, whole.labels)

    def test_what_was_kept_is_not_done_again(self, tmp_path: Path) -> None:
        usual, first = self._undisturbed(tmp_path)
        put = list(usual.kept.names)
        again = replace(usual, engine=load_engine(self.engine)).segment()
        np.testing.assert_array_equal(again.labels, first.labels)
        assert usual.kept.names == put

    def test_memory_is_asked_before_work(self, tmp_path: Path, monkeypatch: Any) -> None:
        folder = self._job_folder(tmp_path)
        own = [module for name, module in sys.modules.items() if name.startswith("batch_job.")]
        for module in [each for each in own if vars(each).get("memory") is cgroup.memory]:
            monkeypatch.setattr(module, "memory", lambda: TINY)
        monkeypatch.setattr(type(load_engine(self.engine)), "segment", _not_to_be_called)
        error = self._failing(folder)
        assert isinstance(error, BadInput), repr(error)
        assert "memory" in str(error)
        assert read_manifest(folder) is None

    def test_image_that_is_none_is_bad_input(self, tmp_path: Path) -> None:
        error = self._failing(self._job_folder(tmp_path, content=b"no image"))
        assert isinstance(error, BadInput), repr(error)

    def test_what_is_missing_is_said_before_work(self, tmp_path: Path, monkeypatch: Any) -> None:
        folder = self._job_folder(tmp_path)
        if not self.take_away(monkeypatch):
            return
        error = self._failing(folder)
        assert isinstance(error, NotSetUp), repr(error)
        assert len(meaning_of(error)[1].splitlines()) == 1

    def test_job_has_a_manifest_with_the_engine_and_every_name(self, tmp_path: Path) -> None:
        folder = self._job_folder(tmp_path)
        self._run(folder)
        manifest = read_manifest(folder)
        assert manifest is not None
        assert (folder / MANIFEST_NAME).is_file()
        assert manifest.engine.name == self.engine
        labels = read_image(folder / LABELS_NAME).values
        assert set(np.unique(labels).tolist()) - {0} <= manifest.labels.keys()

    # -- parts ----------------------------------------------------------------------------------------------

    def _wish(self) -> tuple[str, dict[str, Any]]:
        task = self.task or engine_facts(self.engine).default_task
        return task, canonical_options(self.engine, task, self.options)

    def _undisturbed(self, folder: Path) -> tuple[_Trial, Segmented]:
        """A run that was left to its end, the same one for all tests of a class."""
        if type(self) not in _UNDISTURBED:
            trial = self._trial(folder / "undisturbed")
            _UNDISTURBED[type(self)] = trial, trial.segment()
        return _UNDISTURBED[type(self)]

    def _trial(self, folder: Path) -> _Trial:
        task, options = self._wish()
        kept = _empty(folder)
        source = folder / "input.nii.gz"
        write_reference(task_facts(self.engine, task).modality, source)
        return _Trial(load_engine(self.engine), task, options, source, read_image(source), kept)

    def _job_folder(self, folder: Path, content: bytes | None = None) -> Path:
        task, _ = self._wish()
        source = folder / "input.nii.gz"
        write_reference(task_facts(self.engine, task).modality, source)
        source.write_bytes(content := source.read_bytes() if content is None else content)
        request = {
            "job_key": "reference",
            "task": task,
            "engine": self.engine,
            "options": dict(self.options),
            "input": {"name": source.name, "sha256": hashlib.sha256(content).hexdigest()},
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        return folder

    def _run(self, folder: Path) -> None:
        from .interruption import Interruption
        from .place import Attempt
        from .run import run_in_steps
        from .shared import Shared

        for _ in run_in_steps(f"{folder}/", Attempt(), Shared(Interruption())):
            pass

    def _failing(self, folder: Path) -> Exception:
        try:
            self._run(folder)
        except Exception as error:
            return error
        raise AssertionError("the job was done")


def _empty(folder: Path) -> _Kept:
    kept = folder / "kept"
    kept.mkdir(parents=True)
    return _Kept(kept)


def _not_to_be_called(engine: Engine, work: Work) -> Segmented:
    raise AssertionError("the engine began before memory was looked at")
