"""The gateway as a process on a ledger that is damaged: a sentence and the way out, never a traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.dicom.peer import NotReached, parse_peer
from gateway.delivery.sending import send_files
from gateway.files.names import LEDGER_NAME
from gateway.ledger.store import Ledger
from tests.damage import PAGE, overwrite_page, page_in_the_middle, root_page, settle

LINES = 3000


def _ledger_in(data_dir: Path) -> Path:
    """A ledger with a long timeline; its file."""
    data_dir.mkdir(parents=True)
    path = data_dir / LEDGER_NAME
    with Ledger(path) as ledger, ledger.transaction() as transaction:
        for number in range(LINES):
            transaction.note("association.released", sender=f"PACS {number}")
    settle(path)
    return path


def _header_of_an_archive(path: Path) -> None:
    overwrite_page(path, 1, b"PK\3\4" + b"x" * 96)


def _first_page(path: Path) -> None:
    overwrite_page(path, 1)


def _cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _root_of_jobs(path: Path) -> None:
    overwrite_page(path, root_page(path, "jobs"))


def _noise_over_studies(path: Path) -> None:
    overwrite_page(path, root_page(path, "studies"), bytes(range(256)) * (PAGE // 256))


def _something_else(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50_000)


@pytest.mark.parametrize(
    "damage",
    [
        _header_of_an_archive,
        _first_page,
        _cut_in_half,
        _root_of_jobs,
        _noise_over_studies,
        _something_else,
    ],
)
def test_serve_on_a_damaged_ledger_ends_with_a_sentence_and_the_way_out(
    make_world: Callable[..., Any], damage: Callable[[Path], None]
) -> None:
    world = make_world()
    path = _ledger_in(world.data_dir)
    damage(path)
    world.start()
    assert world.stop() == 1
    said = world.log.read_text()
    assert "Traceback" not in said
    (sentence,) = [line for line in said.splitlines() if line.startswith("iris: ")]
    assert "iris ledger check" in sentence
    assert "iris ledger rebuild" in sentence


def test_gateway_whose_ledger_is_damaged_somewhere_is_not_ready_and_takes_nothing(
    make_world: Callable[..., Any],
    write_study: Callable[..., str],
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    world = make_world()
    path = _ledger_in(world.data_dir)
    overwrite_page(path, page_in_the_middle(path, "events"))
    world.start()
    address = (world.data_dir / "api-address").read_text().strip()

    def look() -> httpx.Response:
        return httpx.get(f"{address}/readyz", trust_env=False)

    eventually(lambda: look().status_code == 503)
    (reason,) = look().json()["reasons"]
    assert "iris ledger rebuild" in reason
    write_study(tmp_path / "study")
    peer = parse_peer((world.data_dir / "dicom-address").read_text().strip())
    with pytest.raises(NotReached, match="reject"):
        send_files(sorted((tmp_path / "study").iterdir()), peer, "SENDER")
    assert world.stop() == 0
    assert not list((world.data_dir / "instances").rglob("*.dcm"))
    assert "Traceback" not in world.log.read_text()
