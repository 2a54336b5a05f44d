"""Turns: so many runs begin in an hour, the most urgent first; what waits says so, and may go first."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.queue import Lane
from gateway.ledger.completion import PlannedJob, plan_job
from gateway.ledger.records import JobRow, utc_text
from gateway.ledger.runs import begin_run, end_run, written_run
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import cancel, retry
from gateway.ledger.work import job as job_of
from gateway.running.turns import HOUR_S, SubmitInTurn, Turns
from gateway.workers.waits import Waits
from tests.one_job import DEADLINE_S, JOB_KEY, SERIES_UID, STUDY_UID, site_in

URGENT = 1


class Clocks:
    """Both clocks of a machine; the ledger's times are those of the real one."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.passed_s = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s + self.passed_s)

    def monotonic(self) -> float:
        return time.monotonic() + self.passed_s


class Gateway:
    """The step submit of a gateway that lets so many runs begin in an hour; each is written down, no more."""

    def __init__(self, site: Any, clocks: Clocks, per_hour: int = 2) -> None:
        self.site, self.clocks, self.begun = site, clocks, list[str]()
        self.turns = Turns(site.ledger, per_hour, URGENT, Waits(clocks.monotonic, clocks.now))
        self.step = SubmitInTurn(self._begin, site.ledger, site.bus, self.turns)

    def _begin(self, job: JobRow) -> None:
        with self.site.ledger.transaction() as transaction:
            transaction.move_job(job.job_key, JobEvent.SUBMITTED, columns={"run": job.run + 1})
            begin_run(transaction, job.job_key, job.run + 1, Lane.MAIN)
            run = written_run(transaction, job, job.run + 1)
            transaction.update("runs", "id", run.id, {"submitted_at": utc_text(self.clocks.now())})
        self.begun.append(job.job_key[0])

    def look(self) -> float | None:
        """Let the worker take what may be taken now; the seconds until it looks again."""
        return self.step.work()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def gateway(site: Any, clocks: Clocks) -> Gateway:
    site.move(JobEvent.STAGED)
    return Gateway(site, clocks)


def stage(ledger: Ledger, letter: str, priority: int = 0) -> str:
    """One more staged job."""
    key = letter * 64
    images, slot = ("1.2.3.4.5",), f"slot {letter}"
    planned = PlannedJob(
        key, SERIES_UID, slot, "ct", "tissue", {}, "threshold", priority, images, (), ("seg",), "h"
    )
    with ledger.transaction() as transaction:
        plan_job(transaction, STUDY_UID, planned)
    with ledger.transaction() as transaction:
        transaction.move_job(key, JobEvent.STAGED)
    return key


def known(ledger: Ledger, key: str) -> JobRow:
    job = job_of(ledger, key)
    assert job is not None
    return job


def test_turns_are_given_to_the_most_urgent_and_the_rest_says_that_it_waits(
    site: Any, gateway: Gateway
) -> None:
    for letter, priority in (("b", -7), ("c", 0), ("d", -5)):
        stage(site.ledger, letter, priority)

    left_s = gateway.look()

    assert gateway.begun == ["a", "c"]
    assert left_s is not None
    assert HOUR_S - DEADLINE_S < left_s <= HOUR_S
    for letter in ("b", "d"):
        job = known(site.ledger, letter * 64)
        assert job.state is JobState.STAGED
        assert "2 runs begin in an hour (queue.max_jobs_per_hour)" in job.reason
        assert job.not_before is not None
    assert gateway.step.complaint() == ""
    (study,) = site.ledger.read("SELECT state, reason FROM studies")
    assert study["state"] == "processing"
    assert "it waits for its turn" in study["reason"]

    gateway.clocks.passed_s = HOUR_S
    gateway.look()

    assert gateway.begun == ["a", "c", "d", "b"]


def test_urgent_job_waits_for_no_turn_and_takes_none(site: Any, gateway: Gateway) -> None:
    stage(site.ledger, "b", URGENT)
    stage(site.ledger, "c")
    gateway.look()
    assert gateway.begun == ["b", "a", "c"]

    stage(site.ledger, "d")
    stage(site.ledger, "e", URGENT)
    gateway.look()
    assert gateway.begun[3:] == ["e"]


