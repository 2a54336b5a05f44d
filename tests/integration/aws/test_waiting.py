"""Why a run gets no machine: each cause, made at the double, is said in words with the command against it."""

import sys
from collections.abc import Callable

import pytest

from gateway.adapters.aws import waiting as waiting_module
from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
from gateway.adapters.aws.batch_readings import BatchReader, EnvironmentReading, vcpus_of_type
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.aws.waiting import why_invalid
from gateway.adapters.errors import Away
from gateway.adapters.queue import JobTicket, Lane, Waiting
from tests.doubles.batch import DEFINITION, FALLBACK_QUEUE, MAIN_QUEUE, ON_DEMAND, SPOT, BatchDouble
from tests.doubles.batch_jobs import ON_DEMAND_G_QUOTA, SPOT_G_QUOTA

SETTINGS = BatchSettings(
    LaneSettings(MAIN_QUEUE, DEFINITION), LaneSettings(FALLBACK_QUEUE, DEFINITION), site="demo"
)
TICKET = JobTicket("5f" * 32, 1, "s3://bucket/jobs/KEY/", priority=0)
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
UPDATE = "aws batch update-compute-environment --compute-environment iris-spot"


@pytest.fixture
def queue(aws_session: AwsSession, batch_double: BatchDouble) -> BatchQueue:
    batch_double.set_definition(command=SLEEP)
    return BatchQueue(aws_session, SETTINGS)


@pytest.fixture
def explained(batch_double: BatchDouble, queue: BatchQueue) -> Callable[..., Waiting]:
    """Let a run wait, do harm, and ask why it waits."""

    def explain(
        harm: Callable[[BatchDouble], object] = lambda double: None,
        *,
        status_reason: str = "",
        lane: Lane = Lane.MAIN,
    ) -> Waiting:
        batch_double.hold_capacity(status_reason=status_reason)
        job_id = queue.submit(JobTicket(**{**vars(TICKET), "lane": lane}))
        batch_double.wait_for(job_id, "RUNNABLE")
        harm(batch_double)
        return queue.why_waiting(lane, 0, job_id)

    return explain


@pytest.mark.parametrize(
    ("harm", "code", "words", "fix"),
    [
        (
            lambda double: double.set_queue(state="DISABLED"),
            "queue_disabled",
            "job queue iris-processing-queue is disabled",
            "aws batch update-job-queue --job-queue iris-processing-queue --state ENABLED",
        ),
        (
            lambda double: double.set_queue(status="INVALID"),
            "queue_invalid",
            "job queue iris-processing-queue is invalid",
            "aws batch describe-job-queues --job-queues iris-processing-queue",
        ),
        (
            lambda double: double.queues.pop(MAIN_QUEUE),
            "queue_missing",
            "there is no job queue iris-processing-queue",
            "aws batch describe-job-queues",
        ),
        (
            lambda double: double.set_environment(state="DISABLED"),
            "environment_disabled",
            "compute environment iris-spot is disabled",
            f"{UPDATE} --state ENABLED",
        ),
        (
            lambda double: double.set_environment(
                status="INVALID", status_reason="CLIENT_ERROR - The security group 'sg-0' does not exist"
            ),
            "environment_invalid",
            "compute environment iris-spot is invalid: its security group is gone",
            "aws batch describe-compute-environments --compute-environments iris-spot",
        ),
        (
            lambda double: double.set_environment(max_vcpus=0),
            "max_vcpus",
            "may have 0 vCPUs at most (maxvCpus), and one machine for the job has 4",
            f"{UPDATE} --compute-resources maxvCpus=16",
        ),
        (
            lambda double: double.set_environment(max_vcpus=4, instance_types=("g4dn.2xlarge",)),
            "max_vcpus",
            "may have 4 vCPUs at most (maxvCpus), and one machine for the job has 8",
            f"{UPDATE} --compute-resources maxvCpus=16",
        ),
        (
            lambda double: double.set_definition(vcpus=5),
            "job_too_large",
            "asks for 5 vCPUs, more than any machine type of compute environment iris-spot has (g4dn.xlarge)",
            f"aws batch describe-job-definitions --job-definition-name {DEFINITION} --status ACTIVE",
        ),
        (
            lambda double: double.set_quota(SPOT_G_QUOTA, 0),
            "quota",
            "may have 0 vCPUs of Spot machines of the families G and VT, and one machine for the job has 4;"
            " a new account begins with 0",
            "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF"
            " --desired-value 16",
        ),
        (
            lambda double: double.set_quota(SPOT_G_QUOTA, 2),
            "quota",
            "may have 2 vCPUs of Spot machines",
            "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF"
            " --desired-value 16",
        ),
    ],
    ids=[
        *("queue disabled", "queue invalid", "queue gone", "environment disabled", "environment invalid"),
        *("maxvCpus 0", "maxvCpus under a machine", "no machine so large", "quota 0", "quota too small"),
    ],
)
def test_cause_is_said_with_the_command_that_ends_it(
    explained: Callable[..., Waiting],
    harm: Callable[[BatchDouble], object],
    code: str,
    words: str,
    fix: str,
) -> None:
    waiting = explained(harm)
    assert (waiting.code, waiting.fix) == (code, fix)
    assert words in waiting.sentence


