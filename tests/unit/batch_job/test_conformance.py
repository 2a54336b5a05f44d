"""What every engine has to keep, kept by those that need nothing but this environment."""

import sys
from collections.abc import Iterator

import pytest

from batch_job.conformance import EngineConformance
from tests.own_engines import as_variables, install_bright, shown, write_program


class TestThreshold(EngineConformance):
    """The engine `threshold`."""

    engine = "threshold"


class TestContainer(EngineConformance):
    """The engine `container` with the program of docs/engines.md."""

    engine = "container"

    @pytest.fixture(autouse=True)
    def program(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in as_variables(write_program(tmp_path_factory.mktemp("program"))).items():
            monkeypatch.setenv(name, value)

    def take_away(self, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Name a program that is not there."""
        monkeypatch.setenv("IRIS_ENGINE__COMMAND", '["no-such-program", "{input}", "{output}"]')
        return True


class TestBright(EngineConformance):
    """The engine of another package, as docs/engines.md shows it."""

    engine = "bright"

    @pytest.fixture(autouse=True)
    def package(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("site-packages")
        install_bright(folder)
        monkeypatch.syspath_prepend(folder)
        yield
        sys.modules.pop("bright", None)


@pytest.mark.parametrize("name", ["bands.py", "bright.py"])
def test_examples_of_the_guide_are_shorter_than_forty_lines(name: str) -> None:
    assert len(shown(name).splitlines()) < 40
