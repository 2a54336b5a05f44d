"""The template: accepted by the linter and by SAM's translator, whole in moto, sealed, tagged and kept."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import EXIT_INTERRUPTED, EXIT_TRANSIENT, RUN_VARIABLE
from gateway.adapters.aws.batch import RETRIES
from gateway.adapters.aws.dynamodb import table_definition
from gateway.adapters.aws.sqs_news import news_in
from gateway.config import Fallback, Queue
from tests.cloud import REGION
from tests.conftest import program_of
from tests.infra.deployment import (
    ACCOUNT,
    IGNORED_PROPERTIES,
    IGNORED_TYPES,
    TEMPLATE,
    Aws,
    Deployed,
    fresh,
    transformed,
)
from tests.infra.observed import lost_properties

UNTAGGED_TYPES = {
    "AWS::CloudWatch::Dashboard",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::Cognito::ManagedLoginBranding",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain",
    "AWS::Cognito::UserPoolGroup",
    "AWS::Cognito::UserPoolIdentityProvider",
    "AWS::EC2::Route",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCEndpoint",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::Events::Rule",
    "AWS::IAM::InstanceProfile",
    "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",  # its group is
}
"""What has no tags of its own; CloudFormation passes those of the stack on where a type takes any."""
TAGS = ("Tags", "TagSpecifications", "ResourceTags", "UserPoolTags")
OF_SOME_CHOICES = {
    "AWS::Budgets::Budget",
    "AWS::CloudTrail::Trail",
    "AWS::Cognito::UserPoolIdentityProvider",
    "AWS::RolesAnywhere::Profile",
    "AWS::SNS::Subscription",
}
"""Of what moto ignores: what the parameters' defaults do not make."""
HOLDS_DATA = {
    "AWS::Cognito::UserPool",
    "AWS::DynamoDB::Table",
    "AWS::ECR::Repository",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",  # holds none, but guards it
}
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"
TRUST_ANCHOR = (
    "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/00000000-0000-4000-8000-000000000000"
)
WORKING_HOURS = {"WorkingHoursBegin": "cron(0 7 * * ? *)", "WorkingHoursEnd": "cron(0 19 * * ? *)"}
MEMORY_OF_G4DN_XLARGE_MIB = 16384
TIME_LIMIT_REASONS = [
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
]
"""All that Batch's user guide lists for EC2 ("Automatic remediation with jobStateTimeLimitActions")."""
AGENTS_PART = 0.1


def resources(kind: str) -> dict[str, Any]:
    found = transformed()["Resources"]
    return {name: of["Properties"] for name, of in found.items() if of["Type"] == kind}


