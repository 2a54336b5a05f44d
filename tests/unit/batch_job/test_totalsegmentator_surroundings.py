"""What TotalSegmentator finds around it: a home of the run's own, a licence, no statistics for its maker."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from batch_job.engines.totalsegmentator.surroundings import (
    check_licence,
    licence,
    surroundings,
    weights_folder,
)
from batch_job.errors import NotSetUp

NUMBER = "aca_12345678901234"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual home folder of TotalSegmentator, empty."""
    folder = tmp_path / "usual"
    folder.mkdir()
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(folder))
    for name in ("TOTALSEG_WEIGHTS_PATH", "IRIS_TOTALSEG_LICENSE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_run_has_a_home_of_its_own_that_sends_no_statistics(home: Path, scratch: Path) -> None:
    (home / "config.json").write_text(json.dumps({"send_usage_stats": True, "license_number": NUMBER}))
    with surroundings(scratch, 3):
        own = Path(os.environ["TOTALSEG_HOME_DIR"])
        assert own.is_relative_to(scratch)
        config = json.loads((own / "config.json").read_bytes())
        assert config["send_usage_stats"] is False
        assert config["license_number"] == NUMBER
        assert Path(tempfile.mkdtemp()).is_relative_to(scratch)
        assert os.environ["TOTALSEG_WEIGHTS_PATH"] == str(home / "nnunet" / "results")
        variables = dict(os.environ)
        assert variables["nnUNet_results"] == variables["TOTALSEG_WEIGHTS_PATH"]
        assert variables["OMP_NUM_THREADS"] == variables["nnUNet_def_n_proc"] == "3"


def test_run_leaves_the_environment_as_it_was(scratch: Path) -> None:
    before, temporary = dict(os.environ), tempfile.gettempdir()
    with pytest.raises(ZeroDivisionError), surroundings(scratch, 3):
        _ = 1 / 0
    assert dict(os.environ) == before
    assert tempfile.gettempdir() == temporary


def test_weights_lie_where_the_variable_says_else_in_the_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_folder() == home / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", "/weights")
    assert weights_folder() == Path("/weights")
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH")
    monkeypatch.delenv("TOTALSEG_HOME_DIR")
    assert weights_folder() == Path.home() / ".totalsegmentator" / "nnunet" / "results"


def test_licence_is_found_in_the_variable_and_in_the_configuration(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert licence() == ""
    (home / "config.json").write_text("not JSON")
    assert licence() == ""
    (home / "config.json").write_text(json.dumps({"license_number": NUMBER}))
    assert licence() == NUMBER
    check_licence("face")
    monkeypatch.setenv("IRIS_TOTALSEG_LICENSE", "aca_99999999999999")
    assert licence() == "aca_99999999999999"


@pytest.mark.parametrize(("number", "said"), [("", "which is missing"), ("aca_1", "of another form")])
def test_licence_that_does_not_do_is_refused_with_the_way_to_one(
    monkeypatch: pytest.MonkeyPatch, number: str, said: str
) -> None:
    monkeypatch.setenv("IRIS_TOTALSEG_LICENSE", number)
    with pytest.raises(
        NotSetUp, match=rf"the task face needs a licence.*{said}.*totalseg_set_license"
    ) as raised:
        check_licence("face")
    assert number == "" or number not in str(raised.value)
