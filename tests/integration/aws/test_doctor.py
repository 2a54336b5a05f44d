"""`iris doctor` on AWS: each thing well, and each broken in turn, against moto and the Batch double."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.adapters.aws.inspection.account import clock
from gateway.adapters.checks import Check, Verdict
from gateway.commands.doctor import examine
from gateway.commands.doctor_aws import examine_aws
from gateway.config import Aws, Config, Fallback, Mirror, News, Objects, Queue, Site
from tests.doubles.batch import DEFINITION, FALLBACK_QUEUE, MAIN_QUEUE, ON_DEMAND, SPOT, BatchDouble
from tests.doubles.batch_jobs import ACCOUNT
from tests.spoiling_proxy import Proxy

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
REPOSITORY = "iris-totalsegmentator-batch"
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
INVALID = {"status": "INVALID", "status_reason": "bad subnet"}
BLOCK = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> str:
    """A bucket as it should be."""
    name, client = f"iris-{uuid.uuid4().hex}", boto3.client("s3")
    client.create_bucket(Bucket=name)
    rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=BLOCK)
    return name


@pytest.fixture
def queue_url(aws_environment: dict[str, str]) -> str:
    """An SQS queue as it should be."""
    client, name = boto3.client("sqs"), uuid.uuid4().hex
    dead = client.create_queue(QueueName=f"dead-{name}")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"})
    attributes: Any = {"RedrivePolicy": policy, "VisibilityTimeout": "60"}
    return client.create_queue(QueueName=f"news-{name}", Attributes=attributes)["QueueUrl"]


def make_table(
    name: str = "", *, sort_key: str = "sk", indexes: tuple[str, ...] = ("by_state", "by_job")
) -> str:
    keys = {"by_state": ("state", "updated_at"), "by_job": ("job_key",)}
    used = {"pk", sort_key, *(attribute for index in indexes for attribute in keys[index])}

    def schema(*names: str) -> Any:
        return [
            {"AttributeName": each, "KeyType": kind}
            for each, kind in zip(names, ("HASH", "RANGE"), strict=False)
        ]

    name, client = name or f"iris-{uuid.uuid4().hex}", boto3.client("dynamodb")
    more: Any = {
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": schema(*keys[index]), "Projection": {"ProjectionType": "ALL"}}
            for index in indexes
        ]
    }
    client.create_table(
        TableName=name,
        KeySchema=schema("pk", sort_key),
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in sorted(used)],
        BillingMode="PAY_PER_REQUEST",
        **(more if indexes else {}),
    )
    return name


@pytest.fixture
def table(aws_environment: dict[str, str]) -> str:
    """A table as it should be."""
    name, client = make_table(), boto3.client("dynamodb")
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    client.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    return name


@pytest.fixture
def image(aws_environment: dict[str, str]) -> str:
    """The double's image, pushed."""
    client = boto3.client("ecr")
    if REPOSITORY not in {
        found["repositoryName"] for found in client.describe_repositories()["repositories"]
    }:
        client.create_repository(repositoryName=REPOSITORY)
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": uuid.uuid4().hex}, "layers": []}
    )
    client.put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageTag="latest")
    return REPOSITORY


@pytest.fixture
def config(batch_double: BatchDouble, bucket: str, queue_url: str, table: str, image: str) -> Config:
    """Everything switched on, and everything well."""
    return Config(
        objects=Objects(backend="s3", bucket=bucket, prefix="site"),
        queue=Queue(
            backend="batch",
            job_queue=MAIN_QUEUE,
            job_definition=DEFINITION,
            fallback=Fallback(job_queue=FALLBACK_QUEUE),
        ),
        news=News(backend="sqs", queue_url=queue_url),
        mirror=Mirror(backend="dynamodb", table=table),
    )


def look(config: Config) -> dict[str, Check]:
    """Every check under its name; none shows an account or a key."""
    checks = list(examine_aws(config))
    for check in checks:
        said = f"{check.name} {check.finding} {check.fix}"
        assert ACCOUNT not in said, said
        assert "testing" not in said, said
        assert (check.verdict is Verdict.OK) == (not check.fix), check
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