@pytest.mark.parametrize(
    ("status_reason", "code", "fix"),
    [
        (
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested",
            "capacity",
            f"{UPDATE} --compute-resources instanceTypes=g4dn.xlarge,g5.xlarge,g6.xlarge",
        ),
        (
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue",
            "max_vcpus",
            f"{UPDATE} --compute-resources maxvCpus=16",
        ),
        (
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU)",
            "job_too_large",
            f"aws batch describe-job-definitions --job-definition-name {DEFINITION} --status ACTIVE",
        ),
        (
            "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - Batch service role has a permission issue.",
            "service_role",
            "aws batch describe-compute-environments --compute-environments iris-spot",
        ),
        (
            "UNDETERMINED - Batch job is blocked, root cause is undetermined.",
            "undetermined",
            "aws batch describe-compute-environments --compute-environments iris-spot",
        ),
    ],
)
def test_what_batch_says_itself_is_put_into_our_words(
    explained: Callable[..., Waiting], status_reason: str, code: str, fix: str
) -> None:
    waiting = explained(status_reason=status_reason)
    assert (waiting.code, waiting.fix) == (code, fix)
    assert "iris-spot" in waiting.sentence
    assert "MISCONFIGURATION" not in waiting.sentence


@pytest.mark.parametrize("status_reason", ["UNDETERMINED - Batch job is blocked", ""])
def test_unexplained_wait_where_disks_have_a_key_of_the_accounts_own_names_the_grants(
    explained: Callable[..., Waiting], own_disk_key: None, status_reason: str
) -> None:
    waiting = explained(status_reason=status_reason)
    assert "without a grant for Auto Scaling and EC2 Spot no machine ever starts" in waiting.sentence
    assert "aws kms create-grant --key-id $(aws ec2 get-ebs" in waiting.fix


def test_lack_of_capacity_suggests_only_types_that_the_region_has(
    explained: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "GPU_TYPES", ("g4dn.xlarge", "g5.xlarge", "g99.xlarge"))
    waiting = explained(status_reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - none")
    assert waiting.fix == f"{UPDATE} --compute-resources instanceTypes=g4dn.xlarge,g5.xlarge"


def test_quota_of_0_is_named_even_where_batch_speaks_of_capacity(explained: Callable[..., Waiting]) -> None:
    waiting = explained(
        lambda double: double.set_quota(SPOT_G_QUOTA, 0),
        status_reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - none",
    )
    assert waiting.code == "quota"


def test_quota_that_was_never_changed_is_its_default(explained: Callable[..., Waiting]) -> None:
    waiting = explained(lambda double: double.quotas.pop(SPOT_G_QUOTA))
    assert waiting.code == "quota"
    assert "may have 0 vCPUs" in waiting.sentence


def test_definition_is_found_by_name_revision_and_arn(aws_session: AwsSession) -> None:
    reader = BatchReader(aws_session)
    arn = f"arn:aws:batch:us-east-1:123456789012:job-definition/{DEFINITION}"
    for name in (DEFINITION, f"{DEFINITION}:1", arn, f"{arn}:1"):
        found = reader.definition(name)
        assert found is not None
        assert (found.name, found.vcpus, found.memory_mib, found.gpus) == (DEFINITION, 4, 15000, 1)
    assert reader.definition("another") is None


def test_fallback_is_judged_by_its_own_environment_and_quota(explained: Callable[..., Waiting]) -> None:
    waiting = explained(lambda double: double.set_quota(ON_DEMAND_G_QUOTA, 0), lane=Lane.FALLBACK)
    assert "on-demand machines of the families G and VT" in waiting.sentence
    assert "--quota-code L-DB2E81BA" in waiting.fix


def test_one_environment_that_works_is_enough(explained: Callable[..., Waiting]) -> None:
    def harm(double: BatchDouble) -> None:
        double.set_queue(environments=[SPOT, ON_DEMAND])
        double.set_environment(SPOT, state="DISABLED")
        double.set_quota(SPOT_G_QUOTA, 0)

    assert explained(harm).code == "machine"


def test_others_that_came_first_are_counted(batch_double: BatchDouble, queue: BatchQueue) -> None:
    batch_double.set_environment(max_vcpus=4)
    batch_double.run_at_most(1)
    jobs = [queue.submit(TICKET) for _ in range(3)]
    batch_double.wait_for(jobs[0], "RUNNING")
    for number, job_id in enumerate(jobs):
        batch_double.job(job_id).created_at += number
    waiting = queue.why_waiting(Lane.MAIN, 0, jobs[2])
    assert waiting.code == "line"
    assert "all 4 vCPUs" in waiting.sentence
    assert "1 job at work, 1 in line before it" in waiting.sentence
    assert waiting.fix == f"{UPDATE} --compute-resources maxvCpus=8"
    batch_double.set_environment(max_vcpus=16)
    waiting = queue.why_waiting(Lane.MAIN, 0, jobs[2])
    assert (waiting.code, waiting.fix) == ("line", "")


def test_nothing_wrong_is_said_as_that(explained: Callable[..., Waiting]) -> None:
    assert explained() == Waiting(
        "machine", "it waits for a machine, and nothing is wrong as far as can be seen", ""
    )


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("DescribeJobs", "batch:DescribeJobs"),
        ("DescribeComputeEnvironments", "batch:DescribeComputeEnvironments"),
        ("DescribeJobDefinitions", "batch:DescribeJobDefinitions"),
        ("GetServiceQuota", "servicequotas:GetServiceQuota"),
        ("ListJobs", "batch:ListJobs"),
    ],
)
def test_denied_look_weakens_the_answer_and_is_named(
    explained: Callable[..., Waiting], operation: str, action: str
) -> None:
    waiting = explained(lambda double: double.deny(operation))
    assert waiting.code == "machine"
    assert f"not everything could be looked at: AWS denies {action} on" in waiting.sentence


