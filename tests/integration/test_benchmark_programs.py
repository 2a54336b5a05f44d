"""The programs that benchmarks start: ready while they are measured, ended afterwards."""

import json
import sys
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest

from benchmarks.ports import is_open
from benchmarks.programs import ProgramFailed, gateway_command, running


def test_gateway_that_is_measured_is_ready_and_ended(tmp_path: Path, free_port) -> None:  # type: ignore[no-untyped-def]
    port, address = free_port(), tmp_path / "data" / "api-address"
    command = gateway_command(tmp_path / "data", port)
    with running(command, tmp_path / "said", address.exists) as process:
        assert is_open(port)
        with urlopen(f"{address.read_text().strip()}/readyz") as answer:
            assert json.load(answer)["ready"]
    assert process.returncode == 0
    assert not is_open(port)


def test_program_that_ends_before_it_is_ready_is_told_with_its_last_line(tmp_path: Path) -> None:
    said = "print('one'); raise SystemExit('the port is taken')"
    with (
        pytest.raises(ProgramFailed, match=r"^the port is taken$"),
        running([sys.executable, "-c", said], tmp_path / "said", partial(is_open, 1)),
    ):
        raise AssertionError("it is not ready")
