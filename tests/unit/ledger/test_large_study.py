"""A study of 5,000 images holds the ledger for no longer than instances of other studies can wait.

`pytest -s tests/unit/ledger/test_large_study.py` prints how long each kind of transaction held it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study
from gateway.ledger.erasing import request_forget
from gateway.ledger.instances import association_closed, store_instance
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import Transaction
from tests.place import Place, open_place

IMAGES, SERIES, ASSOCIATIONS = 5_000, 4, 2_000
MOST_S = 0.5
"""Of processor time: it says the same while others use the machine, too."""
STUDY = "1.2.840.113619.2.55.3.604688119.971.1388570400.1"


@dataclass
class Held:
    """How long the longest transaction of one kind held the ledger."""

    cpu_s: float = 0.0
    wall_s: float = 0.0


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, Held]:
    """By the last thing that a transaction did; those of nothing but rows by ''."""
    held: dict[str, Held] = {}
    real = Ledger.transaction

    @contextmanager
    def measured(ledger: Ledger) -> Iterator[Transaction]:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        with real(ledger) as transaction:
            yield transaction
        cpu_s, wall_s = time.thread_time() - cpu_s, time.perf_counter() - wall_s
        longest = held.setdefault(next(reversed(transaction.transitions), ""), Held())
        longest.cpu_s, longest.wall_s = max(longest.cpu_s, cpu_s), max(longest.wall_s, wall_s)

    monkeypatch.setattr(Ledger, "transaction", measured)
    return held


@pytest.fixture
def place(tmp_path: Path, held: dict[str, Held]) -> Iterator[Place]:
    """The study is done, in a mirrored ledger."""
    place = open_place(tmp_path)
    with place.ledger.transaction() as transaction:
        transaction.execute("UPDATE mirror SET is_on = 1")
    _receive(place, 0, IMAGES - 1)
    with place.ledger.transaction() as transaction:  # a modality that opens one for every few images
        for _ in range(ASSOCIATIONS):
            association_closed(transaction, [STUDY], released=True, sender="CT")
    held.clear()
    _receive(place, IMAGES - 1, IMAGES)
    plan = _plan(place)
    with place.ledger.transaction() as transaction:
        complete_study(transaction, plan, evidence="released")
    for job in plan.jobs:
        place.move(job.job_key, JobEvent.SEGMENTED, JobEvent.FOUND_NOTHING)
    yield place
    place.ledger.close()


def _receive(place: Place, first: int, last: int) -> None:
    """Images with names as long as real ones; all in one transaction, to be quick."""
    with place.ledger.transaction() as transaction:
        for number in range(first, last):
            arrived = place.arrived(
                STUDY,
                number,
                series_uid=f"{STUDY}.{number * SERIES // IMAGES}",
                sop_instance_uid=f"{STUDY}.1.{number:06}",
                path=f"instances/{'a' * 32}/{number * 2654435761 % 2**32:032x}-{number:016x}.dcm",
                header_sha256=f"{number:064x}",
            )
            store_instance(transaction, arrived, 1)


def _plan(place: Place) -> StudyPlan:
    """One volume of all images, and one of each series."""
    names = [f"{STUDY}.1.{number:06}" for number in range(IMAGES)]
    parts = [names, *(names[number::SERIES] for number in range(SERIES))]
    jobs = tuple(
        PlannedJob(
            f"{number:064x}", f"{STUDY}.{number}", f"{STUDY}.{number}#1#total", "ct", "total", {},
            "threshold", 0, tuple(part), ("pacs",), ("seg",), "h" * 64,
        )
        for number, part in enumerate(parts)
    )  # fmt: skip
    volumes = tuple(
        DecidedVolume(job.series_uid, 1, len(job.instance_uids), job.job_key, "taken by rule ct")
        for job in jobs
    )
    return StudyPlan(STUDY, place.study(STUDY).generation, jobs, volumes)


def test_study_of_5000_images_is_planned_and_removed_without_holding_the_ledger_long(
    place: Place, held: dict[str, Held]
) -> None:
    place.age(STUDY, days=2)
    place.look(images_days=1, results_days=1)
    assert place.study(STUDY).images_removed_at is not None
    _require_that_others_wait_shortly(
        held, "study.completed", "study.images_removed", "study.results_removed", "removals.file_gone"
    )


def test_study_of_5000_images_is_forgotten_without_holding_the_ledger_long(
    place: Place, held: dict[str, Held]
) -> None:
    with place.ledger.transaction() as transaction:
        request_forget(transaction, STUDY)
    place.look()
    assert place.ledger.read("SELECT * FROM studies") == []
    _require_that_others_wait_shortly(held, "study.forget_requested", "study.erased")


def _require_that_others_wait_shortly(held: dict[str, Held], *expected: str) -> None:
    for name, longest in sorted(held.items()):
        print(f"{name:28} {1000 * longest.cpu_s:6.0f} ms CPU {1000 * longest.wall_s:6.0f} ms")
    assert held.keys() >= set(expected)
    assert {name: of.cpu_s for name, of in held.items() if of.cpu_s > MOST_S} == {}
