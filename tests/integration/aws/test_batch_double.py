"""The Batch double against boto3's real client: what others' tests rely on."""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.doubles.batch_jobs import SPOT_G_QUOTA
from tests.doubles.news_queue import NewsQueue

SAY = [sys.executable, "-c", "import os, sys; print(sys.argv[1], os.environ['AWS_BATCH_JOB_ATTEMPT'])"]
EXIT = [sys.executable, "-c", "import sys; sys.exit(int(sys.argv[1]))"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    *(sys.executable, "-c"),
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
RETRY = {
    "attempts": 3,
    "evaluateOnExit": [
        {"action": "RETRY", "onStatusReason": "Host EC2*"},
        {"action": "RETRY", "onExitCode": "75"},
        {"action": "EXIT", "onReason": "*"},
    ],
}


@pytest.fixture
def client(batch_double: BatchDouble) -> Any:
    return boto3.client("batch", config=Config(retries={"total_max_attempts": 1, "mode": "standard"}))


@pytest.fixture
def submit(client: Any) -> Callable[..., str]:
    def submit(argument: str = "", **fields: Any) -> str:
        wish = {
            "jobName": "key-1",
            "jobQueue": MAIN_QUEUE,
            "jobDefinition": DEFINITION,
            "containerOverrides": {
                "command": [argument],
                "environment": [{"name": "IRIS_RUN", "value": "1"}],
            },
            "retryStrategy": RETRY,
        }
        return str(client.submit_job(**{**wish, **fields})["jobId"])

    return submit


def test_job_that_ends_well_ran_its_command_and_is_shown_as_batch_shows_it(
    batch_double: BatchDouble, client: Any, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=SAY)
    job_id = submit("hello")
    batch_double.wait_for(job_id, "SUCCEEDED")
    job = client.describe_jobs(jobs=[job_id])["jobs"][0]
    assert batch_double.log(job_id) == "hello 1\n"
    assert job["container"]["exitCode"] == 0
    assert job["attempts"][0]["statusReason"] == "Essential container in task exited"
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    del job["createdAt"]
    assert _misfits(client, "DescribeJobs", {"jobs": [job]}) == ""


def test_answers_fit_the_service_model(batch_double: BatchDouble, client: Any) -> None:
    for operation, answer in {
        "DescribeJobQueues": client.describe_job_queues(),
        "DescribeComputeEnvironments": client.describe_compute_environments(),
        "DescribeJobDefinitions": client.describe_job_definitions(jobDefinitionName=DEFINITION),
    }.items():
        assert _misfits(client, operation, answer) == ""
    quotas = boto3.client("service-quotas")
    batch_double.set_quota(SPOT_G_QUOTA, 4)
    answer = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=SPOT_G_QUOTA)
    assert (answer["Quota"]["Value"], _misfits(quotas, "GetServiceQuota", answer)) == (4.0, "")


def test_events_tell_the_path_of_a_retried_job_through_eventbridge(
    batch_double: BatchDouble, submit: Callable[..., str], news_queue: NewsQueue
) -> None:
    batch_double.set_definition(command=EXIT)
    job_id = submit("75")
    batch_double.wait_for(job_id, "FAILED", attempt=3)
    batch_double.events.wait_until_sent()
    events = news_queue.receive()
    assert {event["source"] for event in events} == {"aws.batch"}
    assert {event["detail-type"] for event in events} == {"Batch Job State Change"}
    path = [(event["detail"]["status"], len(event["detail"]["attempts"])) for event in events]
    each = [(state, attempt) for attempt in range(3) for state in ("RUNNABLE", "STARTING", "RUNNING")]
    assert path == [*each, ("FAILED", 3)]


def test_exit_code_that_is_not_retried_ends_the_job(
    batch_double: BatchDouble, client: Any, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=EXIT)
    job_id = submit("2")
    assert len(batch_double.wait_for(job_id, "FAILED").attempts) == 1
    assert client.describe_jobs(jobs=[job_id])["jobs"][0]["container"]["exitCode"] == 2


def test_interrupted_machine_is_named_and_the_job_runs_again(
    batch_double: BatchDouble, client: Any, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=SLEEP)
    job_id = submit()
    batch_double.wait_for(job_id, "RUNNING")
    batch_double.interrupt(job_id)
    batch_double.wait_for(job_id, "RUNNING", attempt=2)
    job = client.describe_jobs(jobs=[job_id])["jobs"][0]
    assert job["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")


def test_deaf_process_is_killed_after_the_notice(
    batch_double: BatchDouble, submit: Callable[..., str], eventually: Callable[..., None]
) -> None:
    batch_double.set_definition(command=STUBBORN)
    job_id = submit(retryStrategy={"attempts": 1})
    eventually(lambda: "deaf" in batch_double.log(job_id))
    begun = time.monotonic()
    batch_double.interrupt(job_id, notice_s=0.3, host_is_named=False)
    assert batch_double.wait_for(job_id, "FAILED").attempts[0].exit_code == 128 + signal.SIGKILL
    assert 0.3 <= time.monotonic() - begun < 60


