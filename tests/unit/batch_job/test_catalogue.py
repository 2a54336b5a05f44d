"""The catalogue of engines: each stands in it once, whole, and nowhere else."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr import _cid_dict, _concepts_dict

from batch_job import catalogue
from batch_job.catalogue import ALGORITHM_FAMILIES, FOLDER, read_engine
from batch_job.contract import ContractError, engine_facts, engines, find_task, task_facts
from batch_job.engines import load_engine
from gateway.config import ConfigError, load_config

ROOT = Path(__file__).parents[3]
METHODS = {"check", "segment"}
"""What makes a class an engine: `batch_job.engines.Engine`."""
MAY_NAME_AN_ENGINE = {
    "gateway/config/engine.py",  # the default
    "gateway/commands/stack_config.py",  # what the stack's image has in it
    "gateway/prove/phantom.py",  # the one whose tissues the phantom is made of
    "converter/codes/build.py",  # the folder of the package whose names the terminology knows
}


def _parsed(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _engine_classes() -> set[str]:
    return {
        f"{name.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}:{node.name}"
        for name, tree in _parsed("batch_job/engines")
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and node.name != "Engine"
        and {each.name for each in node.body if isinstance(each, ast.FunctionDef)} >= METHODS
    }


def test_every_engine_that_is_written_has_its_file_in_the_catalogue_and_the_other_way_round() -> None:
    named = {facts.loader for facts in engines().values() if facts.loader.startswith("batch_job.")}
    assert _engine_classes() - named == set(), "an engine without a file in batch_job/catalogue"
    assert named - _engine_classes() == set(), "a loader in batch_job/catalogue that leads to no engine"


@pytest.mark.parametrize("name", engines())
def test_engine_of_the_catalogue_can_be_loaded(name: str) -> None:
    assert all(hasattr(type(load_engine(name)), method) for method in METHODS)


def test_no_room_but_the_catalogue_and_the_engine_itself_names_an_engine() -> None:
    found = {
        name
        for name, tree in _parsed("gateway", "converter", "batch_job")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in engines() and "/engines/" not in name
    }
    assert found - MAY_NAME_AN_ENGINE == set(), "an engine's name as a string; its facts are in the catalogue"


def test_algorithm_families_are_those_of_the_standard() -> None:
    names = set(_cid_dict.cid_concepts[7162]["DCM"])
    standard = {
        code: meaning
        for name in names
        for code, (meaning, groups) in _concepts_dict.concepts["DCM"][name].items()
        if 7162 in groups
    }
    assert standard == ALGORITHM_FAMILIES


# -- label tables -------------------------------------------------------------------------------------------

TASKS = [(facts.name, task) for facts in engines().values() for task in facts.tasks]


@pytest.mark.parametrize(("engine", "task"), TASKS)
def test_label_table_stands_in_the_order_of_its_values(engine: str, task: str) -> None:
    labels = task_facts(engine, task).labels
    assert list(labels) == sorted(labels)


def test_label_tables_have_every_structure_of_their_task() -> None:
    total, total_mr = (task_facts("totalsegmentator", task).labels for task in ("total", "total_mr"))
    assert list(total) == list(range(1, 118))
    assert list(total_mr) == list(range(1, 51))
    assert (total[1], total[5], total[51], total[117]) == ("spleen", "liver", "heart", "costal_cartilages")
    assert (total_mr[10], total_mr[11]) == ("lung_left", "lung_right")


def test_task_without_its_engine_is_found_where_one_engine_has_it() -> None:
    assert find_task("tissue") == (engine_facts("threshold"), "tissue")
    assert find_task("total_mr") == find_task("totalsegmentator/total_mr")
    with pytest.raises(ContractError, match='threshold has no task "total"; it has: tissue'):
        find_task("threshold/total")
    with pytest.raises(ContractError) as raised:
        find_task("x\ny")
    count = sum(len(facts.tasks) for facts in engines().values())
    first = "tissue, total, total_v3, body, body_mr"
    assert str(raised.value) == (
        f'no engine has a task "x?y"; known: {first} and {count - 5} more, '
        "which docs/totalsegmentator.md lists"
    )


def test_task_of_several_engines_has_to_be_said_with_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    second = engine_facts("threshold").model_copy(update={"name": "second"})
    monkeypatch.setattr(catalogue, "engines", lambda: {**engines(), "second": second})
    with pytest.raises(ContractError, match="write threshold/tissue or second/tissue"):
        find_task("tissue")
    assert find_task("second/tissue") == (second, "tissue")


# -- what a file must be ------------------------------------------------------------------------------------


def _facts(**changes: Any) -> dict[str, Any]:
    return {**json.loads((FOLDER / "threshold.json").read_bytes()), **changes}


def _task(**changes: Any) -> dict[str, Any]:
    return {"tissue": {"modality": "CT", "labels": {"1": "bone"}, **changes}}


CODES = {"category": ["85756007", "Tissue"], "type": ["3138006", "Bone"], "rgb": [241, 214, 145]}


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (_facts(name="other"), "name: must be that of the file"),
        (_facts(familiy=1), "familiy: is a key that nothing knows"),
        (_facts(loader="threshold"), "loader: "),
        (_facts(algorithm_family=["123104", "Artificial Intelligence"]), "no code and meaning of CID 7162"),
        (_facts(default_task="bones"), "default_task is none of the tasks"),
        (_facts(bytes_a_voxel=1), "bytes_a_voxel: "),
        (_facts(options={}), "variants that are no options of the kind model: fast"),
        (_facts(structures={"horn": CODES}), "structures that no task gives: horn"),
        (_facts(tasks=_task(finds=["skin"])), "finds names that no value has: skin"),
        (_facts(tasks=_task(labels={"0": "bone"})), "tasks.tissue.labels.0"),
        (_facts(tasks=_task(labels={"1": "bone", "2": "bone"})), "two values have the same name"),
    ],
)
def test_file_of_the_catalogue_that_is_not_whole_is_refused_by_name(
    tmp_path: Path, facts: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "threshold.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(ContractError, match=r"catalogue/threshold\.json: ") as raised:
        read_engine(path)
    assert sentence in str(raised.value)


def test_file_of_the_catalogue_that_is_no_json_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "threshold.json"
    path.write_text("{")
    with pytest.raises(ContractError, match=r"catalogue/threshold\.json is not JSON"):
        read_engine(path)


def test_engine_of_the_configuration_that_is_not_in_the_catalogue_is_refused_with_those_that_are(
    tmp_path: Path,
) -> None:
    path = tmp_path / "iris.toml"
    path.write_text("[engine]\nname = 'magic'\n")
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    known = ", ".join(engines())
    assert str(raised.value) == f'engine.name: there is no engine "magic"; known: {known}'