def only_bucket(bucket: str, **aws: Any) -> Config:
    return Config(objects=Objects(backend="s3", bucket=bucket), aws=Aws(**aws))


def test_everything_well_is_ok(config: Config) -> None:
    found = look(config)
    assert [check for check in found.values() if check.verdict is not Verdict.OK] == []
    assert set(found) == {
        "aws identity", "aws clock", "bucket", "bucket access", "bucket encryption", "bucket public access",
        "queue definition", "queue image", "queue job queue", f"queue environment {SPOT}",
        f"queue machines of {SPOT}", f"queue quota for {SPOT}", "queue disks",
        "queue.fallback definition", "queue.fallback image", "queue.fallback job queue",
        f"queue.fallback environment {ON_DEMAND}", f"queue.fallback machines of {ON_DEMAND}",
        f"queue.fallback quota for {ON_DEMAND}",
        "news queue", "news dead letters", "news visibility",
        "mirror table", "mirror indexes", "mirror expiry", "mirror backup",
    }  # fmt: skip


def test_second_region_is_looked_at_where_it_is(config: Config, bucket: str) -> None:
    there = Fallback(
        region="eu-west-1", bucket=bucket, job_queue=FALLBACK_QUEUE, job_definition=DEFINITION, kms_key=""
    )
    found = look(config.model_copy(update={"queue": config.queue.model_copy(update={"fallback": there})}))
    said = found["bucket in eu-west-1"]
    assert said.verdict is Verdict.FAILED
    assert "is in us-east-1" in said.finding
    assert found["queue.fallback job queue in eu-west-1"].verdict is Verdict.OK
    assert "queue.fallback job queue" not in found
    assert found["bucket"].verdict is Verdict.OK


def test_what_is_not_switched_on_is_not_looked_at(bucket: str) -> None:
    assert list(examine_aws(Config())) == []
    assert {name.partition(" ")[0] for name in look(only_bucket(bucket))} == {"aws", "bucket"}


def test_doctor_as_a_whole_looks_at_aws_too(bucket: str, tmp_path: Path) -> None:
    config = only_bucket(bucket).model_copy(update={"site": Site(data_dir=tmp_path)})
    found = {check.name: check.verdict for check in examine(config)}
    assert (found["disk"], found["bucket access"]) == (Verdict.OK, Verdict.OK)


def test_probe_leaves_nothing_in_the_bucket(bucket: str) -> None:
    assert look(only_bucket(bucket))["bucket access"].verdict is Verdict.OK
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


# -- identity, clock, network -----------------------------------------------------------------------------


