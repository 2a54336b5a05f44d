"""A model folder of nnU-Net, as far as it is read without nnU-Net."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_job.catalogue.trained_model import read_model
from batch_job.contract import ContractError, EngineSettings, ModelError, engine_facts
from gateway.config import ConfigError, load_config

DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3}}
PLANS = {
    "dataset_name": "Dataset501_Liver",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "configurations": {
        "3d_fullres": {"spacing": [2.0, 1.0, 1.0], "patch_size": [64, 128, 128]},
        "3d_later": {"inherits_from": "3d_fullres", "patch_size": [32, 32, 32]},
        "3d_cascade": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    },
}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(dataset, plans, configuration)`: the folder of a model of one fold."""

    def make(
        dataset: dict[str, Any] | None = None,
        plans: dict[str, Any] | None = None,
        configuration: str = "3d_fullres",
    ) -> Path:
        folder = tmp_path / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        (folder / "fold_0").mkdir(parents=True)
        (folder / "dataset.json").write_text(json.dumps({**DATASET, **(dataset or {})}))
        (folder / "plans.json").write_text(json.dumps({**PLANS, **(plans or {})}))
        (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
        return folder

    return make


def test_engine_finds_what_its_model_was_trained_for(write: Write) -> None:
    facts = engine_facts("nnunet", EngineSettings(model=str(write(configuration="3d_later"))))
    assert facts.default_task == "Dataset501_Liver"
    assert facts.task("Dataset501_Liver").labels == {1: "liver", 2: "tumour"}
    assert facts.task("Dataset501_Liver").modality == "CT"
    with pytest.raises(ContractError, match='nnunet has no task "total"; it has: Dataset501_Liver'):
        facts.task("total")


def test_other_weights_are_another_identity(write: Write, tmp_path: Path) -> None:
    folder = write()
    before = read_model(folder).weights
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"other weights")
    assert read_model(folder).weights != before
    assert before.startswith("Dataset501_Liver ")


def test_table_in_the_folder_has_other_names_and_codes(write: Write) -> None:
    folder = write()
    before = read_model(folder).weights
    table = folder / "labels.csv"
    table.write_text("value,name,category,type\n2,x,49755003 Abnormal,27925004 Nodule\n1,liver\n")
    facts = engine_facts("nnunet", EngineSettings(model=str(folder)))
    assert facts.task("Dataset501_Liver").labels == {1: "liver", 2: "x"}
    assert facts.structures["x"].type == ("27925004", "Nodule")
    assert read_model(folder).weights != before
    table.write_text("value,name\n1,liver\n")
    with pytest.raises(ModelError, match=r"labels\.csv in .* names other values than its dataset\.json"):
        read_model(folder)
    table.write_text("value,name\nx,liver\n")
    with pytest.raises(ModelError, match=r"line 2: a value from 1 to 255"):
        read_model(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": {"labels": {"background": 0, "all": [1, 2], "core": [2]}}}, "regions that overlap"),
        ({"dataset": {"channel_names": {"0": "T1", "1": "T2"}}}, "wants 2 images at once; a job has one"),
        ({"dataset": {"labels": {"background": 0, "x": 256}}}, "labels must be from 1 to 255"),
        ({"dataset": {"labels": {"background": 0}}}, "labels must be from 1 to 255"),
        ({"dataset": {"labels": "none"}}, "is not as nnU-Net 2 writes it"),
        ({"dataset": {"channel_names": {"0": "MRI"}}}, 'channel "MRI" does not say it; set it to "MR"'),
        ({"plans": {"image_reader_writer": "Tiff3DIO"}}, "does not say where a voxel lies"),
        ({"configuration": "3d_cascade"}, "second stage of a cascade"),
        (
            {"configuration": "3d_none"},
            "folder's name must end with a configuration of its plans (3d",
        ),
    ],
)
def test_model_that_cannot_be_run_is_refused_with_the_reason(
    write: Write, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ModelError) as raised:
        engine_facts("nnunet", EngineSettings(model=str(write(**changes))))
    assert sentence in str(raised.value)


def test_configuration_names_the_folder_that_is_missing_and_takes_one_that_is_there(
    write: Write, tmp_path: Path
) -> None:
    path = tmp_path / "iris.toml"
    path.write_text('[engine]\nname = "nnunet"\n')
    with pytest.raises(ConfigError, match=r"engine: model is empty; name the folder that has dataset\.json"):
        load_config(path)
    path.write_text(f'[engine]\nname = "nnunet"\nmodel = "{tmp_path}"\n')
    with pytest.raises(ConfigError, match=r"there is no dataset.json in .*; name the folder"):
        load_config(path)
    path.write_text(f'[engine]\nname = "nnunet"\nmodel = "{write()}"\ntask = "liver"\n')
    config = load_config(path)
    assert config.engine.facts.default_task == "liver"
    variables = config.engine.settings.variables()
    assert EngineSettings.from_environment(variables) == config.engine.settings
    assert variables["IRIS_ENGINE__TASK"] == "liver"


def test_engine_that_is_no_model_of_ones_own_takes_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "iris.toml"
    path.write_text('[engine]\nmodel = "somewhere"\n')
    with pytest.raises(ConfigError, match="threshold takes no model; leave it out"):
        load_config(path)
