"""The template as CloudFormation would deploy it: transformed by SAM's own translator, deployed to moto.

moto leaves out some of it without a word. `IGNORED_TYPES` and `IGNORED_PROPERTIES` list what, tests find
nothing else missing, and `add_what_was_left_out` makes up for it with CloudFormation's own calls.
"""

import ipaddress
import json
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import boto3

from tests.cloud import DEADLINE_S, REGION

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final = ROOT / "infra" / "template.yaml"
ACCOUNT: Final = "123456789012"
CODE: Final = "s3://iris-code/function.zip"
"""Where the functions' code lies."""

IGNORED_TYPES: Final = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Batch::SchedulingPolicy",
        "AWS::Budgets::Budget",
        "AWS::CloudTrail::Trail",
        "AWS::CloudWatch::Alarm",
        "AWS::Cognito::ManagedLoginBranding",
        "AWS::Cognito::UserPool",
        "AWS::Cognito::UserPoolClient",
        "AWS::Cognito::UserPoolDomain",
        "AWS::Cognito::UserPoolGroup",
        "AWS::Cognito::UserPoolIdentityProvider",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::RolesAnywhere::Profile",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",
        "AWS::Scheduler::ScheduleGroup",
    }
)
"""Types of resources that moto does not make; `web_stack.py` deploys those of the web client elsewhere."""
API: Final = "abcdefghij"
ENDPOINT: Final = f"https://{API}.execute-api.{REGION}.amazonaws.com"
POOL: Final = f"{REGION}_ABCDEFGHI"
STAND_INS: Final = {
    "Api": API,
    "Api.ApiEndpoint": ENDPOINT,
    "UserPool": POOL,
    "UserPool.Arn": f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{POOL}",
    "UserPoolClient": "1example23456789",
    "UserPoolDomain": f"iris-{ACCOUNT}",
    "GatewayProfile.ProfileArn": f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:profile/0123",
    "Shares.Arn": f"arn:aws:batch:{REGION}:{ACCOUNT}:scheduling-policy/Shares-0123",
    "WayOut.CidrBlock": "0.0.0.0/0",
}
"""What is put where the template refers to something that moto does not make."""
IGNORED_PROPERTIES: Final = frozenset(
    {
        ("AWS::Batch::ComputeEnvironment", "ComputeResources.UpdateToLatestImageVersion"),
        ("AWS::Batch::ComputeEnvironment", "ReplaceComputeEnvironment"),  # how CloudFormation updates it
        ("AWS::Batch::ComputeEnvironment", "UpdatePolicy"),
        ("AWS::Batch::JobDefinition", "PlatformCapabilities"),
        ("AWS::Batch::JobDefinition", "PropagateTags"),
        ("AWS::Batch::JobDefinition", "Timeout"),
        ("AWS::Batch::JobQueue", "JobStateTimeLimitActions"),
        ("AWS::Batch::JobQueue", "SchedulingPolicyArn"),
        ("AWS::Batch::JobQueue", "Tags"),
        ("AWS::DynamoDB::Table", "PointInTimeRecoverySpecification"),
        ("AWS::DynamoDB::Table", "SSESpecification"),
        ("AWS::DynamoDB::Table", "TimeToLiveSpecification"),
        ("AWS::EC2::LaunchTemplate", "TagSpecifications[]"),
        ("AWS::ECR::Repository", "EncryptionConfiguration"),
        ("AWS::ECR::Repository", "ImageScanningConfiguration"),
        ("AWS::ECR::Repository", "LifecyclePolicy"),
        ("AWS::IAM::User", "ManagedPolicyArns"),
        ("AWS::IAM::User", "Tags"),
        ("AWS::Lambda::Function", "Architectures"),
        ("AWS::Lambda::Function", "Code"),  # it is fetched, and not said where from
        ("AWS::Lambda::Function", "LoggingConfig"),
        ("AWS::Lambda::Function", "Tags"),
        ("AWS::Logs::LogGroup", "KmsKeyId"),
        ("AWS::S3::Bucket", "BucketEncryption.ServerSideEncryptionConfiguration[]"),  # its BucketKeyEnabled
        ("AWS::S3::Bucket", "CorsConfiguration"),
        ("AWS::S3::Bucket", "LifecycleConfiguration"),
        ("AWS::S3::Bucket", "OwnershipControls"),
        ("AWS::S3::Bucket", "PublicAccessBlockConfiguration"),
        ("AWS::SQS::Queue", "RedriveAllowPolicy"),
    }
)
"""Properties of resources that moto makes without them; `A.B` for B within A, `A[]` for a part of a list."""