def test_without_credentials_one_line_says_so(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (check,) = look(only_bucket(bucket)).values()
    assert (check.name, check.verdict) == ("aws identity", Verdict.FAILED)
    assert "give this machine a role" in check.fix


def test_root_user_is_a_warning(bucket: str, moto_server: str) -> None:
    proxy = Proxy(moto_server)
    proxy.spoil = lambda method, path, number: lambda body: body.replace(b":user/moto", b":root")
    check = look(only_bucket(bucket, endpoint_url=proxy.address))["aws identity"]
    proxy.stop()
    assert (check.verdict, check.fix) == (Verdict.WARNING, "give this machine a role of its own")


def test_endpoint_that_is_none_is_a_line(aws_environment: dict[str, str]) -> None:
    (check,) = look(only_bucket("iris-data", endpoint_url="no address")).values()
    assert (check.verdict, "aws.endpoint_url" in check.finding) == (Verdict.FAILED, True)


@pytest.mark.parametrize(
    ("behind_s", "verdict"),
    [
        (0, Verdict.OK),
        (59, Verdict.OK),
        (-61, Verdict.WARNING),
        (290, Verdict.WARNING),
        (-301, Verdict.FAILED),
        (3600, Verdict.FAILED),
    ],
)
def test_clock_is_judged_by_how_far_it_is_off(behind_s: float, verdict: Verdict) -> None:
    now = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
    check = clock(format_datetime(now + timedelta(seconds=behind_s), usegmt=True), now)
    assert check.verdict is verdict
    assert ("timedatectl" in check.fix) == (verdict is not Verdict.OK)


def test_clock_without_a_time_in_the_answer_is_a_warning() -> None:
    assert clock("", datetime.now(UTC)).verdict is Verdict.WARNING


# -- the bucket -------------------------------------------------------------------------------------------


def test_bucket_that_is_missing_fails(aws_environment: dict[str, str]) -> None:
    check = look(only_bucket("iris-nowhere"))["bucket"]
    assert (check.verdict, check.finding[:41]) == (
        Verdict.FAILED,
        "AWS does not find the bucket iris-nowhere",
    )


def test_bucket_in_another_region_fails_with_the_right_one(aws_environment: dict[str, str]) -> None:
    name = f"iris-{uuid.uuid4().hex}"
    boto3.client("s3", region_name="eu-west-1").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    check = look(only_bucket(name))["bucket"]
    assert (check.verdict, check.fix) == (Verdict.FAILED, 'aws.region = "eu-west-1"')


@pytest.mark.parametrize(
    ("method", "name", "verdict", "action"),
    [
        ("PUT", "bucket access", Verdict.FAILED, "s3:PutObject"),
        ("DELETE", "bucket access", Verdict.WARNING, "s3:DeleteObject"),
    ],
)
def test_bucket_that_denies_says_what_to_allow(
    bucket: str, moto_server: str, method: str, name: str, verdict: Verdict, action: str
) -> None:
    proxy = Proxy(moto_server)
    proxy.spoil = lambda asked, path, number: (403, "AccessDenied") if asked == method else None
    check = look(only_bucket(bucket, endpoint_url=proxy.address))[name]
    proxy.stop()
    assert check.verdict is verdict
    assert action in check.finding
    assert "IAM policy" in check.fix


def test_bucket_whose_settings_may_not_be_seen_is_a_warning(bucket: str, moto_server: str) -> None:
    proxy = Proxy(moto_server)
    count: list[str] = []

    def deny_settings(method: str, path: str, number: int) -> Any:
        count.append(method)
        is_setting = method == "GET" and path.rstrip("/") == f"/{bucket}" and "DELETE" in count
        return (403, "AccessDenied") if is_setting else None

    proxy.spoil = deny_settings
    found = look(only_bucket(bucket, endpoint_url=proxy.address))
    proxy.stop()
    for name in ("bucket encryption", "bucket public access"):
        assert found[name].verdict is Verdict.WARNING
        assert found[name].finding.startswith("not looked at: AWS denies s3:Get")


def test_bucket_that_could_be_made_public_is_a_warning_with_the_command(bucket: str) -> None:
    boto3.client("s3").delete_public_access_block(Bucket=bucket)
    check = look(only_bucket(bucket))["bucket public access"]
    assert check.verdict is Verdict.WARNING
    assert check.fix.startswith(f"aws s3api put-public-access-block --bucket {bucket}")


def test_bucket_that_is_public_fails(bucket: str) -> None:
    client = boto3.client("s3")
    client.delete_public_access_block(Bucket=bucket)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    client.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    assert look(only_bucket(bucket))["bucket public access"].verdict is Verdict.FAILED


def test_bucket_without_default_encryption_is_a_warning(bucket: str) -> None:
    boto3.client("s3").delete_bucket_encryption(Bucket=bucket)
    assert look(only_bucket(bucket))["bucket encryption"].verdict is Verdict.WARNING


def test_bucket_whose_default_is_not_our_key_is_a_warning(bucket: str) -> None:
    config = Config(objects=Objects(backend="s3", bucket=bucket, kms_key="alias/iris"))
    check = look(config)["bucket encryption"]
    assert check.verdict is Verdict.WARNING
    assert "what jobs write" in check.finding


# -- Batch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change", "name", "finding", "fix"),
    [
        ("queue", {"state": "DISABLED"}, "job queue", "is disabled", "aws batch update-job-queue"),
        ("queue", {"status": "INVALID"}, "job queue", "is invalid", "aws batch describe-job-queues"),
        ("queue", {"environments": ["gone"]}, "environments", "has no compute environment gone", "aws batch"),
        ("environment", {"state": "DISABLED"}, f"environment {SPOT}", "is disabled", "--state ENABLED"),
        ("environment", INVALID, f"environment {SPOT}", "its subnet", "aws"),
        ("environment", {"max_vcpus": 0}, f"environment {SPOT}", "0 vCPUs at most", "maxvCpus=16"),
        ("environment", {"instance_types": ["c5.xlarge"]}, f"environment {SPOT}", "have none", "g4dn.xlarge"),
        ("environment", {"instance_types": ["g4dn.xlarge"]}, f"environment {SPOT}", "", ""),
        ("definition", {"vcpus": 8}, f"environment {SPOT}", "8 vCPUs, more than any", "aws batch"),
        ("definition", {"memory_mib": 16384}, f"environment {SPOT}", "asks for 16384 MiB", "ask for less"),
        ("definition", {"status": "INACTIVE"}, "definition", "no active job definition", "aws batch"),
        ("definition", {"image": "docker.io/iris:1"}, "image", "not in ECR", "can pull it"),
        ("definition", {"image": f"{REGISTRY}/{REPOSITORY}:9"}, "image", ":9 in ECR", "push it"),
        ("definition", {"image": f"{REGISTRY}/none:1"}, "image", "repository none", "look at"),
    ],
)  # fmt: skip
def test_batch_that_is_not_as_it_should_be_is_said_with_the_way_out(
    config: Config,
    batch_double: BatchDouble,
    kind: str,
    change: dict[str, Any],
    name: str,
    finding: str,
    fix: str,
) -> None:
    things = {
        "queue": batch_double.queues[MAIN_QUEUE],
        "environment": batch_double.environments[SPOT],
        "definition": batch_double.definitions[DEFINITION],
    }
    with batch_double.life.lock:
        for name_of_field, value in change.items():
            setattr(things[kind], name_of_field, value)
    check = look(config)[f"queue {name}"]
    assert finding in check.finding
    assert fix in check.fix
    assert (check.verdict is Verdict.OK) == (not finding)


