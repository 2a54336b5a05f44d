"""`iris studies` and `iris quarantine`: what a person finds, with a gateway and without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.api.callers.access import TOKEN_NAME
from gateway.api.server import ApiServer
from gateway.cli import app
from gateway.commands import listing
from gateway.files.names import API_ADDRESS_NAME


@pytest.fixture(params=["running", "down"])
def iris(request: pytest.FixtureRequest, world, server: ApiServer, tmp_path: Path) -> Callable[..., Any]:
    if request.param == "running":
        (tmp_path / API_ADDRESS_NAME).write_text("http://{}:{}".format(*server.address))
        (tmp_path / TOKEN_NAME).write_text(request.getfixturevalue("token"))
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "iris.toml")])

    return run


def test_studies_are_listed_with_patient_and_accession_a_line_each(world, iris: Callable[..., Any]) -> None:
    world.study(1), world.study(2)
    header, first, second = iris("studies").stdout.splitlines()
    assert header.split() == [
        *["study", "patient", "accession", "state", "received", "where", "last", "step"]
    ]
    assert first.split()[:4] == ["1.2.826.0.1.2", "PID2", "ACC2", "receiving"]
    assert second.split()[:4] == ["1.2.826.0.1.1", "PID1", "ACC1", "receiving"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--q", "PID1"], ["1"]),
        (["--q", "ACC"], ["2", "1"]),
        (["--q", "key0002"], ["2"]),
        (["--q", "PID", "--state", "processing"], ["1"]),
        (["--since", "2000-01-01"], ["2", "1"]),
        (["--since", "2200-01-01"], []),
        (["--q", "nobody"], []),
    ],
)
def test_studies_are_narrowed_down(
    world, iris: Callable[..., Any], words: list[str], found: list[str]
) -> None:
    world.job(world.study(1)), world.study(2)
    items = json.loads(iris("studies", "--json", *words).stdout)["items"]
    assert [item["study_uid"].rpartition(".")[2] for item in items] == found
    if not found:
        assert iris("studies", *words).stdout == "no study is like that\n"


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_time_outside_the_calendar_is_wrong_usage(iris: Callable[..., Any], year: str) -> None:
    answer = iris("studies", "--since", f"{year}-12-31")
    assert (answer.exit_code, "years 1900 to 9998" in answer.stderr) == (2, True)


def test_studies_watched_are_listed_again_when_something_changes(
    world, iris: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.study(1)
    looks = iter([lambda: None, lambda: world.study(2)])

    def sleep(seconds: float) -> None:
        change = next(looks, None)
        if change is None:
            raise KeyboardInterrupt
        change()

    monkeypatch.setattr(listing.time, "sleep", sleep)
    result = iris("studies", "--watch")
    monkeypatch.undo()
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        *("study", "1.2.826.0.1.1"),
        *("study", "1.2.826.0.1.2", "1.2.826.0.1.1"),
    ]
    assert iris("studies", "--watch", "--json").exit_code == 2


def test_quarantine_lists_held_jobs_and_objects_with_the_reason(world, iris: Callable[..., Any]) -> None:
    assert iris("quarantine").stdout == "nothing waits for a person\n"
    held = world.job(world.study(1), hold="One slice is missing.")
    world.refuse("object1")
    said = iris("quarantine").stdout.splitlines()
    assert said[0].split() == ["key", "reason", "since", "sender", "study", "why"]
    assert [line for line in said if line.startswith(held[:16]) and line.endswith("One slice is missing.")]
    assert [line for line in said if line.startswith("object1") and line.endswith("This is no DICOM object.")]
    items = json.loads(iris("quarantine", "--json").stdout)["items"]
    assert sorted(item["kind"] for item in items) == ["job", "object"]
