"""`iris ledger`, and what `iris serve` and `iris doctor` say where ledger or secret are not as they were."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.files.names import LEDGER_NAME
from gateway.files.site_secret import site_secret
from gateway.ledger.store import Ledger

Iris = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the commands find a ledger and its secret."""
    folder = tmp_path / "iris-data"
    folder.mkdir()
    with Ledger(folder / LEDGER_NAME) as ledger:
        site_secret(ledger, folder / "site-secret")
    return folder


@pytest.mark.parametrize("contents", [None, "f" * 64])
def test_serve_without_its_secret_is_refused_with_the_way_out(
    iris: Iris, data_dir: Path, contents: str | None
) -> None:
    secret = data_dir / "site-secret"
    secret.unlink()
    if contents:
        secret.write_text(contents)
    result = iris("serve")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("iris: ")]
    assert "iris ledger accept-secret" in line
    assert "Traceback" not in result.stderr
    assert secret.exists() == bool(contents)


def test_doctor_without_the_secret_says_to_put_it_back(iris: Iris, data_dir: Path) -> None:
    (data_dir / "site-secret").unlink()
    checks = {check["name"]: check for check in json.loads(iris("doctor", "--json").stdout)["items"]}
    assert checks["site secret"]["verdict"] == "failed"
    assert "backup" in checks["site secret"]["fix"]


def test_accept_secret_asks_first_and_then_goes_on_with_another(iris: Iris, data_dir: Path) -> None:
    (data_dir / "site-secret").unlink()
    assert iris("ledger", "accept-secret").returncode == 1
    assert not (data_dir / "site-secret").exists()
    accepted = iris("ledger", "accept-secret", "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert "keep a copy" in accepted.stdout
    with Ledger(data_dir / LEDGER_NAME) as ledger:
        site_secret(ledger, data_dir / "site-secret")


def test_check_of_a_ledger_that_is_whole_says_so(iris: Iris, data_dir: Path) -> None:
    result = iris("ledger", "check")
    assert result.returncode == 0, result.stderr
    assert "is whole" in result.stdout


def test_check_of_a_ledger_that_does_not_hold_says_what_to_do(iris: Iris, data_dir: Path) -> None:
    with Ledger(data_dir / LEDGER_NAME) as ledger, ledger.transaction() as transaction:
        transaction.execute("UPDATE counts SET number = 7 WHERE kind = 'instance'")
    result = iris("ledger", "check", "--json")
    assert result.returncode == 1
    failed = [check for check in json.loads(result.stdout)["items"] if check["verdict"] == "failed"]
    assert [check["name"] for check in failed] == ["figures"]
    assert "iris ledger rebuild" in failed[0]["fix"]


def test_check_without_a_ledger_says_to_start_the_gateway(iris: Iris) -> None:
    result = iris("ledger", "check")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "iris serve" in result.stderr


def test_backup_is_dated_and_lies_in_the_data_directory(iris: Iris, data_dir: Path) -> None:
    result = iris("ledger", "backup")
    assert result.returncode == 0, result.stderr
    (copy,) = (data_dir / "backups").iterdir()
    assert re.fullmatch(r"ledger-\d{8}T\d{6}Z\.sqlite", copy.name)
    assert copy.name in result.stdout
    with Ledger(copy, read_only=True) as ledger:
        assert ledger.read("SELECT * FROM studies") == []


def test_backup_of_a_gateway_that_runs_goes_where_it_is_told(
    iris: Iris, data_dir: Path, tmp_path: Path
) -> None:
    with Ledger(data_dir / LEDGER_NAME) as ledger:  # as a gateway holds it
        with ledger.transaction() as transaction:
            transaction.note("something")
        assert iris("ledger", "backup", "--out", tmp_path / "mine.sqlite").returncode == 0
    with Ledger(tmp_path / "mine.sqlite", read_only=True) as copy:
        assert [row["event"] for row in copy.read("SELECT event FROM events")] == ["something"]
    again = iris("ledger", "backup", "--out", tmp_path / "mine.sqlite")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "choose another name" in again.stderr


def test_backup_into_a_folder_that_is_not_there_is_refused(
    iris: Iris, data_dir: Path, tmp_path: Path
) -> None:
    """It may be a disk that is not mounted."""
    result = iris("ledger", "backup", "--out", tmp_path / "disk" / "mine.sqlite")
    assert (result.returncode, (tmp_path / "disk").exists()) == (1, False)
    assert "mount it" in result.stderr


def test_backup_without_a_ledger_says_where_to_look(iris: Iris) -> None:
    result = iris("ledger", "backup")
    assert result.returncode == 1
    assert "site.data_dir" in result.stderr