@pytest.mark.parametrize(
    ("status", "verdict"), [("UPDATE_AVAILABLE", Verdict.WARNING), ("LATEST", Verdict.OK), ("", None)]
)
def test_machines_that_start_from_an_image_older_than_the_newest_are_told_with_the_command(
    batch_double: BatchDouble, config: Config, status: str, verdict: Verdict | None
) -> None:
    batch_double.set_environment(image_status=status)
    check = look(config).get(f"queue system of {SPOT}")
    assert (check and check.verdict) == verdict
    assert (check is not None and "updateToLatestImageVersion=true" in check.fix) is (
        verdict is Verdict.WARNING
    )


@pytest.mark.parametrize(
    ("types", "verdict", "finding"),
    [
        (
            ("g4dn.xlarge", "g99.xlarge"),
            Verdict.WARNING,
            "the region has no g99.xlarge; it has g4dn.xlarge in",
        ),
        (("g99.xlarge",), Verdict.FAILED, "the region has none of its machine types (g99.xlarge)"),
    ],
)
def test_machine_types_that_the_region_lacks_are_named(
    config: Config, batch_double: BatchDouble, types: tuple[str, ...], verdict: Verdict, finding: str
) -> None:
    batch_double.set_environment(instance_types=types)
    check = look(config)[f"queue machines of {SPOT}"]
    assert check.verdict is verdict
    assert finding in check.finding


def test_key_of_the_accounts_own_for_disks_is_a_warning_with_the_grants(
    config: Config, own_disk_key: None
) -> None:
    check = look(config)["queue disks"]
    assert check.verdict is Verdict.WARNING
    assert "aws kms create-grant --key-id $(aws ec2 get-ebs" in check.fix


