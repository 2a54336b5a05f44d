"""A step's workers: what they take, what they try again, what they give up."""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from converter.errors import UnusableSeries
from gateway.adapters.errors import Away, Permanent, Retriable
from gateway.ledger.completion import PlannedJob, plan_job
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import put_off_job
from gateway.workers.attempts import Backoff, CannotGoOn, Policy, fault_of
from gateway.workers.pools import StepPool
from gateway.workers.steps import StepWorker
from tests.one_job import DEADLINE_S, SERIES_UID, STUDY_UID

QUICK = Policy(own=Backoff(0.01, 0.01), machine=Backoff(0.01, 0.02), outside=Backoff(0.01, 0.01))
"""Tries again as often as everywhere, but at once."""


@pytest.fixture(autouse=True)
def _tracebacks_are_not_drawn() -> Iterator[None]:
    """It takes seconds for each."""
    with capture_logs():
        yield


@pytest.fixture
def begin(site: Any) -> Iterator[Callable[..., StepWorker]]:
    """Start a worker for planned jobs that does this; its delays are short."""
    workers: list[StepWorker] = []

    def start(do: Callable[[JobRow], None], policy: Policy = QUICK) -> StepWorker:
        worker = StepWorker("convert", JobState.PLANNED, do, site.ledger, site.bus, policy=policy)
        worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def convert(site: Any) -> Callable[[JobRow], None]:
    def do(job: JobRow) -> None:
        with site.ledger.transaction() as transaction:
            transaction.move_job(job.job_key, JobEvent.CONVERTED, expect=JobState.PLANNED)

    return do


def test_worker_takes_the_job_that_an_earlier_process_left(site: Any, begin: Callable[..., None]) -> None:
    begin(convert(site))
    site.wait_for(lambda job: job.state is JobState.CONVERTED)


def test_worker_is_woken_by_a_job_that_comes_back_to_it(site: Any, begin: Callable[..., None]) -> None:
    begin(convert(site))
    site.wait_for(lambda job: job.state is JobState.CONVERTED)
    site.move(JobEvent.CANCELLED)
    site.move(JobEvent.REPLANNED)
    site.wait_for(lambda job: job.state is JobState.CONVERTED)


def raising_once(error: Exception, then: Callable[[JobRow], None]) -> Callable[[JobRow], None]:
    errors = [error]

    def do(job: JobRow) -> None:
        if errors:
            raise errors.pop()
        then(job)

    return do


@pytest.mark.parametrize(
    "error",
    [Retriable("the store is away"), OSError(28, "No space left on device"), MemoryError(), KeyError("x")],
)
def test_step_that_fails_once_is_tried_again(site: Any, begin: Callable[..., None], error: Exception) -> None:
    begin(raising_once(error, convert(site)))
    site.wait_for(lambda job: job.state is JobState.CONVERTED)


@pytest.mark.parametrize(
    "error", [CannotGoOn("its images are gone"), UnusableSeries("no"), Permanent("refused")]
)
def test_step_that_cannot_succeed_fails_the_job_at_once_and_says_why(
    site: Any, begin: Callable[..., None], error: Exception
) -> None:
    begin(raising_once(error, convert(site)))
    job = site.wait_for(lambda job: job.state is JobState.FAILED)
    assert job.reason == str(error)
    assert job.resume_state is JobState.PLANNED


def test_step_that_fails_again_and_again_fails_the_job(site: Any, begin: Callable[..., None]) -> None:
    calls: list[str] = []

    def do(job: JobRow) -> None:
        calls.append(job.job_key)
        raise Retriable("the store is away")

    begin(do)
    site.wait_for(lambda job: job.failures > 1)
    assert site.ledger.read("SELECT reason FROM studies")[0]["reason"] == "the store is away"
    job = site.wait_for(lambda job: job.state is JobState.FAILED)
    assert len(calls) == QUICK.failures_allowed
    assert "the store is away" in job.reason


