"""The job queue on AWS Batch: boto3's real client against the double, with faults at every call."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.errors import Away, OutsideError, Permanent, Retriable
from gateway.adapters.queue import (
    JobQueue,
    JobTicket,
    Lane,
    RunBlocked,
    RunEnded,
    RunNeverStarted,
    RunQueued,
    RunStarted,
    Unanswered,
)
from tests.doubles.batch import DEFINITION, FALLBACK_QUEUE, MAIN_QUEUE, BatchDouble
from tests.doubles.batch_faults import Refusal

PYTHON = (sys.executable, "-c")
SLEEP = (*PYTHON, "import time; time.sleep(60)")
SHOW = (*PYTHON, "import os, sys; print(sys.argv[1], os.environ['IRIS_RUN'])")
SETTINGS = BatchSettings(
    main=LaneSettings(MAIN_QUEUE, DEFINITION),
    fallback=LaneSettings(FALLBACK_QUEUE, DEFINITION),
    site="St. Mary's / Röntgen",
    timeout_s=3600.0,
    attempts=3,
)
TICKET = JobTicket("5f" * 32, 1, "s3://bucket/jobs/KEY/", priority=0, rule="ct")


@pytest.fixture
def queue(aws_session: AwsSession) -> BatchQueue:
    return BatchQueue(aws_session, SETTINGS)


@pytest.fixture(autouse=True)
def _sleeps(batch_double: BatchDouble) -> None:
    batch_double.set_definition(command=SLEEP)


def test_batch_is_a_remote_queue(queue: BatchQueue) -> None:
    remote: JobQueue = queue
    assert remote.look([]) == []


def test_submitted_run_has_everything_that_batch_has_to_know(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    batch_double.set_definition(command=SHOW)
    job_id = queue.submit(replace(TICKET, run=3, priority=7))
    (wish,) = batch_double.calls("SubmitJob")
    assert wish["jobName"] == TICKET.job_key
    assert wish["timeout"] == {"attemptDurationSeconds": 3600}
    assert wish["retryStrategy"]["attempts"] == 3
    tags = {"Application": "iris-oculus", "rule": "ct", "site": "St. Mary_s / R_ntgen", "priority": "7"}
    assert (wish["tags"], wish["propagateTags"]) == (tags, True)
    batch_double.wait_for(job_id, "SUCCEEDED")
    assert batch_double.log(job_id) == "s3://bucket/jobs/KEY/ 3\n"


@pytest.mark.parametrize(
    ("exit_code", "attempts"), [(75, 3), (143, 3), (2, 1), (70, 1), (78, 1), (1, 1), (137, 1), (7, 1), (0, 1)]
)
def test_exit_codes_that_are_worth_it_are_tried_again_and_no_others(
    batch_double: BatchDouble, queue: BatchQueue, exit_code: int, attempts: int
) -> None:
    batch_double.set_definition(command=(*PYTHON, f"import sys; sys.exit({exit_code})"))
    job_id = queue.submit(TICKET)
    batch_double.wait_for(job_id, "SUCCEEDED", "FAILED")
    (news,) = queue.look([job_id])
    assert isinstance(news, RunEnded)
    assert (news.exit_code, news.attempt) == (exit_code, attempts)


def test_interrupted_run_goes_on_and_is_told_with_its_machine(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    job_id = queue.submit(TICKET)
    batch_double.wait_for(job_id, "RUNNING")
    batch_double.hold_capacity()
    batch_double.interrupt(job_id)
    batch_double.wait_for(job_id, "RUNNABLE", attempt=2)
    (news,) = queue.look([job_id])
    assert (type(news), news.attempt, news.detail["interruption"]) == (RunQueued, 2, "spot")
    batch_double.release_capacity()
    batch_double.wait_for(job_id, "RUNNING", attempt=2)
    (news,) = queue.look([job_id])
    assert (type(news), news.attempt) == (RunStarted, 2)


def test_run_goes_to_the_queue_of_its_lane(batch_double: BatchDouble, queue: BatchQueue) -> None:
    job_id = queue.submit(replace(TICKET, lane=Lane.FALLBACK))
    assert batch_double.job(job_id).queue.name == FALLBACK_QUEUE


@pytest.mark.parametrize(
    ("priority", "lane", "is_urgent"),
    [(5, Lane.MAIN, True), (9, Lane.MAIN, True), (4, Lane.MAIN, False), (9, Lane.FALLBACK, False)],
)
def test_run_of_an_urgent_rule_goes_to_the_urgent_queue_and_is_found_there(
    batch_double: BatchDouble, aws_session: AwsSession, priority: int, lane: Lane, is_urgent: bool
) -> None:
    batch_double.hold_capacity()
    settings = replace(SETTINGS, main=LaneSettings("other-queue", DEFINITION), urgent_priority=5)
    batch_double.queues["other-queue"] = replace(batch_double.queues[MAIN_QUEUE], name="other-queue")
    queue = BatchQueue(aws_session, replace(settings, urgent_queue=MAIN_QUEUE))
    ticket = replace(TICKET, lane=lane, priority=priority)
    job_id = queue.submit(ticket)
    assert (batch_double.job(job_id).queue.name == MAIN_QUEUE) is is_urgent
    assert queue.find(ticket) == job_id
    batch_double.set_queue(MAIN_QUEUE, state="DISABLED")
    assert (queue.why_waiting(lane, priority, job_id).code == "queue_disabled") is is_urgent


def test_fallback_that_is_not_configured_is_refused(aws_session: AwsSession) -> None:
    queue = BatchQueue(aws_session, replace(SETTINGS, fallback=None))
    with pytest.raises(Permanent, match=r"queue\.fallback\.job_queue"):
        queue.submit(replace(TICKET, lane=Lane.FALLBACK))


def test_queue_with_fair_share_gets_share_and_priority(batch_double: BatchDouble, queue: BatchQueue) -> None:
    batch_double.set_queue(scheduling_policy="fair")
    queue.submit(replace(TICKET, priority=20_000))
    (wish,) = batch_double.calls("SubmitJob")
    assert (wish["shareIdentifier"], wish["schedulingPriorityOverride"]) == ("StMarysRntgen", 9999)
    assert "priority" not in wish["tags"]


def test_queue_that_became_a_shared_one_is_looked_at_again_after_a_refusal(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    queue.submit(TICKET)
    batch_double.set_queue(scheduling_policy="fair")
    with pytest.raises(Permanent):
        queue.submit(TICKET)
    assert queue.submit(TICKET)


# -- submit once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "jobs"),
    [
        (lambda double: double.lose_answer(), 1),
        (lambda double: double.lose_request(), 0),
        (lambda double: double.answer_500("SubmitJob"), 0),
        (lambda double: double.answer_500("SubmitJob", taken=True), 1),
    ],
    ids=["answer lost", "request lost", "500", "taken and 500"],
)
def test_run_whose_fate_is_not_known_is_sent_once_and_found_where_it_was_taken(
    batch_double: BatchDouble, queue: BatchQueue, harm: Callable[[BatchDouble], None], jobs: int
) -> None:
    harm(batch_double)
    with pytest.raises(Unanswered):
        queue.submit(TICKET)
    assert len(batch_double.calls("SubmitJob")) == 1
    assert len(batch_double.jobs()) == jobs
    assert (queue.find(TICKET) is not None) == bool(jobs)


@pytest.mark.parametrize(
    ("harm", "kind", "words"),
    [
        (lambda double: double.throttle("SubmitJob"), Away, "asks to wait (batch:SubmitJob"),
        (
            lambda double: double.deny("SubmitJob"),
            Away,
            "AWS denies batch:SubmitJob on the job queue iris-proc",
        ),
        (lambda double: double.expire_credentials(), Away, "credentials have expired"),
        (lambda double: double.set_queue(state="DISABLED"), Away, "update-job-queue --job-queue iris-proc"),
        (lambda double: double.queues.pop(MAIN_QUEUE), Away, "no job queue iris-processing-queue"),
        (lambda double: double.definitions.clear(), Away, "no active job definition iris-total"),
        (
            lambda double: double.refuse("SubmitJob", Refusal("ClientException", 400), None),
            Permanent,
            "refuses batch:SubmitJob",
        ),
    ],
    ids=["throttled", "denied", "expired", "queue disabled", "no queue", "no definition", "refused"],
)
def test_known_refusal_is_no_unanswered_one_and_says_what_to_do(
    batch_double: BatchDouble,
    queue: BatchQueue,
    harm: Callable[[BatchDouble], None],
    kind: type[OutsideError],
    words: str,
) -> None:
    harm(batch_double)
    with pytest.raises(kind) as caught:
        queue.submit(TICKET)
    assert not isinstance(caught.value, Unanswered)
    assert words in str(caught.value)
    assert len(batch_double.calls("SubmitJob")) == 1
    assert batch_double.jobs() == []


def test_batch_that_is_not_there_did_not_take_the_run(
    aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", f"http://127.0.0.1:{closed_port}")
    queue = BatchQueue(AwsSession("us-east-1"), SETTINGS)
    monkeypatch.setattr(queue, "_is_shared", lambda name: False)  # four tries with their pauses
    with pytest.raises(Away, match="does not answer batch:SubmitJob") as caught:
        queue.submit(TICKET)
    assert not isinstance(caught.value, Unanswered)


# -- finding ----------------------------------------------------------------------------------------------


def test_run_is_found_by_name_and_number_on_either_lane(batch_double: BatchDouble, queue: BatchQueue) -> None:
    batch_double.hold_capacity()
    first = queue.submit(TICKET)
    second = queue.submit(replace(TICKET, run=2, lane=Lane.FALLBACK))
    queue.submit(replace(TICKET, job_key=TICKET.job_key.upper()))
    assert queue.find(TICKET) == first
    assert queue.find(replace(TICKET, run=2)) == second
    assert queue.find(replace(TICKET, run=3)) is None


def test_run_that_batch_does_not_list_yet_is_not_found(batch_double: BatchDouble, queue: BatchQueue) -> None:
    batch_double.hide_new_jobs(60)
    job_id = queue.submit(TICKET)
    assert queue.find(TICKET) is None
    batch_double.show_jobs()
    assert queue.find(TICKET) == job_id


def test_of_two_jobs_for_a_run_the_earliest_that_goes_on_is_found(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    batch_double.hold_capacity()
    first, second, third = (queue.submit(TICKET) for _ in range(3))
    for number, job_id in enumerate((first, second, third)):
        batch_double.job(job_id).created_at += number
    assert queue.find(TICKET) == first
    queue.withdraw(first)
    assert queue.find(TICKET) == second
    queue.cancel(TICKET.job_key)
    assert queue.find(TICKET) == first


def test_more_jobs_than_one_call_takes_are_all_looked_at(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    batch_double.hold_capacity()
    job_ids = [queue.submit(replace(TICKET, run=run)) for run in range(1, 104)]
    news = queue.look([*job_ids, "gone-for-good"])
    assert [each.run for each in news] == list(range(1, 104))
    assert len(batch_double.calls("DescribeJobs")) == 2
    assert queue.find(replace(TICKET, run=103)) == job_ids[-1]
    assert len(batch_double.calls("ListJobs")) == 3  # two pages, and the fallback


@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("ListJobs", lambda queue: queue.find(TICKET)),
        ("DescribeJobs", lambda queue: queue.look(["some-job"])),
        ("TerminateJob", lambda queue: queue.cancel(TICKET.job_key, "some-job")),
        ("CancelJob", lambda queue: queue.withdraw("some-job")),
    ],
)
def test_denied_action_is_named(
    batch_double: BatchDouble, queue: BatchQueue, operation: str, ask: Callable[[BatchQueue], object]
) -> None:
    batch_double.deny(operation)
    with pytest.raises(Away, match=f"denies batch:{operation} on"):
        ask(queue)


def test_question_is_asked_again_after_a_throttled_and_a_failed_one(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    job_id = queue.submit(TICKET)
    batch_double.throttle("DescribeJobs")
    batch_double.answer_500("DescribeJobs")
    assert len(queue.look([job_id])) == 1
    assert len(batch_double.calls("DescribeJobs")) == 3


def test_question_that_stays_unanswered_is_worth_another_try(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    batch_double.answer_500("DescribeJobs", times=None)
    with pytest.raises(Retriable, match="batch:DescribeJobs"):
        queue.look(["some-job"])


# -- ending -----------------------------------------------------------------------------------------------


def test_cancel_ends_what_runs_and_what_waits_for_the_job_and_nothing_else(
    batch_double: BatchDouble, queue: BatchQueue
) -> None:
    running = queue.submit(TICKET)
    batch_double.wait_for(running, "RUNNING")
    batch_double.hold_capacity()
    waiting = queue.submit(replace(TICKET, run=2, lane=Lane.FALLBACK))
    other = queue.submit(replace(TICKET, job_key="another"))
    queue.cancel(TICKET.job_key, running)
    for job_id in (running, waiting):
        batch_double.wait_for(job_id, "FAILED")
    ended, never_started = queue.look([running, waiting])
    assert isinstance(ended, RunEnded)
    assert ended.reason == "the gateway ended it"
    assert isinstance(never_started, RunNeverStarted)
    assert batch_double.job(other).status == "RUNNABLE"


def test_cancel_of_what_is_over_or_unknown_is_no_error(batch_double: BatchDouble, queue: BatchQueue) -> None:
    queue.cancel("never-heard-of")
    queue.cancel("never-heard-of", "no-such-job")
    queue.withdraw("no-such-job")
    batch_double.set_definition(command=(*PYTHON, ""))
    job_id = queue.submit(TICKET)
    batch_double.wait_for(job_id, "SUCCEEDED")
    queue.cancel(TICKET.job_key, job_id)
    assert batch_double.job(job_id).status == "SUCCEEDED"


def test_withdraw_ends_a_run_only_while_it_waits(batch_double: BatchDouble, queue: BatchQueue) -> None:
    running = queue.submit(TICKET)
    batch_double.wait_for(running, "RUNNING")
    batch_double.hold_capacity()
    waiting = queue.submit(replace(TICKET, run=2))
    batch_double.wait_for(waiting, "RUNNABLE")
    queue.withdraw(running)
    queue.withdraw(waiting)
    still, never_started = queue.look([running, waiting])
    assert isinstance(still, RunStarted)
    assert isinstance(never_started, RunNeverStarted)
    assert "withdrew" in never_started.reason


def test_run_that_batch_says_is_blocked_is_told_so(batch_double: BatchDouble, queue: BatchQueue) -> None:
    batch_double.hold_capacity()
    job_id = queue.submit(TICKET)
    batch_double.wait_for(job_id, "RUNNABLE")
    batch_double.block_queue(job_id, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too large")
    (news,) = queue.look([job_id])
    assert isinstance(news, RunBlocked)
    assert news.code == "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


@pytest.fixture
def closed_port() -> int:
    from gateway.demo.loopback import free_port

    return free_port()
