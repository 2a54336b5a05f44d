"""The mirror as a part of the gateway: wired by the configuration, seen in readiness, rebuilt by command."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.app import App
from gateway.backends.aws import the_session
from gateway.config import Config, ConfigError, load_config
from gateway.events import Bus
from gateway.ledger.store import Ledger
from gateway.mirror.backend import mirror_worker
from tests.mirrored_ledger import MirroredLedger, items_in, make_table
from tests.quick_start import IRIS, quick_python

Iris = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def table(moto_server: str, aws_environment: dict[str, str]) -> str:
    return make_table(moto_server)


@pytest.fixture
def config_file(tmp_path: Path, moto_server: str, table: str) -> Path:
    path = tmp_path / "iris.toml"
    path.write_text(
        f'[site]\nname = "test"\ndata_dir = "{tmp_path}/data"\nlow_water_mb = 0\n'
        f'[mirror]\nbackend = "dynamodb"\ntable = "{table}"\n[aws]\nendpoint_url = "{moto_server}"\n'
        "[dicom]\nport = 0\n[api]\nport = 0\n"
    )
    return path


@pytest.fixture
def filled(tmp_path: Path, moto_server: str, table: str) -> Iterator[MirroredLedger]:
    """The ledger of a gateway that is not running, with two studies that were never mirrored."""
    (tmp_path / "data").mkdir()
    ledger = MirroredLedger(tmp_path / "data" / "ledger.sqlite", moto_server, table)
    ledger.open(is_on=False)
    for number in (1, 2):
        ledger.job(ledger.study(number))
    ledger.close()
    yield ledger
    ledger.close()


@pytest.fixture
def iris(tmp_path: Path, aws_environment: dict[str, str]) -> Iris:
    """Run the command."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [quick_python(IRIS), "-m", "gateway.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            timeout=120,
            check=False,
        )

    return run


def test_gateway_with_a_mirror_fills_it_with_what_was_there_before(
    config_file: Path, filled: MirroredLedger, table: str, moto_server: str
) -> None:
    config = load_config(config_file)
    with Ledger(filled.path) as ledger:
        worker = mirror_worker(config, ledger, Bus())
        assert worker is not None
        worker.work()
        items = items_in(moto_server, table)
        events = ledger.read("SELECT count(*) AS number FROM events")[0]["number"]
    assert len(items) == events + 4
    details = [item.get("details") for item in items.values() if item.get("event") == "job.planned"]
    assert details == [{"rule": "ct", "task": "tissue"}] * 2


def test_readiness_is_degraded_while_the_mirror_lags_by_minutes(config_file: Path) -> None:
    gateway = App(load_config(config_file))
    try:
        assert gateway.readiness().degraded == ()
        with gateway._ledger.transaction() as transaction:
            transaction.execute(
                "INSERT INTO mirror_outbox (study_uid, kind, key, due_at)"
                " VALUES ('1', 'study', '1', '2026-01-01T00:00:00.000000Z')"
            )
        [sentence] = gateway.readiness().degraded
        assert sentence.startswith("mirror: 1 changes wait, the oldest for ")
    finally:
        gateway._ledger.close()


def test_gateway_without_boto3_is_refused_with_the_command_that_installs_it(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(config_file)
    the_session.cache_clear()
    for name in ("gateway.adapters.aws.dynamodb", "gateway.adapters.aws.session", "boto3"):
        monkeypatch.setitem(sys.modules, name, None)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(ConfigError, match="needs boto3, which is not installed: pip install boto3"):
            mirror_worker(config, ledger, Bus())
        assert mirror_worker(Config(), ledger, Bus()) is None


def test_gateway_without_a_mirror_loads_no_boto3() -> None:
    code = "import sys, gateway.app, gateway.commands.mirror_rebuild; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_rebuild_of_a_stopped_gateway_writes_everything(
    iris: Iris, config_file: Path, filled: MirroredLedger, table: str, moto_server: str
) -> None:
    done = iris("mirror", "rebuild", "--config", config_file)
    assert (done.returncode, done.stderr) == (0, "")
    items = items_in(moto_server, table)
    assert done.stdout == f"{table} has everything: {len(items) - 1} items written\n"
    assert sum(sort == "STUDY" for _, sort in items) == 2


def test_rebuild_that_the_table_refuses_is_one_line_that_says_what_to_do(
    iris: Iris, config_file: Path, filled: MirroredLedger, table: str
) -> None:
    config_file.write_text(config_file.read_text().replace(table, "iris-elsewhere"))
    refused = iris("mirror", "rebuild", "--config", config_file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "does not find the table iris-elsewhere" in refused.stderr
    assert "are left, and stay due" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        ('[mirror]\nbackend = "none"\n', "mirror.backend is 'none'"),
        ('[mirror]\nbackend = "dynamodb"\ntable = "t"\n', "there is no ledger"),
    ],
)
def test_rebuild_of_nothing_is_refused_with_a_sentence(
    iris: Iris, tmp_path: Path, mirror: str, said: str
) -> None:
    config = tmp_path / "other.toml"
    config.write_text(mirror)
    refused = iris("mirror", "rebuild", "--config", config)
    assert refused.returncode == 1
    assert said in refused.stderr
