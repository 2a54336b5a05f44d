"""The unit of examples/systemd, looked at by systemd itself."""

import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "examples" / "systemd" / "iris-gateway.service"
PROGRAM = "/opt/iris/current/bin/iris"
MOST_EXPOSED = 15
"""In tenths of what systemd-analyze calls exposure; a service without any protection has 96."""

pytestmark = pytest.mark.peer("systemd")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_unit_has_no_key_that_systemd_does_not_know(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert PROGRAM in text
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(PROGRAM, sys.executable), encoding="utf-8")  # one that there is
    checked = analyze("verify", "--man=no", unit)
    assert (checked.returncode, UNIT.name in checked.stderr) == (0, False), checked.stderr


def test_unit_gives_the_gateway_little_of_the_machine() -> None:
    checked = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)
    assert checked.returncode == 0, checked.stdout
