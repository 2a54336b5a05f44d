"""`iris priority` and `iris reprocess`: what a person writes, and what the gateway is asked for."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.cli import app
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger.completion import PlannedJob
from gateway.ledger.records import JobRow
from gateway.ledger.slots import slot_beside

Iris = Callable[..., Result]


@pytest.fixture
def iris(world, tmp_path: Path) -> Iterator[Iris]:
    """Run a command at this world's gateway, whose engine can do everything."""

    def another(job: JobRow, task: str, options: Mapping[str, Any]) -> PlannedJob:
        slot = slot_beside(job.slot, task)
        return PlannedJob.like(
            job, job_key="e" * 64, instance_uids=(), slot=slot, task=task, options=dict(options)
        )

    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{data_dir}"\n')
    server = world.serve(Access(None), LedgerActions(world.ledger, another_task=another))
    server.start()
    host, port = server.address
    (data_dir / API_ADDRESS_NAME).write_text(f"http://{host}:{port}\n")
    config = str(tmp_path / "iris.toml")
    yield lambda *words: CliRunner().invoke(app, [words[0], "--config", config, *words[1:]])
    server.stop()


@pytest.mark.parametrize(
    ("words", "priority", "says"),
    [
        ((), 1, "it comes before all others that wait"),
        (("7",), 7, "its priority is 7"),
        (("--", "-5"), -5, "its priority is -5"),
    ],
)
def test_priority_is_set_by_number_or_before_all_others(
    world, iris: Iris, words: tuple[str, ...], priority: int, says: str
) -> None:
    world.job(world.study(1))
    job_key = world.job(world.study(2))
    first, *rest = words or ("",)
    given = (job_key, *words) if first != "--" else ("--", job_key, *rest)
    result = iris("priority", *given)
    assert (result.exit_code, result.stderr, result.stdout.strip()) == (0, "", says)
    [row] = world.ledger.read("SELECT priority FROM jobs WHERE job_key = ?", (job_key,))
    assert row["priority"] == priority


def test_another_task_is_asked_for_with_options_of_their_kinds(world, iris: Iris) -> None:
    job_key = world.job(world.study())
    options = ("--option", "fast=true", "--option", 'roi_subset=["liver"]', "--option", "name=a text")
    result = iris("reprocess", job_key, "--task", "total", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.strip() == "the job of the task total is eeeeeeeeeeeeeeee, planned"
    [row] = world.ledger.read("SELECT options FROM jobs WHERE job_key = ?", ("e" * 64,))
    assert json.loads(row["options"]) == {"fast": True, "roi_subset": ["liver"], "name": "a text"}


def test_option_without_a_value_is_wrong_usage(world, iris: Iris) -> None:
    job_key = world.job(world.study())
    result = iris("reprocess", job_key, "--task", "total", "--option", "fast")
    assert result.exit_code == 2
    assert 'has no "="' in result.stderr
