"""The catalogue of outputs: each stands in it once, and what it names is there."""

from importlib import import_module
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load_config
from gateway.config.outputs import OUTPUTS
from gateway.making import makers
from gateway.making.makers import load_maker

FOLDER = Path(makers.__file__).parent
MADE = [name for name, output in OUTPUTS.items() if output.is_made]


@pytest.mark.parametrize("name", MADE)
def test_output_that_is_made_has_its_maker(name: str) -> None:
    module, _, attribute = OUTPUTS[name].maker.partition(":")
    assert hasattr(import_module(module), attribute), f"{name} in gateway/config/outputs.py leads nowhere"
    assert callable(load_maker(name, Config()).make)


def test_every_maker_has_its_line_in_the_catalogue() -> None:
    written = {
        f"gateway.making.makers.{path.stem}" for path in FOLDER.glob("*.py") if path.stem != "__init__"
    }
    named = {output.maker.partition(":")[0] for output in OUTPUTS.values() if output.is_made}
    assert written - named == set(), "a maker without a line in gateway/config/outputs.py"


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (
            '["seg", "png"]',
            "rule.0.outputs: there is no output png; known: seg, sr, rtstruct",
        ),
        ('["seg", "seg"]', "rule.0.outputs: an output stands there twice; name each once"),
        ('["summary"]', "rule a: outputs summary: use ['seg'] (this version does not do that yet)"),
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
