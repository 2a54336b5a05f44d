"""What AWS says of each resource that was deployed, to see which of the template's words arrived."""

import ast
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.infra.deployment import Aws, Deployed


def _batch(operation: str, key: str) -> Callable[[Aws, str], Any]:
    return lambda aws, known: getattr(aws.client("batch"), operation)(**{key: [known]})


def _bucket(aws: Aws, known: str) -> Any:
    found, s3 = [known], aws.client("s3")
    for what in ("encryption", "ownership_controls", "tagging", "lifecycle_configuration"):
        found.append(_or_nothing(getattr(s3, f"get_bucket_{what}"), Bucket=known))
    return [*found, _or_nothing(s3.get_public_access_block, Bucket=known)]


def _table(aws: Aws, known: str) -> Any:
    table = aws.client("dynamodb")
    recovery = table.describe_continuous_backups(TableName=known)["ContinuousBackupsDescription"]
    is_on = recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    described = table.describe_table(TableName=known)["Table"]
    return [
        described,
        table.describe_time_to_live(TableName=known)["TimeToLiveDescription"],
        table.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"],
        {"PointInTimeRecoveryEnabled": is_on},
    ]


def _sqs_queue(aws: Aws, known: str) -> Any:
    sqs = aws.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=known, AttributeNames=["All"])["Attributes"]
    policies = [json.loads(attributes.pop(name, "{}")) for name in ("RedrivePolicy", "RedriveAllowPolicy")]
    tags = sqs.list_queue_tags(QueueUrl=known).get("Tags", {})
    return [known.rpartition("/")[2], attributes, policies, [[name, value] for name, value in tags.items()]]


def _rule(aws: Aws, known: str) -> Any:
    events = aws.client("events")
    rule = events.describe_rule(Name=known)
    pattern = json.loads(rule.pop("EventPattern", "{}"))
    return [rule, pattern, events.list_targets_by_rule(Rule=known)["Targets"]]


def _repository(aws: Aws, known: str) -> Any:
    ecr = aws.client("ecr")
    found = ecr.describe_repositories(repositoryNames=[known])["repositories"][0]
    tags = ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    return [found, tags, _or_nothing(ecr.get_lifecycle_policy, repositoryName=known)]


def _function(aws: Aws, known: str) -> Any:
    found = aws.client("lambda").get_function(FunctionName=known)
    return [found["Configuration"], [[name, value] for name, value in found.get("Tags", {}).items()]]


def _log_group(aws: Aws, known: str) -> Any:
    logs = aws.client("logs")
    [found] = logs.describe_log_groups(logGroupNamePrefix=known)["logGroups"]
    tags = logs.list_tags_log_group(logGroupName=known)["tags"]
    return [found, [[name, value] for name, value in tags.items()]]


def _launch_template(aws: Aws, known: str) -> Any:
    ec2 = aws.client("ec2")
    found = ec2.describe_launch_template_versions(LaunchTemplateId=known)["LaunchTemplateVersions"][0]
    data = found["LaunchTemplateData"]
    data["UserData"] = base64.b64decode(data["UserData"]).decode()
    return [found, ec2.describe_launch_templates(LaunchTemplateIds=[known])["LaunchTemplates"]]


def _user(aws: Aws, known: str) -> Any:
    iam = aws.client("iam")
    return [iam.get_user(UserName=known), iam.list_attached_user_policies(UserName=known)["AttachedPolicies"]]


def _role(aws: Aws, known: str) -> Any:
    iam = aws.client("iam")
    names = iam.list_role_policies(RoleName=known)["PolicyNames"]
    policies = [iam.get_role_policy(RoleName=known, PolicyName=name) for name in names]
    documents = [policy.pop("PolicyDocument") for policy in policies]
    documents = [ast.literal_eval(each) for each in documents]  # moto writes them as Python does
    return [iam.get_role(RoleName=known), policies, documents]


DESCRIBED: Final[dict[str, Callable[[Aws, str], Any]]] = {
    "AWS::Batch::ComputeEnvironment": _batch("describe_compute_environments", "computeEnvironments"),
    "AWS::Batch::JobDefinition": _batch("describe_job_definitions", "jobDefinitions"),
    "AWS::Batch::JobQueue": _batch("describe_job_queues", "jobQueues"),
    "AWS::DynamoDB::Table": _table,
    "AWS::EC2::LaunchTemplate": _launch_template,
    "AWS::ECR::Repository": _repository,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::Role": _role,
    "AWS::IAM::User": _user,
    "AWS::Lambda::Function": _function,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _bucket,
    "AWS::SQS::Queue": _sqs_queue,
}
"""Type of resource to what AWS says of one, in any shape."""


def lost_properties(deployed: Deployed) -> set[tuple[str, str]]:
    """Type and name of each property that does not come back when AWS is asked; `A.B` for B within A."""
    lost: set[tuple[str, str]] = set()
    for kind, describe in DESCRIBED.items():
        for name, properties in deployed.of_type(kind):
            seen = set(_leaves(describe(deployed.aws, deployed.ids[name])))
            lost |= {(kind, path) for path in _not_seen(properties, seen)}
    return lost


def _not_seen(properties: dict[str, Any], seen: set[str]) -> Iterator[str]:
    for key, value in properties.items():
        leaves = set(_leaves({key: value}))
        if leaves and not leaves & seen:
            yield key
        elif isinstance(value, dict):
            yield from (f"{key}.{within}" for within in _not_seen(value, seen))
        elif not leaves <= seen:
            yield f"{key}[]"


def _leaves(value: Any, key: str = "") -> Iterator[str]:
    """Texts and numbers as they are, flags with their name; case does not count, since it differs."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, key)
    elif str(value).lower() in ("true", "false"):
        yield f"{key}={value}".lower()
    elif value is not None:
        yield str(value).lower()


def _or_nothing(ask: Callable[..., Any], **wish: Any) -> Any:
    """An answer; None where AWS says that there is none."""
    try:
        return ask(**wish)
    except ClientError:
        return None