def test_job_without_machine_waits_and_says_what_it_was_told(
    batch_double: BatchDouble, client: Any, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=EXIT)
    batch_double.hold_capacity(status_reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - none")
    job_id = submit("0")
    batch_double.wait_for(job_id, "RUNNABLE")
    job = client.describe_jobs(jobs=[job_id])["jobs"][0]
    assert job["statusReason"].startswith("CAPACITY")
    batch_double.release_capacity()
    batch_double.wait_for(job_id, "SUCCEEDED")


def test_cancel_ends_a_waiting_job_and_does_nothing_to_a_running_one(
    batch_double: BatchDouble, client: Any, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=SLEEP)
    batch_double.run_at_most(1)
    running, waiting = submit(), submit()
    batch_double.wait_for(running, "RUNNING")
    for job_id in (running, waiting):
        client.cancel_job(jobId=job_id, reason="no longer wanted")
    assert batch_double.wait_for(waiting, "FAILED").attempts == []
    assert batch_double.job(running).status == "RUNNING"
    client.terminate_job(jobId=running, reason="enough")
    assert batch_double.wait_for(running, "FAILED").status_reason == "enough"


def test_time_limit_of_an_attempt_ends_the_job(batch_double: BatchDouble, submit: Callable[..., str]) -> None:
    batch_double.speed_up_timeouts(200)
    batch_double.set_definition(command=SLEEP)
    job_id = submit(timeout={"attemptDurationSeconds": 60})
    assert batch_double.wait_for(job_id, "FAILED").status_reason == "Job attempt duration exceeded timeout"


def test_lost_answer_took_effect_and_lost_request_did_not(
    batch_double: BatchDouble, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=EXIT)
    batch_double.lose_answer()
    batch_double.lose_request()
    for expected in (1, 1):
        with pytest.raises(ConnectionClosedError):
            submit("0")
        assert len(batch_double.jobs()) == expected


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda double: double.throttle("SubmitJob"), "ThrottlingException"),
        (lambda double: double.answer_500("SubmitJob"), "ServerException"),
        (lambda double: double.deny("SubmitJob", times=1), "AccessDeniedException"),
        (lambda double: double.set_queue(state="DISABLED"), "ClientException"),
    ],
)
def test_refusals_reach_boto3_with_their_codes(
    batch_double: BatchDouble, submit: Callable[..., str], harm: Callable[[BatchDouble], None], code: str
) -> None:
    harm(batch_double)
    with pytest.raises(ClientError) as caught:
        submit("0")
    assert caught.value.response["Error"]["Code"] == code
    assert batch_double.jobs() == []


def test_list_finds_names_whatever_their_case_once_they_are_shown(
    batch_double: BatchDouble, client: Any, submit: Callable[..., str]
) -> None:
    batch_double.set_definition(command=EXIT)
    batch_double.hide_new_jobs(60)
    job_ids = [submit("0", jobName=name) for name in ("abc", "ABC", "abcd")]
    wish = {"jobQueue": MAIN_QUEUE, "filters": [{"name": "JOB_NAME", "values": ["Abc"]}]}
    assert client.list_jobs(**wish)["jobSummaryList"] == []
    batch_double.show_jobs()
    pages = client.get_paginator("list_jobs").paginate(**wish, PaginationConfig={"PageSize": 1})
    found = [job["jobId"] for page in pages for job in page["jobSummaryList"]]
    assert sorted(found) == sorted(job_ids[:2])


def test_events_come_backwards_twice_and_not_at_all_when_told_so(
    batch_double: BatchDouble, submit: Callable[..., str], news_queue: NewsQueue
) -> None:
    batch_double.set_definition(command=EXIT)
    batch_double.events.drop(1)
    batch_double.events.reorder(2)
    batch_double.events.repeat(2)
    batch_double.wait_for(submit("0"), "SUCCEEDED")
    batch_double.events.wait_until_sent()
    states = [event["detail"]["status"] for event in news_queue.receive()]
    assert states == ["RUNNING", "RUNNING", "STARTING", "STARTING", "SUCCEEDED", "SUCCEEDED"]


def test_processes_end_when_the_double_is_closed(moto_server: str) -> None:
    double = BatchDouble(moto_server, SLEEP)
    client = boto3.client(
        *("batch", "us-east-1"),
        endpoint_url=double.url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    job = client.submit_job(jobName="key-1", jobQueue=MAIN_QUEUE, jobDefinition=DEFINITION)
    double.wait_for(job["jobId"], "RUNNING")
    (process,) = double.life.processes()
    double.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def _misfits(client: Any, operation: str, answer: dict[str, Any]) -> str:
    """Where an answer is not of the shape that botocore's service model gives it."""
    shape = get_session().get_service_model(client.meta.service_model.service_name)
    shape = shape.operation_model(operation).output_shape
    known = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    return str(ParamValidator().validate(known, shape).generate_report())
