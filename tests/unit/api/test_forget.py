"""`iris forget STUDY` and what the API says of a study that was removed, in part or whole."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.adapters.folder import FolderStore
from gateway.api.callers.access import Access
from gateway.cli import app
from gateway.config import Retention as Settings
from gateway.files.locks import DataLocks
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger.erasing import studies_to_forget
from gateway.retention.remover import Remover
from gateway.retention.worker import Retention

UID = "1.2.826.0.1.1"
Forget = Callable[..., Result]


@pytest.fixture
def forget(world, tmp_path: Path) -> Iterator[Forget]:
    """Run the command for the study of this world, whose gateway answers."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{data_dir}"\n')
    server = world.serve(Access(None))
    server.start()
    host, port = server.address
    (data_dir / API_ADDRESS_NAME).write_text(f"http://{host}:{port}\n")
    config = str(tmp_path / "iris.toml")
    yield lambda *given, says="": CliRunner().invoke(app, ["forget", *given, "--config", config], input=says)
    server.stop()


@pytest.fixture
def retention(world, tmp_path: Path) -> Iterator[Retention]:
    """The worker of this world's gateway; started where something is to be forgotten."""
    remover = Remover(world.ledger, tmp_path, FolderStore(tmp_path / "objects"), DataLocks())
    worker = Retention(Settings(), world.ledger, world.bus, remover, tmp_path, is_busy=lambda _: False)
    yield worker
    worker.stop()


def test_study_is_forgotten_when_its_person_says_yes(world, forget: Forget, retention: Retention) -> None:
    world.job(world.study())
    retention.start()
    result = forget(UID, says="y\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "This cannot be undone" in result.stdout
    assert result.stdout.endswith("it is forgotten\n")
    assert world.ledger.read("SELECT * FROM studies") == []


def test_study_is_forgotten_without_a_question_with_yes(world, forget: Forget, retention: Retention) -> None:
    world.study()
    retention.start()
    assert forget(UID, "--yes").exit_code == 0
    assert world.ledger.read("SELECT * FROM studies") == []


@pytest.mark.parametrize("says", ["n\n", ""])
def test_study_is_not_forgotten_without_a_yes(world, forget: Forget, says: str) -> None:
    world.study()
    assert forget(UID, says=says).exit_code == 1
    assert studies_to_forget(world.ledger) == []


def test_study_that_is_not_known_is_refused_in_one_line(world, forget: Forget) -> None:
    world.study()
    result = forget("1.2.3", "--yes")
    assert (result.exit_code, result.stderr) == (1, "iris: there is no such study\n")


def test_study_that_still_runs_is_forgotten_later_and_the_command_says_so(
    world, forget: Forget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.commands.studies.WAIT_FOR_FORGOTTEN_S", 0.1)
    world.study()
    result = forget(UID, "--yes")  # nobody removes it here
    assert result.exit_code == 0
    assert result.stdout.endswith("it is forgotten as soon as what runs of it has ended\n")
    assert studies_to_forget(world.ledger) == [UID]


def test_study_whose_images_and_results_were_removed_says_so(world, client) -> None:
    key = world.job(world.study())
    shown = client.get("/api/v1/studies/key0001").json()
    assert (shown["images_removed"], shown["results_removed"]) == (None, None)
    with world.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET images_removed_at = '2026-11-30T10:00:00.000000Z'")
        transaction.execute("UPDATE jobs SET results_removed_at = '2026-12-01T10:00:00.000000Z'")
    for shown in (
        client.get("/api/v1/studies/key0001").json(),
        client.get("/api/v1/studies").json()["items"][0],
    ):
        assert shown["images_removed"] == "2026-11-30T10:00:00.000000Z"
        assert shown["results_removed"] == "2026-12-01T10:00:00.000000Z"
    answer = client.get(f"/api/v1/jobs/{key}/labels.nii.gz")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "this job's results were removed here on 2026-12-01"
