"""A JobDetail of AWS Batch as news: every state, every kind of end, and what is none of our business."""

import copy
from typing import Any

import pytest

from gateway.adapters.aws.batch_jobs import ENDED_ON_REQUEST, WITHDRAWN, NotAJob, news_of
from gateway.adapters.queue import (
    JobNews,
    RunBlocked,
    RunEnded,
    RunNeverStarted,
    RunQueued,
    RunStarted,
    RunStarting,
)

KEY = "5f" * 32
EXITED = "Essential container in task exited"
HOST_GONE = "Host EC2 (instance i-0123456789abcdef0) terminated."
TIME_LIMIT = "Canceled by JobStateTimeLimit action due to reason: CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"

# As in AWS's documentation of the event, with our name, command and variable.
JOB: dict[str, Any] = {
    "jobArn": "arn:aws:batch:us-east-1:123456789012:job/4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
    "jobName": KEY,
    "jobId": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
    "jobQueue": "arn:aws:batch:us-east-1:123456789012:job-queue/iris-processing-queue",
    "status": "RUNNABLE",
    "attempts": [],
    "createdAt": 1641944200058,
    "retryStrategy": {"attempts": 5, "evaluateOnExit": []},
    "dependsOn": [],
    "jobDefinition": "arn:aws:batch:us-east-1:123456789012:job-definition/first-run-job-definition:1",
    "parameters": {},
    "container": {
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/iris-totalsegmentator-batch:latest",
        "command": ["s3://bucket/jobs/KEY/"],
        "volumes": [],
        "environment": [{"name": "IRIS_RUN", "value": "2"}],
        "mountPoints": [],
        "ulimits": [],
        "networkInterfaces": [],
        "resourceRequirements": [{"value": "4", "type": "VCPU"}],
        "secrets": [],
    },
    "tags": {"resourceArn": "arn:aws:batch:us-east-1:123456789012:job/4c7599ae-0a82-49aa-ba5a-4727fcce14a8"},
    "propagateTags": False,
    "platformCapabilities": [],
}


def attempt(
    number: int = 1, status_reason: str = EXITED, *, reason: str = "", **container: Any
) -> dict[str, Any]:
    start = 1641944260000 + 100_000 * number
    container = {"logStreamName": f"job/default/{number}", "networkInterfaces": [], **container}
    if reason:
        container["reason"] = reason
    return {
        "container": container,
        "startedAt": start,
        "stoppedAt": start + 42_000,
        "statusReason": status_reason,
    }


def job(status: str, *attempts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    found = {**copy.deepcopy(JOB), "status": status, "attempts": list(attempts), **fields}
    if status in ("SUCCEEDED", "FAILED"):
        found.setdefault("stoppedAt", attempts[-1]["stoppedAt"] if attempts else 1641944900000)
        found.setdefault("statusReason", attempts[-1]["statusReason"] if attempts else "")
    return found


def told(found: dict[str, Any]) -> Any:
    news = news_of(found)
    assert isinstance(news, JobNews)
    assert (news.job_key, news.run, news.queue_id) == (KEY, 2, JOB["jobId"])
    return news


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("SUBMITTED", RunQueued),
        ("PENDING", RunQueued),
        ("RUNNABLE", RunQueued),
        ("STARTING", RunStarting),
        ("RUNNING", RunStarted),
    ],
)
def test_open_job_is_told_as_its_first_attempt(status: str, kind: type[JobNews]) -> None:
    news = told(job(status))
    assert (type(news), news.attempt) == (kind, 1)


def test_next_attempt_after_a_lost_machine_says_so_with_what_the_lost_one_took() -> None:
    news = told(job("RUNNABLE", attempt(status_reason=HOST_GONE)))
    assert (type(news), news.attempt) == (RunQueued, 2)
    assert news.detail["interruption"] == "spot"
    assert (news.detail["seconds"], news.detail["instance"]) == (42.0, "i-0123456789abcdef0")
    assert told(job("STARTING", attempt(status_reason=HOST_GONE))).attempt == 2


@pytest.mark.parametrize("status", ["STARTING", "RUNNING", "SUCCEEDED"])
def test_later_attempt_tells_how_the_ones_before_it_ended_should_that_have_been_missed(status: str) -> None:
    ended = [attempt(status_reason=HOST_GONE), attempt(exitCode=75)]
    done = [attempt(exitCode=0)] if status == "SUCCEEDED" else []
    news = told(job(status, *ended, *done))
    assert [(type(each), each.attempt) for each in news.earlier] == [(RunQueued, 2), (RunQueued, 3)]
    assert [each.detail.get("interruption") for each in news.earlier] == ["spot", None]


def test_attempt_that_waits_tells_of_the_one_before_by_itself() -> None:
    ended = [attempt(status_reason=HOST_GONE), attempt(exitCode=75)]
    assert [each.attempt for each in told(job("RUNNABLE", *ended)).earlier] == [2]
    assert told(job("RUNNABLE", *ended[:1])).earlier == ()


def test_job_that_was_quicker_than_its_dying_machine_was_interrupted_as_well() -> None:
    assert told(job("RUNNABLE", attempt(exitCode=143))).detail["interruption"] == "spot"
    assert "interruption" not in told(job("RUNNABLE", attempt(exitCode=75))).detail