@cache
def _transformed() -> str:
    # Seconds to load, which the collection of all other tests need not wait for.
    from cfnlint.decode.cfn_yaml import load
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    template = json.loads(json.dumps(load(str(TEMPLATE))))
    template["Globals"]["Function"]["CodeUri"] = CODE  # as `sam deploy` writes it there
    translator = Translator({}, Parser(), boto_session=boto3.session.Session(region_name=REGION))
    return json.dumps(translator.translate(template, parameter_values={}))


def transformed() -> dict[str, Any]:
    """The template after SAM's transform: what CloudFormation gets to see; a copy for whoever changes it."""
    template: dict[str, Any] = json.loads(_transformed())
    return template


@cache
def _template() -> dict[str, Any]:
    """The same to be read only: it is looked at thousands of times."""
    return transformed()


def _as_moto_takes_it(template: dict[str, Any], deployed: "Deployed") -> dict[str, Any]:
    """The same without what moto stumbles over: it has no service-linked role, misreads a key's tags,
    does not divide networks, and takes `AWS::NoValue` for a part of a list.
    """
    template["Resources"] = {
        name: of for name, of in template["Resources"].items() if of["Type"] not in IGNORED_TYPES
    }
    template = _with_stand_ins(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Batch::ComputeEnvironment":
            resource["Properties"].setdefault("ServiceRole", {"Fn::GetAtt": ["MachineRole", "Arn"]})
            there = resource["Properties"]["ComputeResources"]
            there["Subnets"] = [each for each in there["Subnets"] if deployed.is_there(each)]
        if resource["Type"] == "AWS::KMS::Key":
            del resource["Properties"]["Tags"]
        if resource["Type"] == "AWS::EC2::Subnet":
            resource["Properties"]["CidrBlock"] = deployed.resolved(resource["Properties"]["CidrBlock"])
    template["Outputs"] = {  # moto takes exports for exported although their condition does not hold
        name: output
        for name, output in template["Outputs"].items()
        if "Condition" not in output or deployed.holds(output["Condition"])
    }
    return template


def _with_stand_ins(value: Any) -> Any:
    """A part of the template, with what stands for resources that are not made."""
    match value:
        case {"Ref": str(name)} if name in STAND_INS:
            return STAND_INS[name]
        case {"Fn::GetAtt": [name, attribute]} if f"{name}.{attribute}" in STAND_INS:
            return STAND_INS[f"{name}.{attribute}"]
        case str(text):
            for name, stand_in in STAND_INS.items():
                text = text.replace(f"${{{name}}}", stand_in)
            return text
        case list(values):
            return [_with_stand_ins(each) for each in values]
        case dict(values):
            return {name: _with_stand_ins(each) for name, each in values.items()}
    return value


def fresh(moto_server: str) -> None:
    """Empty the moto server, but for the functions' code."""
    request = urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request, timeout=DEADLINE_S):
        pass
    bucket, key = CODE.removeprefix("s3://").split("/")
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("handler.py", "")
    s3 = client_at("s3", moto_server)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=key, Body=archive.getvalue())


@cache
def client_at(service: str, endpoint_url: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]  # any of them
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@dataclass(frozen=True)
class Aws:
    """Clients for the moto server, whatever the environment says."""

    moto_server: str

    def client(self, service: str) -> Any:
        return client_at(service, self.moto_server)

    def deploy(self, stack: str, **parameters: str) -> "Deployed":
        """Deploy the template."""
        wanted = {name: str(of["Default"]) for name, of in transformed()["Parameters"].items()} | parameters
        deployed = Deployed(self, stack, wanted)
        self.deploy_other(stack, _as_moto_takes_it(transformed(), deployed), wanted)
        return deployed

    def deploy_other(
        self, stack: str, template: Mapping[str, Any], parameters: Mapping[str, str] | None = None
    ) -> None:
        """Deploy any template."""
        self.client("cloudformation").create_stack(**_wish(stack, template, parameters or {}))