@pytest.mark.parametrize(
    ("quota", "verdict", "finding"),
    [
        (0.0, Verdict.FAILED, "may have 0 vCPUs of Spot machines of the families G and VT"),
        (2.0, Verdict.FAILED, "one machine for the job has 4"),
        (8.0, Verdict.WARNING, f"8 vCPUs of Spot machines of the families G and VT, and {SPOT} might use 16"),
    ],
)
def test_quota_that_is_too_small_is_said_with_the_command(
    config: Config, batch_double: BatchDouble, quota: float, verdict: Verdict, finding: str
) -> None:
    batch_double.quotas["L-3819A6DF"] = quota
    check = look(config)[f"queue quota for {SPOT}"]
    assert check.verdict is verdict
    assert finding in check.finding
    assert "request-service-quota-increase" in check.fix
    assert "--quota-code L-3819A6DF --desired-value 16" in check.fix


def test_batch_that_denies_says_the_actions(config: Config, batch_double: BatchDouble) -> None:
    batch_double.deny()
    found = look(config)
    for name, action in (
        ("queue definition", "batch:DescribeJobDefinitions"),
        ("queue job queue", "batch:DescribeJobQueues"),
    ):
        assert found[name].verdict is Verdict.FAILED
        assert action in found[name].finding


# -- news and mirror --------------------------------------------------------------------------------------


def test_news_queue_that_is_missing_fails(config: Config) -> None:
    wrong = f"{config.news.queue_url}x"
    check = look(config.model_copy(update={"news": News(backend="sqs", queue_url=wrong)}))["news queue"]
    assert (check.verdict, check.finding[:31]) == (Verdict.FAILED, "AWS does not find the SQS queue")


def test_news_queue_without_dead_letters_and_with_a_long_timeout_is_a_warning(config: Config) -> None:
    url = boto3.client("sqs").create_queue(
        QueueName=uuid.uuid4().hex, Attributes={"VisibilityTimeout": "7200"}
    )["QueueUrl"]
    found = look(config.model_copy(update={"news": News(backend="sqs", queue_url=url)}))
    assert found["news queue"].verdict is Verdict.OK
    for name in ("news dead letters", "news visibility"):
        assert found[name].verdict is Verdict.WARNING
        assert found[name].fix.startswith("aws sqs set-queue-attributes")


def test_news_queue_gives_its_messages_to_the_gateway_after_the_doctor(config: Config) -> None:
    client = boto3.client("sqs")
    client.send_message(QueueUrl=config.news.queue_url, MessageBody="news")
    look(config)
    answer = client.receive_message(QueueUrl=config.news.queue_url, WaitTimeSeconds=2)
    assert [message["Body"] for message in answer["Messages"]] == ["news"]


@pytest.mark.parametrize(
    ("made", "name", "finding"),
    [
        ({"sort_key": "id"}, "mirror table", "has the keys pk, id instead of pk, sk"),
        ({"indexes": ("by_job",)}, "mirror indexes", "index by_state (state, updated_at) is missing"),
        ({"indexes": ()}, "mirror indexes", "index by_state (state, updated_at) is missing"),
    ],
)
def test_table_of_another_shape_fails(config: Config, made: dict[str, Any], name: str, finding: str) -> None:
    mirror = Mirror(backend="dynamodb", table=make_table(**made))
    check = look(config.model_copy(update={"mirror": mirror}))[name]
    assert (check.verdict, check.finding.endswith(finding)) == (Verdict.FAILED, True), check


def test_table_without_expiry_and_backup_is_a_warning(config: Config) -> None:
    found = look(config.model_copy(update={"mirror": Mirror(backend="dynamodb", table=make_table())}))
    assert found["mirror table"].verdict is Verdict.OK
    for name in ("mirror expiry", "mirror backup"):
        assert found[name].verdict is Verdict.WARNING
        assert re.match("aws dynamodb update-", found[name].fix)


def test_table_that_is_missing_fails(config: Config) -> None:
    check = look(config.model_copy(update={"mirror": Mirror(backend="dynamodb", table="none")}))[
        "mirror table"
    ]
    assert (check.verdict, check.finding[:29]) == (Verdict.FAILED, "AWS does not find the table n")
