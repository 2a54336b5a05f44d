"""What there is several of stands in one catalogue: nothing is written without a line, no line leads nowhere.

Engines have theirs in `batch_job/catalogue` (tests/unit/batch_job/test_catalogue.py), outputs, object stores
and destinations in `gateway`.
"""

import ast
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import engines
from gateway.config import DESTINATION_KINDS, Config, ConfigError, Destination, Objects, load_config
from gateway.config.outputs import OUTPUTS
from gateway.config.stores import STORES
from gateway.delivery.carriers.catalogue import CARRIERS
from gateway.making.makers import load_maker

ROOT = Path(__file__).parents[2]


def _modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _dotted(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".")


def _classes_with(folder: str, method: str) -> set[str]:
    """`module:Class` of what is written there with that method, protocols aside."""
    return {
        f"{_dotted(name)}:{node.name}"
        for name, tree in _modules(folder)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and "Protocol" not in {ast.unparse(base) for base in node.bases}
        and method in {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    }


# -- outputs ------------------------------------------------------------------------------------------------


def test_every_maker_has_its_line_in_the_catalogue_and_the_other_way_round() -> None:
    written = _classes_with("gateway/making/makers", "make")
    named = {output.maker for output in OUTPUTS.values()}
    assert written - named == set(), "a maker without a line in gateway/config/outputs.py"
    assert named - written == set(), "a line in gateway/config/outputs.py that leads to no maker"


@pytest.mark.parametrize("name", OUTPUTS)
def test_maker_of_an_output_is_made_of_the_configuration_alone(name: str) -> None:
    assert callable(load_maker(name, Config()).make)


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ('["seg", "png"]', f"rule.0.outputs: there is no output png; known: {', '.join(OUTPUTS)}"),
        ('["seg", "seg"]', "rule.0.outputs: an output stands there twice; name each once"),
    ],
)
def test_outputs_that_cannot_be_made_are_refused_at_start(
    tmp_path: Path, outputs: str, sentence: str
) -> None:
    path = tmp_path / "iris.toml"
    path.write_text(f"[[rule]]\nname = 'a'\noutputs = {outputs}\n")
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert str(raised.value).startswith(sentence)


# -- object stores ------------------------------------------------------------------------------------------


def test_every_opener_of_a_store_has_its_line_in_the_catalogue_and_the_other_way_round() -> None:
    written = {
        f"{_dotted(name)}:{node.name}"
        for name, tree in _modules("gateway/backends/stores")
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("open_") and "__init__" not in name
    }
    named = {facts.opener for facts in STORES.values()}
    assert written - named == set(), "an opener without a line in gateway/config/stores.py"
    assert named - written == set(), "a line in gateway/config/stores.py that leads to no opener"
    for opener in named:
        module, _, attribute = opener.partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_what_a_store_needs_can_be_said_in_the_configuration() -> None:
    needs = {key for facts in STORES.values() for key in facts.needs}
    assert needs - set(Objects.model_fields) == set(), "a key that Objects in config/sections.py lacks"


def test_store_that_is_not_in_the_catalogue_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "iris.toml"
    path.write_text("[objects]\nbackend = 'tape'\n")
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    known = ", ".join(STORES)
    assert str(raised.value) == f'objects.backend: there is no object store "tape"; known: {known}'


# -- destinations -------------------------------------------------------------------------------------------


def test_every_carrier_has_its_line_in_the_catalogue() -> None:
    written = {name.partition(":")[2] for name in _classes_with("gateway/delivery/carriers", "carry")}
    tree = dict(_modules("gateway/delivery/carriers"))["gateway/delivery/carriers/catalogue.py"]
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert written - named == set(), "a carrier without a line in gateway/delivery/carriers/catalogue.py"


def test_every_carrier_of_the_catalogue_is_a_kind_that_the_configuration_knows() -> None:
    assert set(CARRIERS) - set(DESTINATION_KINDS) == set(), "a kind that config/destinations.py does not know"
    keys = {key for keys in DESTINATION_KINDS.values() for key in keys}
    assert keys - set(Destination.model_fields) == set(), "a key that Destination lacks"


# -- nowhere else -------------------------------------------------------------------------------------------

ASKED: Mapping[str, Any] = {
    ".objects.backend": STORES,
    "engine.name": engines(),
    "output": OUTPUTS,
    ".kind": DESTINATION_KINDS,
}
"""How code would ask which one it is, and the names of which one it would compare that with."""


def test_no_room_asks_which_one_it_is_instead_of_the_catalogue_what_is_true_of_it() -> None:
    asking = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, tree in _modules("gateway")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and _asks(node)
    ]
    assert asking == [], "a kind compared with a name: the next kind will be forgotten there"


def _asks(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    words = {each.value for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)}
    said = [ast.unparse(side) for side in sides if not isinstance(side, ast.Constant)]
    return any(text.endswith(asked) and words & set(names) for text in said for asked, names in ASKED.items())
