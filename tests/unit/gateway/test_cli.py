"""How the command line tells what went wrong, and what it loads for that."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.checks import Check, Verdict
from gateway.commands.console import EXPECTED_ERRORS, say_checks

ATTEMPT = """
import sys
from gateway.cli import app
sys.argv = ["iris", *sys.argv[1:]]
try:
    app()
except SystemExit as end:
    print(end.code, "numpy" in sys.modules or "pydicom" in sys.modules)
"""


@pytest.mark.parametrize(("room", "name"), EXPECTED_ERRORS)
def test_error_that_is_expected_exists(room: str, name: str) -> None:
    assert issubclass(getattr(importlib.import_module(room), name), Exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["study", "1.2.3"], "iris serve"), (["serve", "--config", "iris.toml"], "site.colour")],
    ids=["no-gateway", "mistake-in-the-configuration"],
)
def test_command_that_fails_at_once_loads_no_images_for_that(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "iris.toml").write_text("[site]\ncolour = 'red'\n")
    result = subprocess.run(
        [sys.executable, "-c", ATTEMPT, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stdout == "1 False\n", result.stderr
    assert says in result.stderr


def test_command_line_and_converter_load_no_configuration() -> None:
    loaded = "print({'pydantic', 'pydantic_settings', 'httpx'} & set(sys.modules) or 'none')"
    program = f"import sys, gateway.cli, converter.library, gateway.config.outputs; {loaded}"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout == "none\n", result.stderr


def test_table_of_checks_breaks_a_uid_that_is_too_long_and_cuts_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    uid = "2.25." + "1234567890" * 7
    say_checks([Check("destination pacs", Verdict.OK, uid, "")], as_json=False)
    assert uid in "".join(capsys.readouterr().out.split())
