"""`iris use STUDY --volume N` names a volume as a person does, and tells the gateway which one that is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.api.callers.access import Access
from gateway.cli import app
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger.choices import choices_of

UID = "1.2.826.0.1.1"
Use = Callable[[str], Result]


@pytest.fixture
def use(world, tmp_path: Path) -> Iterator[Use]:
    """Run the command for the study of this world, whose gateway answers."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{data_dir}"\n')
    server = world.serve(Access(None))
    server.start()
    host, port = server.address
    (data_dir / API_ADDRESS_NAME).write_text(f"http://{host}:{port}\n")
    config = str(tmp_path / "iris.toml")
    yield lambda volume: CliRunner().invoke(app, ["use", UID, "--volume", volume, "--config", config])
    server.stop()


@pytest.fixture
def chosen(world) -> Callable[[], list[tuple[str, int]]]:
    """A complete study with two volumes in series 2, and what was chosen of it."""
    world.job(world.study())
    with world.ledger.transaction() as transaction:
        transaction.execute("UPDATE volumes SET can_be_used = 1")
        transaction.execute(
            "INSERT INTO volumes (study_uid, series_uid, number, images, why) VALUES (?, ?, 2, 5, '')",
            (UID, f"{UID}.1"),
        )
    return lambda: [(choice.series_uid, choice.number) for choice in choices_of(world.ledger, UID)]


@pytest.mark.parametrize(("volume", "number"), [("2", 1), ("2.2", 2), (f"{UID}.1", 1), (f"{UID}.1#2", 2)])
def test_volume_is_named_by_series_number_or_uid(
    use: Use, chosen: Callable[[], list[tuple[str, int]]], volume: str, number: int
) -> None:
    result = use(volume)
    assert (result.exit_code, result.stderr) == (0, "")
    assert chosen() == [(f"{UID}.1", number)]


@pytest.mark.parametrize(("volume", "says"), [("7", "no series 7; it has 2"), ("2.3", "has no such volume")])
def test_volume_that_is_not_there_is_refused_in_one_line(
    use: Use, chosen: Callable[[], list[tuple[str, int]]], volume: str, says: str
) -> None:
    result = use(volume)
    assert (result.exit_code, says in result.stderr) == (1, True)
    assert result.stderr.count("\n") == 1
    assert chosen() == []


def test_series_number_that_two_series_have_is_refused_with_their_uids(
    use: Use, chosen: Callable[[], list[tuple[str, int]]], world
) -> None:
    with world.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET series_uid = '1.2.9' WHERE sop_instance_uid LIKE '%.1.2'")
    result = use("2")
    assert result.exit_code == 1
    assert f"{UID}.1" in result.stderr
    assert "1.2.9" in result.stderr
    assert use("1.2.9").exit_code == 1  # it has no volume
    assert use(f"{UID}.1").exit_code == 0
    assert chosen() == [(f"{UID}.1", 1)]