def _wish(stack: str, template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """What CloudFormation is told; all parameters, since moto does not split the defaults of lists."""
    return {
        "StackName": stack,
        "TemplateBody": json.dumps(template),
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }


@dataclass(frozen=True)
class Deployed:
    """A stack of the template, and what it was made of."""

    aws: Aws
    stack: str
    parameters: Mapping[str, str]

    def updated(self, **parameters: str) -> "Deployed":
        """Update the stack."""
        found = Deployed(self.aws, self.stack, {**self.parameters, **parameters})
        template = _as_moto_takes_it(transformed(), found)
        self.aws.client("cloudformation").update_stack(**_wish(self.stack, template, found.parameters))
        return found

    @cached_property
    def described(self) -> dict[str, Any]:
        """What DescribeStacks says."""
        found: dict[str, Any] = self.aws.client("cloudformation").describe_stacks(StackName=self.stack)
        stack: dict[str, Any] = found["Stacks"][0]
        return stack

    @cached_property
    def outputs(self) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self.described.get("Outputs", [])}

    @cached_property
    def ids(self) -> dict[str, str]:
        """Physical by logical ids, of what moto made."""
        found = self.aws.client("cloudformation").describe_stack_resources(StackName=self.stack)
        return {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for each in found["StackResources"]
            if "LogicalResourceId" in each
        }

    @cached_property
    def wanted(self) -> dict[str, dict[str, Any]]:
        """The template's resources whose condition holds."""
        return {
            name: resource
            for name, resource in _template()["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Wanted resources of one type, with their properties resolved."""
        for name, resource in self.wanted.items():
            if resource["Type"] == kind:
                yield name, self.resolved(resource["Properties"])

    def holds(self, condition: str) -> bool:
        return self._is_true(_template()["Conditions"][condition])

    def _is_true(self, expression: Any) -> bool:
        [(operator, values)] = expression.items()
        match operator:
            case "Condition":
                return self.holds(values)
            case "Fn::Equals":
                first, second = map(self.resolved, values)
                return bool(first == second)
            case "Fn::Not":
                return not self._is_true(values[0])
            case "Fn::And":
                return all(map(self._is_true, values))
            case "Fn::Or":
                return any(map(self._is_true, values))
        raise AssertionError(operator)

    def is_there(self, part: Any) -> bool:
        """Whether a part of a list is there: it may be left out by a condition."""
        return "Fn::If" not in part or self.holds(part["Fn::If"][0])

    def resolved(self, value: Any) -> Any:
        """A value of the template with its functions carried out, as far as these tests need."""
        if isinstance(value, list):
            found = [self.resolved(each) for each in value]
            return [each for each in found if each is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(operator, argument)] = value.items()
            match operator:
                case "Ref":
                    return self._ref(argument)
                case "Fn::If":
                    return self.resolved(argument[1 if self.holds(argument[0]) else 2])
                case "Fn::GetAtt":
                    return self._attribute(*argument)
                case "Fn::Sub":
                    return self._substituted(argument)
                case "Fn::Select":
                    return self.resolved(argument[1])[int(argument[0])]
                case "Fn::Join":
                    return argument[0].join(self.resolved(argument[1]))
                case "Fn::GetAZs":
                    return [f"{REGION}{letter}" for letter in "abcdef"]
                case "Fn::Cidr":
                    network, count, host_bits = self.resolved(argument)
                    parts = ipaddress.ip_network(network).subnets(new_prefix=32 - host_bits)
                    return [str(part) for part, _ in zip(parts, range(count), strict=False)]
                case "Fn::Split":
                    return self.resolved(argument[1]).split(argument[0])
                case "Fn::ImportValue":
                    exports = self.aws.client("cloudformation").list_exports()["Exports"]
                    return {each["Name"]: each["Value"] for each in exports}[argument]
        parts = {name: self.resolved(each) for name, each in value.items()}
        return {name: each for name, each in parts.items() if each is not None}

    def _ref(self, name: str) -> Any:
        if name in self.parameters:
            kind = _template()["Parameters"][name]["Type"]
            value = self.parameters[name]
            return (
                value.split(",")
                if kind == "CommaDelimitedList"
                else int(value)
                if kind == "Number"
                else value
            )
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::NoValue": None,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackName": self.stack,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        is_ignored = name not in self.ids and self.wanted[name]["Type"] in IGNORED_TYPES
        return STAND_INS.get(name, name) if is_ignored else self.ids[name]

    def _attribute(self, name: str, attribute: str) -> str:
        if f"{name}.{attribute}" in STAND_INS:
            return STAND_INS[f"{name}.{attribute}"]
        kind, known = self.wanted[name]["Type"], self.ids[name]
        here = f"{REGION}:{ACCOUNT}"
        return {
            "AWS::DynamoDB::Table.Arn": f"arn:aws:dynamodb:{here}:table/{known}",
            "AWS::EC2::LaunchTemplate.LatestVersionNumber": "1",
            "AWS::EC2::SecurityGroup.GroupId": known,
            "AWS::Events::Rule.Arn": f"arn:aws:events:{here}:rule/{known}",
            "AWS::IAM::InstanceProfile.Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{known}",
            "AWS::IAM::Role.Arn": f"arn:aws:iam::{ACCOUNT}:role/{known}",
            "AWS::KMS::Key.Arn": f"arn:aws:kms:{here}:key/{known}",
            "AWS::Lambda::Function.Arn": f"arn:aws:lambda:{here}:function:{known}",
            "AWS::Logs::LogGroup.Arn": f"arn:aws:logs:{here}:log-group:{known}",
            "AWS::S3::Bucket.Arn": f"arn:aws:s3:::{known}",
            "AWS::SQS::Queue.Arn": f"arn:aws:sqs:{here}:{known.rpartition('/')[2]}",
            "AWS::SQS::Queue.QueueName": known.rpartition("/")[2],
        }[f"{kind}.{attribute}"]

    def _substituted(self, argument: Any) -> str:
        text, names = argument if isinstance(argument, list) else (argument, {})
        pieces = text.split("${")
        found = pieces[0]
        for piece in pieces[1:]:
            name, _, rest = piece.partition("}")
            if name in names:
                value = self.resolved(names[name])
            elif "." in name:
                value = self._attribute(*name.split(".", 1))
            else:
                value = self._ref(name)
            found += f"{value}{rest}"
        return found

    def add_what_was_left_out(self) -> None:
        """Make the calls for what moto ignored of bucket, table and queues, with what the template says.

        Not the bucket's policy: moto takes no notice of conditions, and would deny everything.
        """
        s3, sqs, table = (self.aws.client(service) for service in ("s3", "sqs", "dynamodb"))
        for name, of in self.of_type("AWS::S3::Bucket"):
            bucket = self.ids[name]
            s3.put_public_access_block(
                Bucket=bucket, PublicAccessBlockConfiguration=of["PublicAccessBlockConfiguration"]
            )
            s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=of["OwnershipControls"])
            rules = [_lifecycle_rule(rule) for rule in of["LifecycleConfiguration"]["Rules"]]
            s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        for _, of in self.of_type("AWS::SQS::QueuePolicy"):
            for url in of["Queues"]:
                sqs.set_queue_attributes(
                    QueueUrl=url, Attributes={"Policy": json.dumps(of["PolicyDocument"])}
                )
        for name, of in self.of_type("AWS::DynamoDB::Table"):
            table.update_time_to_live(
                TableName=self.ids[name], TimeToLiveSpecification=of["TimeToLiveSpecification"]
            )
            table.update_continuous_backups(
                TableName=self.ids[name],
                PointInTimeRecoverySpecification=of["PointInTimeRecoverySpecification"],
            )


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as S3 itself takes it."""
    tags, prefix = rule.get("TagFilters", []), rule.get("Prefix", "")
    found: dict[str, Any] = {"ID": rule["Id"], "Status": rule["Status"]}
    found["Filter"] = {"And": {"Prefix": prefix, "Tags": tags}} if tags else {"Prefix": prefix}
    if "ExpirationInDays" in rule:
        found["Expiration"] = {"Days": rule["ExpirationInDays"]}
    if "AbortIncompleteMultipartUpload" in rule:
        found["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    return found