def test_step_that_lacks_memory_each_time_says_so_and_is_given_up_after_longer(
    site: Any, begin: Callable[..., StepWorker]
) -> None:
    said: set[str] = set()
    calls: list[str] = []

    def do(job: JobRow) -> None:
        calls.append(job.job_key)
        said.add(worker.complaint())
        raise MemoryError

    worker = begin(do)
    job = site.wait_for(lambda job: job.state is JobState.FAILED)
    assert len(calls) == QUICK.lacks_allowed > QUICK.failures_allowed
    assert "no memory left" in job.reason
    assert any("no memory left" in complaint for complaint in said)
    until(lambda: worker.complaint() == "")


def test_unforeseen_error_shows_no_text_of_the_exception(site: Any, begin: Callable[..., None]) -> None:
    def do(job: JobRow) -> None:
        raise ValueError("Doe^Jane")

    begin(do)
    job = site.wait_for(lambda job: job.state is JobState.FAILED)
    assert "Doe" not in job.reason
    timeline = site.ledger.read("SELECT detail FROM events")
    assert not any("Doe" in row["detail"] for row in timeline)


def test_job_that_was_moved_meanwhile_is_left_alone(site: Any, begin: Callable[..., None]) -> None:
    taken: list[str] = []

    def do(job: JobRow) -> None:
        taken.append(job.job_key)
        site.move(JobEvent.CANCELLED)
        convert(site)(job)

    begin(do)
    site.wait_for(lambda job: job.state is JobState.CANCELLED)
    assert taken == [site.job().job_key]
    assert site.job().failures == 0


def test_job_that_is_put_off_waits_for_its_time(site: Any, begin: Callable[..., None]) -> None:
    with site.ledger.transaction() as transaction:
        put_off_job(transaction, site.job().job_key, delay_s=0.2, reason="later")
    due_at = site.job().not_before
    begin(convert(site), Policy())
    job = site.wait_for(lambda job: job.state is JobState.CONVERTED)
    assert job.updated_at >= due_at


def test_job_that_a_clock_ahead_put_off_waits_for_the_longest_delay_only(
    site: Any, begin: Callable[..., StepWorker]
) -> None:
    with site.ledger.transaction() as transaction:
        put_off_job(transaction, site.job().job_key, delay_s=7200, reason="later")
    begin(convert(site))
    site.wait_for(lambda job: job.state is JobState.CONVERTED)


# -- which job is next ------------------------------------------------------------------------------------


def plan_jobs(site: Any, *planned: tuple[str, int]) -> None:
    """Plan further jobs, each with its priority."""
    with site.ledger.transaction() as transaction:
        for key, priority in planned:
            images, outputs = ("1.2.3.4.5",), ("seg",)
            job = PlannedJob(
                key, SERIES_UID, key, "ct", "tissue", {}, "threshold", priority, images, (), outputs, "h"
            )
            plan_job(transaction, STUDY_UID, job)


def converting(
    site: Any, taken: list[str], before: Callable[[str], object] = lambda _: None
) -> Callable[[JobRow], None]:
    def do(job: JobRow) -> None:
        before(job.job_key)
        taken.append(job.job_key)
        with site.ledger.transaction() as transaction:
            transaction.move_job(job.job_key, JobEvent.CONVERTED, expect=JobState.PLANNED)

    return do


def states(site: Any) -> dict[str, str]:
    return {row["job_key"]: row["state"] for row in site.ledger.read("SELECT job_key, state FROM jobs")}


def until_all(site: Any, state: JobState) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while set(states(site).values()) != {state}:
        assert time.monotonic() < deadline, states(site)
        time.sleep(0.005)


def test_urgent_job_that_comes_in_the_middle_of_a_backlog_is_next(
    site: Any, begin: Callable[..., StepWorker]
) -> None:
    plan_jobs(site, *((f"job-{number:02}", 0) for number in range(30)))
    taken: list[str] = []

    def come_urgently(job_key: str) -> None:
        if job_key == "job-04":
            plan_jobs(site, ("urgent", 10))

    begin(converting(site, taken, come_urgently))
    until_all(site, JobState.CONVERTED)
    assert taken.index("urgent") == taken.index("job-04") + 1
    assert [key for key in taken if key.startswith("job-")] == [f"job-{number:02}" for number in range(30)]