def test_success_has_the_number_of_attempts_its_log_and_its_time() -> None:
    news = told(job("SUCCEEDED", attempt(1, HOST_GONE), attempt(2, exitCode=0)))
    assert (type(news), news.attempt, news.exit_code, news.reason) == (RunEnded, 2, 0, "")
    assert (news.detail["log_stream"], news.detail["seconds"]) == ("job/default/2", 42.0)
    assert news.detail["exit_code"] == 0


@pytest.mark.parametrize(
    ("ended", "exit_code", "words"),
    [
        (attempt(exitCode=2), 2, "cannot use its input"),
        (attempt(exitCode=70), 70, "a defect in the job"),
        (attempt(exitCode=78), 78, "lacks weights or a licence"),
        (attempt(exitCode=9), 9, "exit code 9"),
        (attempt(exitCode=137), 137, "memory"),
        (
            attempt(exitCode=137, reason="OutOfMemoryError: Container killed due to memory usage"),
            137,
            "memory ran",
        ),
        (
            attempt(status_reason="Job attempt duration exceeded timeout", exitCode=137),
            137,
            "queue.timeout_s",
        ),
        (attempt(status_reason=HOST_GONE), 143, "machine was taken away"),
        (attempt(status_reason=ENDED_ON_REQUEST, exitCode=137), 137, "the gateway ended it"),
        (
            attempt(status_reason="Task failed to start", reason="CannotPullContainerError: x: not found"),
            78,
            "image",
        ),
        (
            attempt(status_reason="Task failed to start", reason="CannotPullContainerError: i/o timeout"),
            75,
            "subnet",
        ),
        (
            attempt(status_reason="Task failed to start", reason="CannotStartContainerError: nvidia"),
            75,
            "CannotStartContainerError",
        ),
        (attempt(status_reason="Task failed to start"), 75, "no exit code"),
    ],
)
def test_failure_is_told_with_an_exit_code_and_in_words(
    ended: dict[str, Any], exit_code: int, words: str
) -> None:
    news = told(job("FAILED", ended))
    assert (type(news), news.attempt, news.exit_code) == (RunEnded, 1, exit_code)
    assert words in news.reason
    assert "123456789012" not in news.reason
    assert "\n" not in news.reason


def test_failure_after_the_last_allowed_attempt_is_an_end_with_its_interruption() -> None:
    lost = [attempt(number, HOST_GONE) for number in (1, 2)]
    news = told(job("FAILED", *lost, retryStrategy={"attempts": 2}))
    assert (type(news), news.attempt, news.exit_code) == (RunEnded, 2, 143)
    assert news.detail["interruption"] == "spot"


@pytest.mark.parametrize(
    ("status_reason", "words"),
    [
        (WITHDRAWN, "withdrew"),
        (ENDED_ON_REQUEST, "the gateway ended it"),
        (TIME_LIMIT, "time limit for waiting was up (CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY)"),
        ("by hand", "not by this gateway"),
    ],
)
def test_job_that_ended_without_a_machine_never_started(status_reason: str, words: str) -> None:
    news = told(job("FAILED", statusReason=status_reason))
    assert (type(news), news.attempt) == (RunNeverStarted, 1)
    assert words in news.reason


def test_job_that_ended_while_it_waited_again_is_newer_than_the_news_that_it_waits() -> None:
    waits = job("RUNNABLE", attempt(status_reason=HOST_GONE))
    ended = {**waits, "status": "FAILED", "statusReason": WITHDRAWN, "stoppedAt": 1641945000000}
    news = told(ended)
    assert isinstance(news, RunNeverStarted)
    assert (news.attempt, news.rank) > (told(waits).attempt, told(waits).rank)


@pytest.mark.parametrize(
    "status_reason",
    [
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement is too large",
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity",
        "ACTION_REQUIRED - CE(s) associated with the job queue are invalid.",
    ],
)
def test_waiting_job_with_a_code_is_blocked(status_reason: str) -> None:
    news = told(job("RUNNABLE", statusReason=status_reason))
    assert (type(news), news.code) == (RunBlocked, status_reason.split(" ")[0])


def test_blocked_event_is_one_whatever_its_reason() -> None:
    news = news_of(job("RUNNABLE", statusReason="NEW:REASON - text"), blocked=True)
    assert isinstance(news, RunBlocked)
    assert news.code == "NEW:REASON"


def test_news_of_a_job_are_in_the_order_of_its_life() -> None:
    path = [
        told(each)
        for each in (
            job("RUNNABLE"),
            job("STARTING"),
            job("RUNNING"),
            job("RUNNABLE", attempt(status_reason=HOST_GONE)),
            job("STARTING", attempt(status_reason=HOST_GONE)),
            job("RUNNING", attempt(status_reason=HOST_GONE)),
            job("SUCCEEDED", attempt(1, HOST_GONE), attempt(2, exitCode=0)),
        )
    ]
    ranks = [(news.run, news.attempt, news.rank) for news in path]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize(
    "change",
    [
        {"container": {"environment": []}},
        {"container": {"environment": [{"name": "IRIS_RUN", "value": "first"}]}},
        {"container": {"environment": [{"name": "IRIS_RUN", "value": "0"}]}},
        {"container": None},
        {"jobName": "not/a/key"},
        {"status": "SOMETHING_NEW"},
    ],
)
def test_other_peoples_jobs_and_unknown_states_are_no_news(change: dict[str, Any]) -> None:
    assert news_of({**JOB, **change}) is None


@pytest.mark.parametrize("change", [{"jobId": None}, {"status": 7}, {"attempts": "many"}, {"createdAt": "x"}])
def test_what_no_job_looks_like_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotAJob):
        news_of({**JOB, **change})
