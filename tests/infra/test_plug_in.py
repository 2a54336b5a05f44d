"""The template beside the present stack: it takes over what that exports, and changes nothing there."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.adapters.checks import Verdict
from gateway.commands.doctor_aws import examine_aws
from gateway.commands.stack_config import config_of_stack
from gateway.config import load_config
from tests.cloud import REGION
from tests.infra.access import TAGS, WISHED_TAGS, Request, is_allowed
from tests.infra.conftest import push_image
from tests.infra.deployment import ACCOUNT, IGNORED_TYPES, Aws, Deployed, fresh

PRESENT = "iris-oculus-backend"
SKELETON = json.loads((Path(__file__).parent / "present_stack.json").read_text(encoding="utf-8"))
ONCE_IN_AN_ACCOUNT = {"AWS::S3::Bucket", "AWS::Cognito::UserPool"}
"""What the present stack has already."""


NAMES = {
    *("ClientName", "ComputeEnvironmentName", "FunctionName", "JobDefinitionName", "JobQueueName"),
    *("LogGroupName", "QueueName", "RepositoryName", "TableName"),
}
"""Properties that name a resource."""


def state_of_present(aws: Aws) -> dict[str, Any]:
    """Everything that can be asked about the present stack and what it made."""
    cloudformation, batch, s3 = (aws.client(name) for name in ("cloudformation", "batch", "s3"))
    stack = cloudformation.describe_stacks(StackName=PRESENT)["Stacks"][0]
    bucket = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}["Bucket"]
    definitions = batch.describe_job_definitions(jobDefinitionName="iris-totalsegmentator-job")
    return {
        "stack": stack,
        "template": cloudformation.get_template(StackName=PRESENT)["TemplateBody"],
        "resources": cloudformation.describe_stack_resources(StackName=PRESENT)["StackResources"],
        "objects": [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])],
        "encryption": s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
        "definitions": definitions["jobDefinitions"],
        "queues": batch.describe_job_queues(jobQueues=["iris-processing-queue"])["jobQueues"],
        "environments": [
            each
            for each in batch.describe_compute_environments()["computeEnvironments"]
            if each["computeEnvironmentName"] == "iris-spot"
        ],
        "images": aws.client("ecr").describe_repositories(repositoryNames=["iris-totalsegmentator-batch"])[
            "repositories"
        ],
        "table": aws.client("dynamodb").describe_table(TableName="iris-oculus-metadata")["Table"],
    }


@pytest.fixture(scope="module")
def present(empty_aws: Aws) -> dict[str, Any]:
    """A skeleton of the present stack, and its state before anything came beside it."""
    empty_aws.deploy_other(PRESENT, SKELETON)
    empty_aws.client("s3").put_object(
        Bucket=f"iris-oculus-data-{ACCOUNT}", Key="uploads/aws-0123456789ab/image", Body=b"voxels"
    )
    return state_of_present(empty_aws)


@pytest.fixture(scope="module")
def plugged_in(present: dict[str, Any], empty_aws: Aws) -> Deployed:
    return empty_aws.deploy("iris-gateway", Mode="plug-in")


def test_plug_in_takes_over_bucket_queue_and_user_pool_and_makes_none(plugged_in: Deployed) -> None:
    assert plugged_in.described["StackStatus"] == "CREATE_COMPLETE"
    kinds = {of["Type"] for of in plugged_in.wanted.values()}
    assert kinds & ONCE_IN_AN_ACCOUNT == set()
    assert {plugged_in.wanted[name]["Type"] for name in set(plugged_in.wanted) - set(plugged_in.ids)} <= (
        IGNORED_TYPES
    )
    assert plugged_in.outputs["Bucket"] == f"iris-oculus-data-{ACCOUNT}"
    assert plugged_in.outputs["JobQueue"].endswith("iris-processing-queue")
    assert plugged_in.outputs["UserPoolId"] == "us-east-1_present"
    queues = [of["JobQueueName"] for _, of in plugged_in.of_type("AWS::Batch::JobQueue")]
    assert queues == ["iris-gateway-cpu"]
    assert [each for each in plugged_in.described["Outputs"] if "ExportName" in each] == []


def test_plug_in_leaves_the_present_stack_as_it_was(
    plugged_in: Deployed, present: dict[str, Any], empty_aws: Aws
) -> None:
    assert state_of_present(empty_aws) == present


def test_plug_in_names_nothing_as_the_present_stack_does(plugged_in: Deployed) -> None:
    names = [
        plugged_in.resolved(of["Properties"][key])
        for of in plugged_in.wanted.values()
        for key in of["Properties"]
        if key in NAMES
    ]
    assert len(names) == 21
    assert [name for name in names if not name.split("/")[-1].startswith("iris-gateway-")] == []


def test_plug_in_pushes_its_images_into_a_repository_of_its_own(plugged_in: Deployed) -> None:
    assert plugged_in.outputs["Repository"] == "iris-gateway-batch"
    [(_, job), *_] = plugged_in.of_type("AWS::Batch::JobDefinition")
    assert "/iris-gateway-batch:" in job["ContainerProperties"]["Image"]


def test_jobs_of_a_plug_in_may_touch_the_gateways_prefix_of_the_present_bucket_alone(
    plugged_in: Deployed,
) -> None:
    role = plugged_in.resolved(plugged_in.wanted["JobRole"]["Properties"])
    statements = {each["Sid"]: each for each in role["Policies"][0]["PolicyDocument"]["Statement"]}
    assert statements["JobFolders"]["Resource"] == f"arn:aws:s3:::iris-oculus-data-{ACCOUNT}/gateway/jobs/*"


def test_doctor_finds_no_failure_with_a_plug_in_and_its_configuration(
    plugged_in: Deployed, empty_aws: Aws, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    plugged_in.add_what_was_left_out()
    push_image(empty_aws, plugged_in.outputs["Repository"], plugged_in.parameters["ImageTag"])
    path = tmp_path / "iris.toml"
    path.write_text(config_of_stack(plugged_in.stack, REGION), encoding="utf-8")
    config = load_config(path)
    assert (config.queue.job_queue, config.queue.job_definition) == (
        "iris-processing-queue",
        "iris-gateway-total",
    )
    assert config.objects.kms_key == ""
    failed = [check for check in examine_aws(config) if check.verdict is Verdict.FAILED]
    assert failed == []


@pytest.fixture(scope="module")
def two_sites(empty_aws: Aws, moto_server: str) -> tuple[Deployed, Deployed]:
    """A whole stack, and a second site of the same owner beside it, with one table and one page."""
    fresh(moto_server)
    first = empty_aws.deploy("iris-oculus-backend")
    second = empty_aws.deploy(
        "iris-south",
        Mode="plug-in",
        SiteName="south",
        Prefix="south",
        BucketKeyArn=first.outputs["BucketKey"],
        Repository=first.outputs["Repository"],
        Table=first.outputs["StudiesTable"],
        WebClient="no",
    )
    return first, second


def test_second_site_beside_a_whole_stack_shares_bucket_queue_and_table_and_may_use_the_buckets_key(
    two_sites: tuple[Deployed, Deployed], aws_environment: dict[str, str]
) -> None:
    first, second = two_sites
    made = {of["Type"] for of in second.wanted.values()}
    assert made & {"AWS::ECR::Repository", "AWS::DynamoDB::Table", "AWS::ApiGatewayV2::Api"} == set()
    assert second.outputs["Repository"] == first.outputs["Repository"]
    found = tomllib.loads(config_of_stack("iris-south", REGION))
    assert found["objects"] == {
        "backend": "s3",
        "bucket": first.outputs["Bucket"],
        "prefix": "south",
        "kms_key": first.outputs["BucketKey"],
    }
    assert found["queue"]["job_queue"] == "iris-processing-queue"
    assert found["news"]["queue_url"].endswith("/iris-south-news-south")
    assert found["mirror"]["table"] == first.outputs["StudiesTable"]
    role = second.resolved(second.wanted["JobRole"]["Properties"])
    statements = {each["Sid"]: each for each in role["Policies"][0]["PolicyDocument"]["Statement"]}
    assert first.outputs["BucketKey"] in statements["Sealed"]["Resource"]


BUCKET = f"arn:aws:s3:::iris-oculus-data-{ACCOUNT}"
ANY_JOB = f"arn:aws:batch:{REGION}:{ACCOUNT}:job/0123"
QUEUE = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/iris-processing-queue"


def asks_of_a_site(site: str, prefix: str) -> dict[str, Request]:
    """What a site's gateway may ask for with its own name, and with no other."""
    tags = {"Application": "iris-oculus", "site": site}
    wished = {WISHED_TAGS + name: of for name, of in tags.items()}
    held = {TAGS + name: of for name, of in tags.items()}
    return {
        "read": Request("s3:GetObject", f"{BUCKET}/{prefix}/jobs/KEY/labels.nii.gz"),
        "write": Request("s3:PutObject", f"{BUCKET}/{prefix}/jobs/KEY/input.nii.gz"),
        "list": Request("s3:ListBucket", BUCKET, {"s3:prefix": f"{prefix}/jobs/"}),
        "end": Request("batch:TerminateJob", ANY_JOB, held),
        "withdraw": Request("batch:CancelJob", ANY_JOB, held),
        "submit": Request("batch:SubmitJob", QUEUE, wished | {"batch:ShareIdentifier": site}),
        "tag": Request("batch:TagResource", ANY_JOB, wished),
    }