def sam(*words: str) -> "subprocess.CompletedProcess[str]":
    """Let the SAM CLI do something."""
    variables = {**os.environ, "AWS_DEFAULT_REGION": REGION, "SAM_CLI_TELEMETRY": "0"}
    return subprocess.run(
        [str(program_of("sam")), *words],
        env=variables, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_linter_finds_nothing() -> None:
    linter = Path(sys.executable).parent / "cfn-lint"
    result = subprocess.run(
        [linter, "--regions", "us-east-1", "eu-central-1", "--", TEMPLATE],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.long
@pytest.mark.peer("sam")
def test_sam_finds_the_template_valid() -> None:
    """It asks its own cfn-lint, as the test before asks ours."""
    done = sam("validate", "--lint", "--template", str(TEMPLATE))
    assert (done.returncode, "is a valid SAM Template" in done.stdout) == (0, True), done.stderr


@pytest.mark.peer("checkov")
def test_checkov_finds_nothing_but_what_is_left_out_with_a_reason() -> None:
    done = subprocess.run(
        [
            str(program_of("checkov")), "--file", str(TEMPLATE),
            "--framework", "cloudformation", "--output", "json",
        ],
        env={**os.environ, "AWS_DEFAULT_REGION": REGION},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    results = json.loads(done.stdout)["results"]
    assert [f"{each['check_id']} {each['resource']}" for each in results["failed_checks"]] == []
    assert len(results["passed_checks"]) > 100
    written = TEMPLATE.read_text(encoding="utf-8").count("{ id: CKV_")
    assert [bool(each["check_result"]["suppress_comment"]) for each in results["skipped_checks"]] == [
        True
    ] * written


@pytest.mark.long
@pytest.mark.peer("sam")
def test_sam_builds_the_functions_as_deploy_does(tmp_path: Path) -> None:
    done = sam("build", "--template-file", str(TEMPLATE), "--build-dir", str(tmp_path / "built"))
    assert done.returncode == 0, done.stderr
    for function in ("StatusFunction", "JobNewsFunction"):
        assert (tmp_path / "built" / function / "handler.py").is_file()
        assert not (tmp_path / "built" / function / "converter").exists()


def test_whole_stack_lacks_in_moto_only_what_moto_is_known_to_ignore(whole: Deployed) -> None:
    assert whole.described["StackStatus"] == "CREATE_COMPLETE"
    missing = {whole.wanted[name]["Type"] for name in set(whole.wanted) - set(whole.ids)}
    assert missing == IGNORED_TYPES - OF_SOME_CHOICES
    assert set(whole.ids) <= set(whole.wanted)
    assert lost_properties(whole) == IGNORED_PROPERTIES


def test_everything_that_takes_tags_is_tagged() -> None:
    untagged = {
        name: of["Type"]
        for name, of in transformed()["Resources"].items()
        if "iris-oculus" not in str([of["Properties"].get(each) for each in TAGS])
    }
    assert set(untagged.values()) == UNTAGGED_TYPES


def kept_resources() -> dict[str, str]:
    """What outlives the stack, with its type."""
    return {
        name: of["Type"]
        for name, of in transformed()["Resources"].items()
        if of.get("DeletionPolicy") or of.get("UpdateReplacePolicy")
    }


def test_whatever_holds_data_outlives_the_stack_but_not_a_creation_that_fails() -> None:
    """What stayed would have its name taken when it is tried again."""
    assert set(kept_resources().values()) == HOLDS_DATA
    for name in kept_resources():
        resource = transformed()["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (
            "RetainExceptOnCreate",
            "Retain",
        )


def test_what_holds_data_can_be_protected_against_deletion_and_is_not_while_the_stack_is_made(
    whole: Deployed,
) -> None:
    """A protected table or user pool could not be taken back with a creation that fails."""
    in_the_making = Deployed(whole.aws, whole.stack, {**whole.parameters, "Protected": "no"})
    for deployed, is_protected in ((whole, True), (in_the_making, False)):
        [(_, table)] = deployed.of_type("AWS::DynamoDB::Table")
        [(_, pool)] = deployed.of_type("AWS::Cognito::UserPool")
        assert table["DeletionProtectionEnabled"] is is_protected
        assert (pool["DeletionProtection"] == "ACTIVE") is is_protected


def test_stack_policy_lets_nothing_that_holds_data_be_replaced() -> None:
    policy = json.loads((TEMPLATE.parent / "stack-policy.json").read_text(encoding="utf-8"))
    allowed, denied = policy["Statement"]
    assert (allowed["Effect"], allowed["Action"], allowed["Resource"]) == ("Allow", "Update:*", "*")
    assert (denied["Effect"], denied["Action"]) == ("Deny", "Update:Replace")
    assert {each.removeprefix("LogicalResourceId/") for each in denied["Resource"]} == set(kept_resources())


def test_names_that_no_region_has_for_itself_name_the_region_or_are_a_parameter(whole: Deployed) -> None:
    """Buckets, budgets and dashboards of all regions share their names; roles have names of AWS's making."""
    resources = transformed()["Resources"].values()
    assert {
        of["Type"] for of in resources if "RoleName" in of["Properties"] or "UserName" in of["Properties"]
    } == set()
    watched = Deployed(
        whole.aws, whole.stack, {**whole.parameters, "AlarmEmail": "a@b", "MonthlyBudgetUsd": "1"}
    )
    [(_, dashboard)] = whole.of_type("AWS::CloudWatch::Dashboard")
    [(_, budget)] = watched.of_type("AWS::Budgets::Budget")
    assert REGION in dashboard["DashboardName"]
    assert REGION in budget["Budget"]["BudgetName"]
    elsewhere = Deployed(whole.aws, whole.stack, {**whole.parameters, "BucketName": "iris-elsewhere"})
    [(_, bucket)] = elsewhere.of_type("AWS::S3::Bucket")
    assert bucket["BucketName"] == "iris-elsewhere"


def test_machines_end_before_the_network_that_their_addresses_are_mapped_in(whole: Deployed) -> None:
    """CloudFormation deletes what refers first; the environments refer to the launch template."""

    def refers(name: str, to: str) -> bool:
        return f'["{to}", ' in json.dumps(transformed()["Resources"][name]) or f'"Ref": "{to}"' in json.dumps(
            transformed()["Resources"][name]
        )

    for environment in ("SpotMachines", "OnDemandMachines", "CpuMachines"):
        assert refers(environment, "MachineTemplate")
    assert refers("MachineTemplate", "WayOut")
    assert transformed()["Resources"]["WayOut"]["DependsOn"] == "GatewayOfVpc"
    private = Deployed(whole.aws, whole.stack, {**whole.parameters, "Network": "private"})
    [(_, template)] = private.of_type("AWS::EC2::LaunchTemplate")
    [volume] = template["LaunchTemplateData"]["TagSpecifications"]
    assert {"Key": "way-out", "Value": "none"} in volume["Tags"]


def test_table_is_the_one_that_the_mirror_writes(whole: Deployed) -> None:
    [(_, of)] = whole.of_type("AWS::DynamoDB::Table")
    wanted = table_definition(of["TableName"])
    assert {name: of[name] for name in wanted} == wanted
    assert of["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_job_definitions_retry_and_end_as_the_gateway_submits() -> None:
    for definition in resources("AWS::Batch::JobDefinition").values():
        rules = [
            {name[0].lower() + name[1:]: value for name, value in rule.items()}
            for rule in definition["RetryStrategy"]["EvaluateOnExit"]
        ]
        assert rules == list(RETRIES)
        assert definition["RetryStrategy"]["Attempts"] == Queue().attempts
        assert {str(EXIT_TRANSIENT), str(EXIT_INTERRUPTED)} <= {rule.get("onExitCode") for rule in rules}
    total = resources("AWS::Batch::JobDefinition")["TotalJob"]
    assert total["Timeout"] == {"AttemptDurationSeconds": Queue().timeout_s}


@pytest.mark.parametrize(("name", "has_gpu"), [("TotalJob", True), ("CpuJob", False)])
def test_job_runs_without_privileges_on_a_root_that_it_cannot_write(name: str, has_gpu: bool) -> None:
    container = resources("AWS::Batch::JobDefinition")[name]["ContainerProperties"]
    needs = {need["Type"]: float(need["Value"]) for need in container["ResourceRequirements"]}
    assert ("GPU" in needs) is has_gpu
    if has_gpu:
        assert needs["MEMORY"] <= MEMORY_OF_G4DN_XLARGE_MIB * (1 - AGENTS_PART)
    assert container["User"] == "10001:10001"
    assert (container["Privileged"], container["ReadonlyRootFilesystem"]) == (False, True)
    [mount] = container["MountPoints"]
    assert (mount["ContainerPath"], mount["ReadOnly"]) == ("/scratch", False)
    assert container["LinuxParameters"]["SharedMemorySize"] < needs["MEMORY"]
    assert container["LogConfiguration"]["Options"]["awslogs-group"] == "/aws/batch/job"


def test_every_queue_is_made_with_a_share_for_each_site() -> None:
    """A queue that was made without a policy can never have one (Batch's CreateJobQueue)."""
    [policy] = resources("AWS::Batch::SchedulingPolicy").values()
    assert "ShareDistribution" not in policy["FairsharePolicy"]  # all alike
    for queue in resources("AWS::Batch::JobQueue").values():
        assert queue["SchedulingPolicyArn"] == {"Fn::GetAtt": ["Shares", "Arn"]}


def test_definition_is_exported_without_its_revision_which_no_update_could_change(whole: Deployed) -> None:
    [arn] = [
        each["OutputValue"]
        for each in whole.described["Outputs"]
        if each.get("ExportName") == "IrisBatchJobDefinition"
    ]
    assert arn == f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/iris-totalsegmentator-job"


def test_queues_cancel_what_is_stuck_later_than_the_gateway_moves_it_on() -> None:
    default = transformed()["Parameters"]["StuckAfterSeconds"]["Default"]
    assert default > Fallback().after_s
    for queue in resources("AWS::Batch::JobQueue").values():
        actions = queue["JobStateTimeLimitActions"]
        assert {(each["State"], each["Action"]) for each in actions} == {("RUNNABLE", "CANCEL")}
        assert [each["Reason"] for each in actions] == TIME_LIMIT_REASONS


def test_machines_take_no_calls_and_tell_jobs_of_an_interruption(whole: Deployed) -> None:
    [(_, group)] = whole.of_type("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    [(_, template)] = whole.of_type("AWS::EC2::LaunchTemplate")
    data = template["LaunchTemplateData"]
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    for line in ("ECS_ENABLE_SPOT_INSTANCE_DRAINING=true", "ECS_CONTAINER_STOP_TIMEOUT=120s"):
        assert f"\n{line}\n" in data["UserData"]["Fn::Base64"]
    [disk] = data["BlockDeviceMappings"]
    assert (disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"]) == (True, "gp3")


def test_machines_reach_no_bucket_but_ours_and_that_of_image_layers(whole: Deployed) -> None:
    endpoints = dict(whole.of_type("AWS::EC2::VPCEndpoint"))
    arn = f"arn:aws:s3:::{whole.ids['Bucket']}"
    ours, layers = endpoints["S3Endpoint"]["PolicyDocument"]["Statement"]
    assert ours["Resource"] == [arn, f"{arn}/*"]
    assert (layers["Action"], layers["Resource"]) == (
        "s3:GetObject",
        f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/*",
    )


def test_network_writes_down_who_talked_to_whom_sealed_and_for_as_long_as_other_logs(
    whole: Deployed,
) -> None:
    [(_, flows)] = whole.of_type("AWS::EC2::FlowLog")
    assert (flows["ResourceId"], flows["TrafficType"]) == (whole.ids["Vpc"], "ALL")
    log = dict(whole.of_type("AWS::Logs::LogGroup"))["NetworkLog"]
    assert (log["KmsKeyId"], log["RetentionInDays"]) == (whole.resolved({"Fn::GetAtt": ["Key", "Arn"]}), 90)
    [(_, key)] = whole.of_type("AWS::KMS::Key")
    [logs] = [each for each in key["KeyPolicy"]["Statement"] if each["Sid"] == "Logs"]
    of_whom = logs["Condition"]["ArnEquals"]["kms:EncryptionContext:aws:logs:arn"]
    groups = {of["LogGroupName"] for _, of in whole.of_type("AWS::Logs::LogGroup")}
    assert {arn.partition(":log-group:")[2] for arn in of_whom} == groups


def test_audit_writes_down_accesses_to_objects_where_nobody_but_the_trail_writes(whole: Deployed) -> None:
    audited = Deployed(whole.aws, whole.stack, {**whole.parameters, "ObjectAudit": "yes"})
    assert "AuditTrail" not in whole.wanted
    trail = audited.wanted["AuditTrail"]["Properties"]
    fields = {each["Field"]: each for each in trail["AdvancedEventSelectors"][0]["FieldSelectors"]}
    assert fields["eventCategory"]["Equals"] == ["Data"]
    [objects] = audited.resolved(fields["resources.ARN"]["StartsWith"])
    assert objects == f"arn:aws:s3:::{whole.ids['Bucket']}/"
    name = audited.resolved(trail["TrailName"])
    policy = audited.wanted["AuditBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    [(_, key)] = whole.of_type("AWS::KMS::Key")
    sealing = [each for each in key["KeyPolicy"]["Statement"] if each["Sid"] == "RecordOfObjects"]
    for statement in (*policy[:2], *sealing):
        assert statement["Principal"] == {"Service": "cloudtrail.amazonaws.com"}
        source = audited.resolved(statement["Condition"]["StringEquals"]["aws:SourceArn"])
        assert source.endswith(f":trail/{name}")


def test_bucket_is_closed_to_the_public_and_to_what_is_not_encrypted(whole: Deployed) -> None:
    [(_, bucket)] = whole.of_type("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    [(_, policy)] = whole.of_type("AWS::S3::BucketPolicy")
    arn = f"arn:aws:s3:::{whole.ids['Bucket']}"
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Resource"] == [arn, f"{arn}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_bucket_forgets_inputs_results_and_unfinished_uploads(whole: Deployed) -> None:
    whole.add_what_was_left_out()
    s3 = whole.aws.client("s3")
    found = s3.get_bucket_lifecycle_configuration(Bucket=whole.ids["Bucket"])["Rules"]
    days = {rule["ID"]: rule.get("Expiration", {}).get("Days") for rule in found}
    assert days == {"inputs": 30, "results": 90, "unfinished-uploads": None}
    of_every_prefix = [{"And": {"Prefix": "", "Tags": [{"Key": "iris", "Value": "input"}]}}, {"Prefix": ""}]
    assert [rule["Filter"] for rule in found[:2]] == of_every_prefix
    aborts = [rule["AbortIncompleteMultipartUpload"] for rule in found if rule["ID"] == "unfinished-uploads"]
    assert aborts == [{"DaysAfterInitiation": 2}]


def test_news_queue_takes_messages_from_the_rule_of_the_stack_alone(whole: Deployed) -> None:
    policies = dict(whole.of_type("AWS::SQS::QueuePolicy"))
    allowed, denied = policies["NewsPolicy"]["PolicyDocument"]["Statement"]
    rule = allowed["Condition"]["ArnEquals"]["aws:SourceArn"].rpartition("/")[2]
    assert rule == whole.ids["JobRule"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert denied["Effect"] == "Deny"
    [target] = whole.aws.client("events").list_targets_by_rule(Rule=rule)["Targets"]
    assert target["Arn"] == allowed["Resource"]


def test_key_lets_eventbridge_in_without_a_condition_that_its_requests_would_never_meet(
    whole: Deployed,
) -> None:
    """EventBridge names no source to KMS: such a condition would drop every event without a word."""
    [(_, key)] = whole.of_type("AWS::KMS::Key")
    [statement] = [
        each
        for each in key["KeyPolicy"]["Statement"]
        if each["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert "Condition" not in statement
    assert set(statement["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}


def test_events_of_the_sites_own_jobs_alone_reach_its_news_queue_and_are_understood(
    whole: Deployed,
) -> None:
    def event(job: str, queue: str, site: str = "north") -> dict[str, str]:
        arn = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/{queue}"
        detail: dict[str, Any] = {"jobName": job, "jobId": job, "jobQueue": arn, "status": "RUNNABLE"}
        detail |= {"createdAt": 1, "tags": {"resourceArn": "arn", "Application": "iris-oculus", "site": site}}
        detail["container"] = {"environment": [{"name": RUN_VARIABLE, "value": "1"}]}
        return {"Source": "aws.batch", "DetailType": "Batch Job State Change", "Detail": json.dumps(detail)}

    events = whole.aws.client("events")
    for rule in ("JobNewsRule", "ReconcileRule"):  # moto would run the function in a container
        events.remove_targets(Rule=whole.ids[rule], Ids=["function"])
    events.put_events(
        Entries=[
            event("theirs", "another-queue"),
            event("southern", "iris-processing-queue", "south"),
            event("upload", "iris-processing-queue", "cloud"),
            event("main", "iris-processing-queue"),
            event("fast", "iris-oculus-backend-fast"),
            event("cpu", "iris-oculus-backend-cpu"),
        ]
    )
    messages = whole.aws.client("sqs").receive_message(
        QueueUrl=whole.outputs["NewsQueueUrl"], MaxNumberOfMessages=10
    )["Messages"]
    news = [news_in(message["Body"]) for message in messages]
    assert {each.job_key for each in news if each is not None} == {"main", "fast", "cpu"}
    assert len(news) == 3


@pytest.mark.parametrize(
    "parameters",
    [
        {"Network": "private", "TrustAnchorArn": TRUST_ANCHOR, "ObjectAudit": "yes", **WORKING_HOURS},
        {"CpuFallback": "no"},
    ],
)
def test_other_choices_deploy_whole_too(empty_aws: Aws, moto_server: str, parameters: dict[str, str]) -> None:
    fresh(moto_server)
    found = empty_aws.deploy("iris-oculus-backend", PermissionsBoundary=BOUNDARY, **parameters)
    assert found.described["StackStatus"] == "CREATE_COMPLETE"
    assert {found.wanted[name]["Type"] for name in set(found.wanted) - set(found.ids)} <= IGNORED_TYPES
    actors = [*found.of_type("AWS::IAM::Role"), *found.of_type("AWS::IAM::User")]
    assert {actor["PermissionsBoundary"] for _, actor in actors} == {BOUNDARY}
    services = {of["ServiceName"].rpartition(".")[2] for _, of in found.of_type("AWS::EC2::VPCEndpoint")}
    is_private = parameters.get("Network") == "private"
    assert ("Gateway" in found.wanted) is not is_private
    assert ("ecs-agent" in services) is is_private
    assert ("CpuJobQueue" in found.outputs) is ("CpuFallback" not in parameters)
    assert ("GatewayProfileArn" in found.outputs) is ("TrustAnchorArn" in parameters)
    assert "GatewayUser" not in found.outputs  # no long-lived key unless it is asked for


def test_network_has_a_part_of_a_thousand_addresses_in_each_zone_that_is_named(
    empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    zones = ["us-east-1a", "us-east-1c", "us-east-1d", "us-east-1f"]
    found = empty_aws.deploy("iris-oculus-backend", Zones=",".join([*zones, "-", "-"]))
    ec2, batch = empty_aws.client("ec2"), empty_aws.client("batch")
    environments = batch.describe_compute_environments()["computeEnvironments"]
    assert len(environments) == 3
    for environment in environments:
        ids = environment["computeResources"]["subnets"]
        subnets = ec2.describe_subnets(SubnetIds=ids)["Subnets"]
        assert {each["AvailabilityZone"] for each in subnets} == set(zones)
        assert {each["CidrBlock"].rpartition("/")[2] for each in subnets} == {"22"}
    assert found.described["StackStatus"] == "CREATE_COMPLETE"
