"""A step's worker: what it takes, what it tries again, what it gives up."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from converter.errors import UnusableSeries
from gateway.adapters.errors import Permanent, Retriable
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.work import put_off_job
from gateway.workers import steps
from gateway.workers.attempts import CannotGoOn
from gateway.workers.steps import StepWorker


@pytest.fixture
def begin(site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[JobRow], None]], None]]:
    """Start a worker for planned jobs that does this; its delays are short."""
    monkeypatch.setattr(steps, "FIRST_DELAY_S", 0.01)
    workers: list[StepWorker] = []

    def start(do: Callable[[JobRow], None]) -> None:
        worker = StepWorker("convert", {JobState.PLANNED}, do, site.ledger, site.bus)
        worker.start()
        workers.append(worker)

    yield start
    for worker in workers:
        worker.stop()


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
    job = site.wait_for(lambda job: job.state is JobState.FAILED)
    assert len(calls) == steps.FAILURES_ALLOWED
    assert "the store is away" in job.reason


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
    begin(convert(site))
    job = site.wait_for(lambda job: job.state is JobState.CONVERTED)
    assert job.updated_at >= due_at
