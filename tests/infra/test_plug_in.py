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
    assert len(names) == 20
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


def test_second_site_beside_a_whole_stack_shares_bucket_and_queue_and_may_use_the_buckets_key(
    empty_aws: Aws, moto_server: str, aws_environment: dict[str, str]
) -> None:
    fresh(moto_server)
    first = empty_aws.deploy("iris-oculus-backend")
    key = first.outputs["BucketKey"]
    repository = first.outputs["Repository"]
    second = empty_aws.deploy(
        "iris-south", Mode="plug-in", SiteName="south", BucketKeyArn=key, Repository=repository
    )
    assert "AWS::ECR::Repository" not in {of["Type"] for of in second.wanted.values()}
    assert second.outputs["Repository"] == repository
    found = tomllib.loads(config_of_stack("iris-south", REGION))
    assert found["objects"]["bucket"] == first.outputs["Bucket"]
    assert found["objects"]["kms_key"] == key
    assert found["queue"]["job_queue"] == "iris-processing-queue"
    assert found["news"]["queue_url"].endswith("/iris-south-news-south")
    role = second.resolved(second.wanted["JobRole"]["Properties"])
    statements = {each["Sid"]: each for each in role["Policies"][0]["PolicyDocument"]["Statement"]}
    assert key in statements["Sealed"]["Resource"]


def test_plug_in_without_the_present_stack_is_refused(empty_aws: Aws, moto_server: str) -> None:
    fresh(moto_server)
    with pytest.raises(ClientError, match="No export named Iris"):
        empty_aws.deploy("iris-gateway", Mode="plug-in")