def test_job_that_is_tried_now_goes_before_its_turn_and_one_that_is_cancelled_never(
    site: Any, gateway: Gateway
) -> None:
    keys = [stage(site.ledger, letter) for letter in "bcde"]
    gateway.look()
    with site.ledger.transaction() as transaction:
        retry(transaction, keys[3])
        cancel(transaction, keys[2])

    again = Gateway(site, gateway.clocks)  # also where the gateway was restarted meanwhile
    again.look()
    assert again.begun == ["e"]

    again.clocks.passed_s = HOUR_S
    again.look()
    assert again.begun == ["e", "c"]  # e took a turn, too


def test_turns_that_were_taken_are_known_after_a_restart(tmp_path: Path, clocks: Clocks) -> None:
    with site_in(tmp_path) as site:
        site.move(JobEvent.STAGED)
        stage(site.ledger, "b")
        stage(site.ledger, "c")
        Gateway(site, clocks).look()
        after = Gateway(site, clocks)
        after.look()
        assert after.begun == []

        clocks.ahead_s = clocks.passed_s = 0.5 * HOUR_S
        much_later = Gateway(site, clocks)
        much_later.look()
        assert much_later.begun == ["c"]


@pytest.mark.parametrize(("per_hour", "let_through"), [(0, ["b", "c"]), (2, ["b"])])
def test_limit_that_is_another_after_a_restart_counts_for_what_waits_already(
    site: Any, gateway: Gateway, per_hour: int, let_through: list[str]
) -> None:
    strict = Gateway(site, gateway.clocks, 1)
    keys = [stage(site.ledger, letter) for letter in "bc"]
    strict.look()
    assert strict.begun == ["a"]

    again = Gateway(site, gateway.clocks, per_hour)
    again.look()

    assert again.begun == let_through
    assert all("1 run begins in an hour" not in known(site.ledger, key).reason for key in keys)


@pytest.mark.parametrize("jump_s", [-24 * HOUR_S, 24 * HOUR_S])
def test_clock_that_is_set_neither_gives_a_turn_nor_keeps_it_for_longer_than_an_hour(
    site: Any, gateway: Gateway, jump_s: float
) -> None:
    for letter in "bcde":
        stage(site.ledger, letter)
    gateway.look()
    gateway.clocks.ahead_s = jump_s
    gateway.look()
    assert gateway.begun == ["a", "b"]

    gateway.clocks.passed_s = HOUR_S
    gateway.look()
    assert gateway.begun == ["a", "b", "c", "d"]


def test_run_that_the_queue_could_not_be_reached_for_takes_no_turn(site: Any, gateway: Gateway) -> None:
    for letter in "bcd":
        stage(site.ledger, letter)
    gateway.look()
    with site.ledger.transaction() as transaction:
        end_run(transaction, JOB_KEY, 1, sentence="AWS cannot be reached", lost_on="outside")
    gateway.look()
    assert gateway.begun == ["a", "b", "c"]


def test_next_try_of_what_waits_is_moved_on_with_each_turn(site: Any, gateway: Gateway) -> None:
    keys = [stage(site.ledger, letter) for letter in "bcd"]
    gateway.look()
    with site.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", keys[2], {"not_before": "2026-01-01T00:00:00.000000Z"})
    gateway.look()
    assert str(known(site.ledger, keys[2]).not_before) > "2026-02"


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    gateway.step.start()
    yield gateway
    gateway.step.stop()


def test_worker_is_woken_by_whoever_tries_a_job_now(site: Any, running: Gateway) -> None:
    keys = [stage(site.ledger, letter) for letter in "bc"]
    deadline = time.monotonic() + DEADLINE_S
    while known(site.ledger, keys[1]).not_before is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    with site.ledger.transaction() as transaction:
        retry(transaction, keys[1])
    while known(site.ledger, keys[1]).state is not JobState.SUBMITTED:
        assert time.monotonic() < deadline
        time.sleep(0.005)
