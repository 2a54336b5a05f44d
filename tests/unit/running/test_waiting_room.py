"""Markers of runs that wait: in the order in which they are to be done, in a group of who may take them."""

from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import RunWanted
from gateway.adapters.errors import Away
from gateway.adapters.folder import FolderStore
from gateway.config.sections import Queue
from gateway.ledger.records import JobRow
from gateway.running.waiting_room import WaitingRoom

QUEUE: dict[str, Any] = {
    "backend": "batch",
    "job_queue": "ordinary",
    "job_definition": "total",
    "urgent": {"job_queue": "fast", "priority": 5},
    "fallback": {"job_queue": "cpu", "job_definition": "cpu-total"},
}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "bucket")


def room(store: FolderStore, site: str = "north", **queue: Any) -> WaitingRoom:
    return WaitingRoom(store, site, Queue(**{**QUEUE, **queue}))


def like(job: JobRow, key: str, priority: int = 0, minute: int = 0, lane: str = "main") -> JobRow:
    created_at = f"2026-11-30T12:{minute:02d}:00.000000Z"
    given = {"job_key": key, "priority": priority, "created_at": created_at, "lane": lane}
    return job.model_copy(update=given)


def markers(store: FolderStore) -> list[Path]:
    return sorted(path for path in (store.root / "waiting").rglob("*") if path.is_file())


def test_markers_are_in_the_order_of_priority_and_then_of_age(site: Any, store: FolderStore) -> None:
    for key, priority, minute in (("c", 0, 1), ("b", 0, 0), ("a", 3, 9), ("d", -2, 2)):
        room(store).enter(like(site.job(), key, priority, minute), run=1)
    wanted = [RunWanted.from_json(path.read_bytes()) for path in markers(store)]
    assert [each.address for each in wanted] == [store.address(f"jobs/{key}/") for key in "abcd"]


def test_marker_of_a_run_goes_when_that_run_leaves_and_no_other(site: Any, store: FolderStore) -> None:
    job = site.job()
    for run in (1, 2):
        room(store).enter(job, run)
    room(store).leave(job, 1)
    assert [RunWanted.from_json(path.read_bytes()).run for path in markers(store)] == [2]
    room(store).leave(job, 1)  # again: it is not there


def test_runs_of_other_sites_queues_and_definitions_are_in_other_groups(
    site: Any, store: FolderStore
) -> None:
    ordinary = like(site.job(), "a")
    groups = {
        room(store).addresses(ordinary),
        room(store, "south").addresses(ordinary),
        room(store, job_definition="total:2").addresses(ordinary),
        room(store, job_queue="other").addresses(ordinary),
        room(store).addresses(like(ordinary, "a", lane="fallback")),
        room(store).addresses(like(ordinary, "a", priority=5)),
    }
    assert len(groups) == 6


def test_ordinary_runs_take_urgent_ones_first_and_urgent_ones_no_others(
    site: Any, store: FolderStore
) -> None:
    ordinary, urgent = like(site.job(), "a", 4), like(site.job(), "b", 5)
    (ahead, own), (alone,) = (room(store).addresses(job).split() for job in (ordinary, urgent))
    assert ahead == alone
    room(store).enter(ordinary, 1)
    room(store).enter(urgent, 1)
    assert {str(path.parent) + "/" for path in markers(store)} == {own, alone}
    assert len(room(store, urgent={}).addresses(ordinary).split()) == 1


def test_run_that_cannot_be_marked_is_done_by_its_own_job(
    site: Any, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Away("S3 does not answer")

    monkeypatch.setattr(FolderStore, "put", away)
    room(store).enter(site.job(), 1)
    assert not (store.root / "waiting").exists()