@pytest.mark.parametrize("ask", list(asks_of_a_site("north", "gateway")))
def test_site_reaches_its_own_prefix_and_jobs_and_no_other_sites(
    two_sites: tuple[Deployed, Deployed], ask: str
) -> None:
    sites = {"north": "gateway", "south": "south"}
    for deployed, own in zip(two_sites, sites, strict=True):
        policy = deployed.resolved(deployed.wanted["GatewayPolicy"]["Properties"])
        statements = policy["PolicyDocument"]["Statement"]
        for site, prefix in sites.items():
            request = asks_of_a_site(site, prefix)[ask]
            assert is_allowed(statements, request) is (site == own), (own, request)


def test_site_cannot_make_another_sites_job_its_own_by_a_tag(two_sites: tuple[Deployed, Deployed]) -> None:
    _, south = two_sites
    policy = south.resolved(south.wanted["GatewayPolicy"]["Properties"])
    context = {WISHED_TAGS + "site": "south", TAGS + "site": "north"}
    request = Request("batch:TagResource", ANY_JOB, context)
    assert not is_allowed(policy["PolicyDocument"]["Statement"], request)


def test_jobs_of_a_site_reach_its_own_prefix_alone(two_sites: tuple[Deployed, Deployed]) -> None:
    for deployed, own, other in zip(two_sites, ("gateway", "south"), ("south", "gateway"), strict=True):
        role = deployed.resolved(deployed.wanted["JobRole"]["Properties"])
        statements = role["Policies"][0]["PolicyDocument"]["Statement"]
        for prefix, is_own in ((own, True), (other, False)):
            read = Request("s3:GetObject", f"{BUCKET}/{prefix}/jobs/KEY/input.nii.gz")
            listed = Request("s3:ListBucket", BUCKET, {"s3:prefix": f"{prefix}/jobs/KEY/"})
            assert is_allowed(statements, read) is is_allowed(statements, listed) is is_own


def test_each_site_gets_the_events_of_its_own_jobs_alone(two_sites: tuple[Deployed, Deployed]) -> None:
    for deployed, site in zip(two_sites, ("north", "south"), strict=True):
        [rule] = [of for name, of in deployed.of_type("AWS::Events::Rule") if name == "JobRule"]
        assert rule["EventPattern"]["detail"]["tags"] == {"site": [site]}


def test_plug_in_without_the_present_stack_is_refused(empty_aws: Aws, moto_server: str) -> None:
    fresh(moto_server)
    with pytest.raises(ClientError, match="No export named Iris"):
        empty_aws.deploy("iris-gateway", Mode="plug-in")
