"""Who may do what: the roles' policies as deployed, beside the documents, and what they must not allow.

`test_recorded_calls.py` compares them with what is really asked for.
"""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from gateway.config import Watch
from tests.cloud import REGION
from tests.infra.access import Statement, as_list
from tests.infra.deployment import ACCOUNT, ROOT, Deployed

ACTION = re.compile(r"\b(?:s3|batch|ec2|sqs|dynamodb|ecr|kms|servicequotas|cloudwatch):[A-Z][A-Za-z]+\b")
BUCKET = f"arn:aws:s3:::iris-oculus-data-{ACCOUNT}"
HERE = f"{REGION}:{ACCOUNT}"
NEWS = f"arn:aws:sqs:{HERE}:iris-oculus-backend-news-north"
TABLE = f"arn:aws:dynamodb:{HERE}:table/iris-oculus-backend-studies"
JOB = f"arn:aws:batch:{HERE}:job/00000000-0000-4000-8000-000000000000"

GATEWAY_MAY_NOT = [
    ("s3:DeleteObject", f"{BUCKET}/gateway/anything"),  # only what retention removes, and doctor's probe
    ("s3:DeleteObject", f"{BUCKET}/jobs/KEY/input.nii.gz"),
    ("s3:DeleteObject", f"{BUCKET}/uploads/aws-0123456789ab/image"),
    ("s3:GetObject", f"{BUCKET}/uploads/aws-0123456789ab/image"),
    ("s3:ListBucket", "arn:aws:s3:::another"),
    ("batch:SubmitJob", f"arn:aws:batch:{HERE}:job-queue/another"),
    ("batch:RegisterJobDefinition", f"arn:aws:batch:{HERE}:job-definition/iris-totalsegmentator-job"),
    ("sqs:ReceiveMessage", f"{NEWS}-dead"),
    ("sqs:SendMessage", NEWS),
    ("dynamodb:DeleteTable", TABLE),
    ("dynamodb:PutItem", f"arn:aws:dynamodb:{HERE}:table/iris-oculus-metadata"),
]
LOGGED = {"logs:CreateLogStream", "logs:PutLogEvents"}
JOB_FOLDER = f"{BUCKET}/gateway/jobs/KEY/input.nii.gz"
STATUS_MAY_NOT = [
    ("dynamodb:Scan", TABLE),
    ("dynamodb:Query", f"arn:aws:dynamodb:{HERE}:table/iris-oculus-metadata"),
    ("s3:DeleteObject", f"{BUCKET}/uploads/aws-0123456789ab/image"),
    ("s3:GetObject", f"{BUCKET}/uploads/aws-0123456789ab/image"),
    ("s3:GetObject", f"{BUCKET}/gateway/doctor/0123"),
    ("batch:SubmitJob", f"arn:aws:batch:{HERE}:job-queue/iris-oculus-backend-fast"),
    ("batch:SubmitJob", f"arn:aws:batch:{HERE}:job-definition/another:1"),
    ("sqs:ReceiveMessage", NEWS),
]
OF_THE_FUNCTIONS = {"Status API in the cloud", "Uploads in the cloud"}
"""Headings of the guide's sections that say what the functions need."""
OF_A_BUCKET_WITH_VERSIONS = {"s3:ListBucketVersions", "s3:DeleteObjectVersion"}
"""The stack's own bucket keeps none, so its policy leaves these out."""
HAVE_NO_RESOURCE = {
    "cloudwatch:PutMetricData",  # bounded by its namespace
    "batch:DescribeComputeEnvironments",
    "batch:DescribeJobDefinitions",
    "batch:DescribeJobQueues",
    "batch:DescribeJobs",
    "batch:ListJobs",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeSpotPriceHistory",
    "ec2:GetEbsDefaultKmsKeyId",
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota",
}
"""Actions for which AWS takes no resource but `*` (the last: not for a quota that was never changed)."""