def test_queue_that_may_not_be_looked_at_leaves_what_batch_said(explained: Callable[..., Waiting]) -> None:
    waiting = explained(lambda double: double.deny("DescribeJobQueues"))
    assert waiting.code == "unknown"
    assert "AWS denies batch:DescribeJobQueues" in waiting.sentence
    waiting = explained(
        lambda double: double.deny("DescribeJobQueues"),
        status_reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - none",
    )
    assert (waiting.code, waiting.fix) == ("capacity", "")


def test_missing_queue_is_certain_whatever_else_is_said_or_denied(explained: Callable[..., Waiting]) -> None:
    def harm(double: BatchDouble) -> None:
        double.deny("DescribeJobs")
        double.queues.pop(MAIN_QUEUE)

    assert (
        explained(harm, status_reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - x").code == "queue_missing"
    )


def test_expired_credentials_are_the_answer_and_no_error(explained: Callable[..., Waiting]) -> None:
    waiting = explained(lambda double: double.expire_credentials())
    assert waiting.code == "unknown"
    assert "credentials have expired" in waiting.sentence


def test_run_that_waits_no_longer_is_told_so(batch_double: BatchDouble, queue: BatchQueue) -> None:
    job_id = queue.submit(TICKET)
    batch_double.wait_for(job_id, "RUNNING")
    assert queue.why_waiting(Lane.MAIN, 0, job_id).code == "running"
    queue.cancel(TICKET.job_key, job_id)
    batch_double.wait_for(job_id, "FAILED")
    assert queue.why_waiting(Lane.MAIN, 0, job_id).code == "over"


def test_reader_names_the_denied_action_for_the_doctor(
    batch_double: BatchDouble, aws_session: AwsSession
) -> None:
    batch_double.deny("DescribeJobQueues")
    with pytest.raises(Away, match="denies batch:DescribeJobQueues on the job queue iris-processing-queue"):
        BatchReader(aws_session).queue(MAIN_QUEUE)


@pytest.mark.parametrize(
    ("name", "vcpus"),
    [("g4dn.xlarge", 4), ("g4dn.12xlarge", 48), ("c7i.large", 2), ("t3.medium", 1), ("optimal", None)],
)
def test_vcpus_are_read_off_a_machine_types_name(name: str, vcpus: int | None) -> None:
    assert vcpus_of_type(name) == vcpus


@pytest.mark.parametrize(
    ("kind", "types", "code"),
    [
        ("SPOT", ("g4dn.xlarge",), "L-3819A6DF"),
        ("EC2", ("gr6.4xlarge",), "L-DB2E81BA"),
        ("SPOT", ("c7i.4xlarge", "m7i.4xlarge"), "L-34B43A08"),
        ("EC2", ("optimal",), "L-1216C47A"),
        ("EC2", ("p4d.24xlarge",), ""),
        ("FARGATE", (), ""),
    ],
)
def test_quota_belongs_to_the_family_and_the_way_of_buying(
    kind: str, types: tuple[str, ...], code: str
) -> None:
    environment = EnvironmentReading("any", True, True, "", kind, 16, 0, types)
    assert environment.quota_code == code


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("CLIENT_ERROR - Launch Template with id lt-1 does not exist", "launch template"),
        (
            "CLIENT_ERROR - User: x is not authorized to perform: sts:AssumeRole on resource: y",
            "service role",
        ),
        ("CLIENT_ERROR - Invalid IamInstanceProfile / instance profile", "instance role"),
        ("INTERNAL_ERROR - something", "Batch has a fault of its own"),
        ("", "a reason that we do not know"),
    ],
)
def test_reason_of_an_invalid_environment_is_put_into_our_words(said: str, words: str) -> None:
    assert words in why_invalid(said)
