"""The networks that are planned are those that TotalSegmentator runs, for every task and option."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from batch_job.contract import canonical_options, engine_facts
from batch_job.engines.totalsegmentator.plan import Weights, find_weights, sub_models
from batch_job.engines.totalsegmentator.surroundings import surroundings
from batch_job.errors import NotSetUp

TASKS = engine_facts("totalsegmentator").tasks
CASES = [
    *((task, {}) for task in TASKS),
    *((task, {variant: True}) for task, facts in TASKS.items() for variant in facts.variants),
    *(
        (task, {"robust_crop": True})
        for task in ("hip_implant", "lung_vessels", "liver_segments_mr", "teeth")
    ),
    ("total", {"body_seg": True}),
    ("total", {"fast": True, "roi_subset": ["liver"]}),
    ("total", {"fast": True, "roi_subset": ["liver"], "robust_crop": True, "body_seg": True}),
    ("total_mr", {"fast": True, "roi_subset": ["liver"]}),
]

Asked = tuple[list[tuple[int, str, tuple[int, ...], Any]], list[Any]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Asked]]:
    """Let TotalSegmentator run a task without its networks: which ones it called, which weights it wanted."""
    monkeypatch.setenv("IRIS_TOTALSEG_LICENSE", "aca_12345678901234")
    with surroundings(tmp_path, 1):
        from totalsegmentator import nnunet, python_api

        called: list[tuple[int, str, tuple[int, ...], Any]] = []
        wanted: list[Any] = []
        image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))

        def predict(file_in: object, file_out: object, task_id: Any, **kwargs: Any) -> Any:
            ids = task_id if isinstance(task_id, list) else [task_id]
            plans = kwargs.get("plans", "nnUNetPlans")
            for each in ids:
                configuration = f"{kwargs['trainer']}__{plans}__{kwargs['model']}"
                called.append((each, configuration, tuple(kwargs["folds"] or ()), kwargs["resample"]))
            return image, image, None

        def run(task: str, options: dict[str, Any]) -> Asked:
            full = canonical_options("totalsegmentator", task, options)
            del full["statistics"]
            python_api.totalsegmentator(
                image,
                tmp_path / "out.nii.gz",
                task=task,
                **{**full, "roi_subset": full["roi_subset"] or None},
                ml=True,
                device="cpu",
                quiet=True,
                skip_saving=True,
            )
            return called, wanted

        monkeypatch.setattr(nnunet, "nnUNet_predict_image", predict)
        monkeypatch.setattr(python_api, "download_pretrained_weights", wanted.append)
        # Version 2.18 gives None for the CPU, and fails where a task crops by another one.
        monkeypatch.setattr(python_api, "convert_device_to_string", lambda device: "cpu")
        yield run


@pytest.mark.parametrize(("task", "options"), CASES, ids=lambda value: str(value))
def test_planned_networks_are_those_that_are_called(
    ask: Callable[..., Asked], task: str, options: dict[str, Any]
) -> None:
    called, wanted = ask(task, options)
    planned = sub_models(task, canonical_options("totalsegmentator", task, options))
    assert [(model.dataset, model.configuration, model.folds) for model in planned] == [
        each[:3] for each in called
    ]
    spacings = [each[3] if isinstance(each[3], list) else [each[3]] * 3 for each in called]
    assert [model.spacing_mm or (None,) * 3 for model in planned] == [tuple(each) for each in spacings]
    assert {model.dataset for model in planned} == set(wanted)


def test_roi_subset_plans_the_parts_that_know_a_structure_and_wants_the_weights_of_all() -> None:
    options = canonical_options("totalsegmentator", "total", {"roi_subset": ["rib_left_1", "liver"]})
    models = sub_models("total", options)
    assert [model.dataset for model in models if model.is_run] == [298, 291, 295]
    assert [model.dataset for model in models] == [298, 291, 292, 293, 294, 295]


@pytest.mark.parametrize(
    ("task", "options", "commands"),
    [
        ("total", {}, ["total"]),
        ("total", {"fast": True}, ["total_fast"]),
        ("total_mr", {"fast": True}, ["total_fast_mr"]),
        ("body", {"fast": True}, ["body_fast"]),
        ("liver_vessels", {}, ["liver_vessels", "total_fast"]),
        ("vertebrae_pp_refined", {}, ["vertebrae_pp_refined"]),
    ],
)
def test_missing_weights_are_named_with_the_commands_that_get_them(
    tmp_path: Path, task: str, options: dict[str, Any], commands: list[str]
) -> None:
    models = sub_models(task, canonical_options("totalsegmentator", task, options))
    with pytest.raises(NotSetUp) as raised:
        find_weights(task, models, tmp_path)
    sentence = str(raised.value)
    assert f"the task {task} " in sentence
    assert all(model.name in sentence for model in models)
    said = sentence.split("get them with: ")[1].split(" && ")
    assert sorted(said) == sorted(f"totalseg_download_weights -t {name}" for name in commands)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"])
def test_weights_without_one_of_their_files_are_missing(weights: Path, tmp_path: Path, name: str) -> None:
    (model,) = sub_models("total", canonical_options("totalsegmentator", "total", {"fast": True}))
    folder = tmp_path / model.name / model.configuration
    (folder / "fold_0").mkdir(parents=True)
    for other in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        (folder / other).write_bytes((weights / model.name / model.configuration / other).read_bytes())
    assert find_weights("total", [model], tmp_path)
    (folder / name).unlink()
    with pytest.raises(NotSetUp, match="Dataset297_TotalSegmentator_total_3mm_1559subj"):
        find_weights("total", [model], tmp_path)


def test_digest_of_weights_changes_with_one_number_in_them(weights: Path, tmp_path: Path) -> None:
    import torch

    (model,) = sub_models("total", canonical_options("totalsegmentator", "total", {"fast": True}))
    before = Weights(model, weights / model.name / model.configuration)
    folder = tmp_path / model.configuration
    (folder / "fold_0").mkdir(parents=True)
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(before.folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    torch.save(content, path)
    assert Weights(model, folder).digest == before.digest
    content["network_weights"]["decoder.seg_layers.0.bias"][3] += 1
    torch.save(content, path)
    assert Weights(model, folder).digest != before.digest