# -- what is nobody's fault -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EIO, "Input/output error"),
        sqlite3.OperationalError("database is locked"),
        Away("AWS does not answer"),
    ],
    ids=repr,
)
def test_fault_of_machine_or_outside_never_fails_a_job_and_is_said(
    site: Any, begin: Callable[..., StepWorker], error: Exception
) -> None:
    errors = [error] * (3 * QUICK.failures_allowed)
    said: set[str] = set()

    def do(job: JobRow) -> None:
        said.add(worker.complaint())
        if errors:
            raise errors.pop()
        convert(site)(job)

    worker = begin(do)
    job = site.wait_for(lambda job: job.state is JobState.CONVERTED)
    assert job.failures == 0
    assert said == {"", fault_of(error, "convert").sentence}
    until(lambda: worker.complaint() == "")
    names = [row["event"] for row in site.ledger.read("SELECT event FROM events")]
    assert len([name for name in names if name.startswith("job.waits_")]) == 1


def test_disk_that_is_full_for_a_while_fails_none_of_twenty_jobs_and_all_go_on_by_themselves(
    site: Any, begin: Callable[..., StepWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither step nor ledger can write."""
    plan_jobs(site, *((f"job-{number:02}", 0) for number in range(19)))
    is_full = True
    write = site.ledger.transaction
    tries: list[str] = []

    def transaction() -> Any:
        if is_full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return write()

    def do(job: JobRow) -> None:
        tries.append(job.job_key)
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        with site.ledger.transaction() as moving:
            moving.move_job(job.job_key, JobEvent.CONVERTED, expect=JobState.PLANNED)

    monkeypatch.setattr(site.ledger, "transaction", transaction)
    worker = begin(do)
    until(lambda: len(tries) > 100)
    assert set(states(site).values()) == {JobState.PLANNED}
    assert "the disk is full" in worker.complaint()
    is_full = False
    until_all(site, JobState.CONVERTED)
    until(lambda: worker.complaint() == "")
    assert not site.ledger.read("SELECT 1 FROM jobs WHERE failures > 0")


def test_full_disk_is_tried_with_one_job_at_a_time(site: Any, begin: Callable[..., StepWorker]) -> None:
    """Every other job would meet the same: a backlog of thousands is not walked through."""
    plan_jobs(site, *((f"job-{number:02}", 0) for number in range(19)))
    tries: list[str] = []

    def do(job: JobRow) -> None:
        tries.append(job.job_key)
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = begin(do, Policy(machine=Backoff(60.0, 60.0)))
    until(lambda: worker.complaint() and worker.piece is None)
    assert len(tries) == 1


def test_job_with_a_bad_block_does_not_hold_up_the_others(
    site: Any, begin: Callable[..., StepWorker]
) -> None:
    plan_jobs(site, ("bad", 9), ("good", 0))
    taken: list[str] = []

    def read(job_key: str) -> None:
        if job_key == "bad":
            raise OSError(errno.EIO, "Input/output error")

    worker = begin(converting(site, taken, read), Policy(machine=Backoff(60.0, 60.0)))
    site.wait_for(lambda job: job.state is JobState.CONVERTED)
    until(lambda: states(site)["good"] == JobState.CONVERTED)
    assert states(site)["bad"] == JobState.PLANNED
    assert "a disk fails to read or write" in worker.complaint()
    with site.ledger.transaction() as transaction:
        transaction.move_job("bad", JobEvent.CANCELLED)
    until(lambda: worker.complaint() == "")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_library_that_ends_the_thread_fails_only_its_own_job(
    site: Any, begin: Callable[..., StepWorker], error: BaseException
) -> None:
    plan_jobs(site, ("bad", 9), ("good", 0))

    def end(job_key: str) -> None:
        if job_key == "bad":
            raise error

    begin(converting(site, [], end), Policy(failures_allowed=2, own=Backoff(0.01, 0.01)))
    until(lambda: states(site)["bad"] == JobState.FAILED)
    until(lambda: states(site)["good"] == JobState.CONVERTED)


@pytest.mark.parametrize("error", [None, StaleRow("moved")], ids=repr)
def test_step_that_leaves_its_job_where_it_was_is_counted(
    site: Any, begin: Callable[..., StepWorker], error: Exception | None
) -> None:
    """It would be taken again at once, for ever, and nobody else would be taken."""

    def do(job: JobRow) -> None:
        if error is not None:
            raise error

    begin(do)
    job = site.wait_for(lambda job: job.state is JobState.FAILED)
    assert "came to nothing" in job.reason


# -- several workers for one step -------------------------------------------------------------------------


@pytest.fixture
def begin_pool(site: Any) -> Iterator[Callable[..., StepPool]]:
    """Start several workers for planned jobs that do this."""
    pools: list[StepPool] = []

    def start(do: Callable[[JobRow], None], number: int) -> StepPool:
        pools.append(StepPool.of("convert", JobState.PLANNED, do, site.ledger, site.bus, number))
        for worker in pools[-1].workers:
            worker.start()
        return pools[-1]

    yield start
    for pool in pools:
        for worker in pool.workers:
            worker.stop()


def _busy(pool: StepPool) -> dict[str, float]:
    return {figure.name: figure.value for figure in pool.figures()}


def test_slow_job_does_not_hold_up_the_others_which_have_their_turn_by_priority(
    site: Any, begin_pool: Callable[..., StepPool]
) -> None:
    plan_jobs(site, ("slow", 9), ("low", 1), ("high", 5), ("middle", 3))
    taken: list[str] = []
    may_end = threading.Event()

    def read(job_key: str) -> None:
        if job_key == "slow":
            assert may_end.wait(DEADLINE_S)

    pool = begin_pool(converting(site, taken, read), 2)
    until(lambda: len(taken) == 4)
    assert taken[:3] == ["high", "middle", "low"]
    until(lambda: _busy(pool) == {"iris_step_workers": 2, "iris_step_workers_busy": 1})
    assert [worker.complaints() for worker in pool.workers] == [[], []]
    may_end.set()
    until_all(site, JobState.CONVERTED)
    until(lambda: _busy(pool)["iris_step_workers_busy"] == 0)


def test_no_job_is_in_two_hands_and_each_is_done_once(site: Any, begin_pool: Callable[..., StepPool]) -> None:
    plan_jobs(site, *((f"job-{number:02}", number % 3) for number in range(40)))
    taken: list[str] = []
    begin_pool(converting(site, taken), 4)
    until_all(site, JobState.CONVERTED)
    assert len(taken) == len(set(taken)) == 41


def test_full_disk_is_met_once_and_told_once_by_all_workers_of_a_step(
    site: Any, begin_pool: Callable[..., StepPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.workers.attempts.POLICY", Policy(machine=Backoff(60.0, 60.0)))
    plan_jobs(site, *((f"job-{number:02}", 0) for number in range(19)))
    tries: list[str] = []

    def do(job: JobRow) -> None:
        tries.append(job.job_key)
        raise OSError(errno.ENOSPC, "No space left on device")

    pool = begin_pool(do, 3)
    until(lambda: tries and all(worker.piece is None for worker in pool.workers))
    assert len(tries) <= len(pool.workers)
    for worker in pool.workers:
        worker.look_again()
    until(lambda: all(worker.piece is None for worker in pool.workers))
    assert len(tries) <= len(pool.workers)


def test_job_that_a_killed_process_had_in_hand_is_taken_by_the_next(
    site: Any, begin_pool: Callable[..., StepPool]
) -> None:
    """What is in hand is known to the process alone: to the next one the job only stands where it stood."""
    plan_jobs(site, ("other", 0))
    lost = StepPool.of("convert", JobState.PLANNED, lambda _: None, site.ledger, site.bus, 2)
    with lost.workers[0]._shared.taking() as in_hand:
        in_hand.add("other")
    taken: list[str] = []
    begin_pool(converting(site, taken), 2)
    until_all(site, JobState.CONVERTED)
    assert sorted(taken) == sorted(states(site))