@pytest.fixture(scope="module")
def gateway_policy(whole: Deployed) -> list[Statement]:
    """The gateway's policy as IAM has it, with every function of the template carried out by moto."""
    iam, arn = whole.aws.client("iam"), whole.ids["GatewayPolicy"]
    [(_, user)] = whole.of_type("AWS::IAM::User")  # moto's users have no policies when a stack makes them
    assert user["ManagedPolicyArns"] == [arn]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    found: list[Statement] = (json.loads(document) if isinstance(document, str) else document)["Statement"]
    return found


def inline_policies(whole: Deployed) -> Iterator[tuple[str, list[Statement]]]:
    for name, role in whole.of_type("AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            yield name, policy["PolicyDocument"]["Statement"]


def allows(statements: list[Statement], action: str, resource: str) -> bool:
    """Whether one of the statements allows it; conditions are taken to hold."""
    return any(
        statement["Effect"] == "Allow"
        and action in as_list(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
        for statement in statements
    )


def actions_of(statements: list[Statement]) -> set[str]:
    return {action for statement in statements for action in as_list(statement["Action"])}


def actions_in(path: Path, heading: str = "") -> set[str]:
    text = path.read_text(encoding="utf-8")
    return set(ACTION.findall(text.partition(heading)[2] if heading else text))


def test_gateway_may_do_exactly_what_the_guide_says_that_it_needs(gateway_policy: list[Statement]) -> None:
    sections = sections_of_the_guide()
    assert OF_THE_FUNCTIONS & set(sections)
    said = [text for heading, text in sections.items() if heading not in OF_THE_FUNCTIONS]
    assert actions_of(gateway_policy) == set(ACTION.findall("".join(said))) - OF_A_BUCKET_WITH_VERSIONS


def test_gateway_writes_for_the_present_web_client_where_its_table_is_named(whole: Deployed) -> None:
    shown = Deployed(whole.aws, whole.stack, {**whole.parameters, "WebTable": "iris-oculus-metadata"})
    policies = [of["PolicyDocument"]["Statement"] for _, of in shown.of_type("AWS::IAM::ManagedPolicy")]
    [own, web] = sorted(policies, key=len, reverse=True)
    table = f"arn:aws:dynamodb:{HERE}:table/iris-oculus-metadata"
    assert {action for action in ("PutItem", "DeleteItem") if allows(web, f"dynamodb:{action}", table)} == {
        "PutItem", "DeleteItem",
    }  # fmt: skip
    assert allows(web, "s3:PutObject", f"{BUCKET}/results/aws-0123456789ab/Result.obj")
    for action in (
        "DeleteObject",
        "ListMultipartUploadParts",
        "AbortMultipartUpload",
    ):  # of a large file in parts
        assert allows(web, f"s3:{action}", f"{BUCKET}/results/aws-0123456789ab/Result.obj")
    assert allows(web, "s3:ListBucketMultipartUploads", BUCKET)
    assert not allows(web, "s3:PutObject", f"{BUCKET}/uploads/aws-0123456789ab/image")
    assert not allows(web, "dynamodb:PutItem", f"arn:aws:dynamodb:{HERE}:table/another")
    assert not allows(own, "dynamodb:PutItem", table)


def sections_of_the_guide() -> dict[str, str]:
    guide = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    return {text.partition("\n")[0]: text for text in guide.split("\n## ")}


@pytest.mark.parametrize(
    ("function", "section", "lambdas_own"),
    [
        ("StatusRole", "Status API in the cloud", LOGGED),
        ("JobNewsRole", "Uploads in the cloud", LOGGED | {"sqs:SendMessage"}),
    ],
)
def test_functions_may_do_exactly_what_the_guide_says_that_they_need(
    whole: Deployed, function: str, section: str, lambdas_own: set[str]
) -> None:
    statements = dict(inline_policies(whole))[function]
    assert actions_of(statements) - lambdas_own == set(ACTION.findall(sections_of_the_guide()[section]))


@pytest.mark.parametrize(("action", "resource"), STATUS_MAY_NOT)
def test_status_function_is_not_allowed_what_is_none_of_its_business(
    whole: Deployed, action: str, resource: str
) -> None:
    assert not allows(dict(inline_policies(whole))["StatusRole"], action, resource)


def test_job_news_function_leaves_what_it_cannot_take_at_one_place(whole: Deployed) -> None:
    statements = dict(inline_policies(whole))["JobNewsRole"]
    assert allows(statements, "sqs:SendMessage", f"arn:aws:sqs:{HERE}:iris-oculus-backend-job-news-dead")
    assert not allows(statements, "sqs:SendMessage", NEWS)
    assert not allows(statements, "dynamodb:Query", f"{TABLE}/index/by_job")


@pytest.mark.parametrize("function", ["StatusRole", "JobNewsRole"])
def test_functions_end_jobs_of_this_application_alone(whole: Deployed, function: str) -> None:
    statements = dict(inline_policies(whole))[function]
    [statement] = [each for each in statements if "batch:TerminateJob" in as_list(each["Action"])]
    tags = {"aws:ResourceTag/Application": "iris-oculus", "aws:ResourceTag/site": "cloud"}
    assert statement["Condition"] == {"StringEquals": tags}


@pytest.mark.parametrize(("action", "resource"), GATEWAY_MAY_NOT)
def test_gateway_is_not_allowed_what_is_none_of_its_business(
    gateway_policy: list[Statement], action: str, resource: str
) -> None:
    assert not allows(gateway_policy, action, resource)


def test_gateway_ends_jobs_of_this_application_alone(gateway_policy: list[Statement]) -> None:
    [statement] = [each for each in gateway_policy if "batch:TerminateJob" in as_list(each["Action"])]
    tags = {"aws:ResourceTag/Application": "iris-oculus", "aws:ResourceTag/site": "north"}
    assert statement["Condition"] == {"StringEquals": tags}


def test_gateway_puts_figures_into_its_own_namespace_alone(gateway_policy: list[Statement]) -> None:
    [statement] = [each for each in gateway_policy if "cloudwatch:PutMetricData" in as_list(each["Action"])]
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": Watch().namespace}}


def test_job_may_do_exactly_what_the_guide_says_that_it_needs(whole: Deployed) -> None:
    statements = dict(inline_policies(whole))["JobRole"]
    said = actions_in(ROOT / "docs" / "container.md", "The job's role needs")
    assert actions_of(statements) - {"kms:GenerateDataKey", "kms:Decrypt"} == said
    assert not allows(statements, "s3:GetObject", f"{BUCKET}/uploads/aws-0123456789ab/image")


def test_no_role_has_an_asterisk_where_aws_takes_a_name(
    whole: Deployed, gateway_policy: list[Statement]
) -> None:
    for _, statements in [("GatewayPolicy", gateway_policy), *inline_policies(whole)]:
        for statement in statements:
            assert not [action for action in as_list(statement["Action"]) if "*" in action]
            if "*" in as_list(statement["Resource"]):
                assert set(as_list(statement["Action"])) <= HAVE_NO_RESOURCE


def test_each_actor_has_a_role_that_nobody_else_takes_on(whole: Deployed) -> None:
    trusted = {
        name: role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
        for name, role in whole.of_type("AWS::IAM::Role")
    }
    assert trusted == {
        "MachineRole": "ec2.amazonaws.com",
        "NetworkLogRole": "vpc-flow-logs.amazonaws.com",
        "ExecutionRole": "ecs-tasks.amazonaws.com",
        "JobRole": "ecs-tasks.amazonaws.com",
        "StatusRole": "lambda.amazonaws.com",
        "JobNewsRole": "lambda.amazonaws.com",
        "SchedulesRole": "scheduler.amazonaws.com",
    }
