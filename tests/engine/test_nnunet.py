"""The engine `nnunet`: what it gives is nnU-Net's own, where the image is, from networks that stay loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bands import OWN_HU, clear, nearest
from conftest import FolderCheckpoints
from numpy.typing import NDArray

from batch_job import resources
from batch_job.cgroup import Memory
from batch_job.contract import EngineSettings, canonical_options, engine_facts
from batch_job.engines import Work
from batch_job.engines.nnunet import NnUnet
from batch_job.errors import BadInput, NotSetUp
from batch_job.image import read_image

NAMES = list(OWN_HU)
Segment = Callable[..., NDArray[np.uint8]]


@pytest.fixture(autouse=True)
def model(own_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRIS_ENGINE__MODEL", str(own_model))
    return own_model


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    """`segment(engine, source, **options)`: its labels."""
    number = iter(range(100))

    def run(engine: NnUnet, source: Path, **options: bool) -> NDArray[np.uint8]:
        folder = tmp_path / f"run-{next(number)}"
        scratch, kept = folder / "scratch", folder / "kept"
        scratch.mkdir(parents=True)
        kept.mkdir()
        task = engine_facts("nnunet").default_task
        full = canonical_options("nnunet", task, options)
        image = read_image(source)
        work = Work(image, source, task, full, scratch, FolderCheckpoints(kept), lambda share, what: None)
        return engine.segment(work).labels

    return run


def upstream(model: Path, source: Path, folder: Path) -> NDArray[np.uint8]:
    """What nnU-Net's own way over files gives, all folds, with mirroring."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), None)
    predictor.predict_from_files_sequential([[str(source)]], [str(folder / "own.nii.gz")])
    return np.asanyarray(nib.load(folder / "own.nii.gz").dataobj)


@pytest.mark.parametrize("image", ["quarter", "mr"])
def test_labels_are_those_of_nnunets_own_command(
    segment: Segment, model: Path, image: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = request.getfixturevalue(image)
    labels = segment(NnUnet(), source)
    assert len(np.unique(labels)) > 2
    np.testing.assert_array_equal(labels, upstream(model, source, tmp_path))


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"])
def test_labels_lie_where_the_image_has_them_by_every_reader(
    segment: Segment, model: Path, reader: str, mr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / model.name
    shutil.copytree(model, copy)
    plans = (copy / "plans.json").read_text()
    (copy / "plans.json").write_text(plans.replace("SimpleITKIO", reader))
    monkeypatch.setenv("IRIS_ENGINE__MODEL", str(copy))
    values = read_image(mr).values
    labels = segment(NnUnet(), mr)
    wanted = np.vectorize(NAMES.index)(nearest(values, OWN_HU))
    assert (labels == wanted)[clear(values, OWN_HU)].mean() > 0.99


def test_networks_stay_loaded_until_the_models_files_change(
    segment: Segment, model: Path, quarter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = NnUnet()
    first = segment(engine, quarter)
    loaded = engine._loaded
    np.testing.assert_array_equal(segment(engine, quarter), first)
    assert engine._loaded is loaded
    copy = tmp_path / model.name
    shutil.copytree(model, copy)
    shutil.rmtree(copy / "fold_1")
    monkeypatch.setenv("IRIS_ENGINE__MODEL", str(copy))
    segment(engine, quarter)
    assert engine._loaded is not loaded
    assert len(engine._loaded[2].list_of_parameters) == 1


def test_facts_are_the_models_own(model: Path) -> None:
    facts = engine_facts("nnunet", EngineSettings(model=str(model), task="tissues"))
    assert facts.default_task == "tissues"
    assert facts.tasks["tissues"].labels == {value: name for value, name in enumerate(NAMES) if value}
    assert facts.tasks["tissues"].modality == "CT"
    assert facts.weights.startswith("Dataset501_Tissues ")
    assert NnUnet().check("tissues", {}).weights == facts.weights


def test_weights_that_cannot_be_loaded_are_told_by_their_folder(
    segment: Segment, model: Path, quarter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / model.name
    shutil.copytree(model, copy)
    (copy / "fold_0" / "checkpoint_final.pth").write_bytes(b"half a file")
    monkeypatch.setenv("IRIS_ENGINE__MODEL", str(copy))
    with pytest.raises(NotSetUp, match=r"cannot load its weights"):
        segment(NnUnet(), quarter)


def test_image_whose_axes_lean_is_bad_input_where_the_models_reader_cannot_say_it(
    segment: Segment, quarter: Path, tmp_path: Path
) -> None:
    source = nib.load(quarter)
    leaning = source.affine.copy()
    leaning[0, 2] += 1.0
    image = nib.Nifti1Image(np.asanyarray(source.dataobj), leaning)
    image.set_sform(leaning, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "leaning.nii.gz")
    with pytest.raises(BadInput, match="not at right angles"):
        segment(NnUnet(), tmp_path / "leaning.nii.gz")


def test_image_whose_networks_do_not_fit_is_refused_before_they_are_loaded(
    segment: Segment, quarter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "memory", lambda: Memory(1_200_000_000, 1_200_000_000))
    engine = NnUnet()
    with pytest.raises(BadInput, match=r"million voxels need 1,\d+ MB of memory"):
        segment(engine, quarter)
    assert engine._loaded is None
