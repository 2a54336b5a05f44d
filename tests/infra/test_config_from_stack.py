"""`iris config from-stack`: a configuration that the doctor finds nothing wrong with."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from batch_job.contract import engine_facts
from gateway.adapters.checks import Verdict
from gateway.commands.doctor_aws import examine_aws
from gateway.commands.stack_config import NEEDED, OPTIONAL, StackError, config_of_stack, config_text
from gateway.config import load_config
from tests.cloud import REGION
from tests.infra.conftest import push_image
from tests.infra.deployment import Aws, Deployed, transformed

IRIS = str(Path(sys.executable).parent / "iris")
OTHER = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


def iris(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IRIS, "config", "from-stack", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_outputs_that_the_configuration_reads_are_in_the_template() -> None:
    assert {*NEEDED, *OPTIONAL} <= set(transformed()["Outputs"])


def test_engine_version_of_the_template_is_the_recorded_one() -> None:
    assert transformed()["Parameters"]["EngineVersion"]["Default"] == engine_facts("totalsegmentator").version


def test_configuration_of_a_whole_stack_names_everything(
    whole: Deployed, aws_environment: dict[str, str]
) -> None:
    found = tomllib.loads(config_of_stack(whole.stack, REGION))
    key = whole.outputs["BucketKey"]
    assert key.startswith("arn:aws:kms:")
    assert found == {
        "site": {"name": "north"},
        "engine": {"name": "totalsegmentator", "version": "2.18.0"},
        "objects": {
            "backend": "s3",
            "bucket": "iris-oculus-data-123456789012",
            "prefix": "gateway",
            "kms_key": key,
        },
        "queue": {
            "backend": "batch",
            "job_queue": "iris-processing-queue",
            "job_definition": "iris-totalsegmentator-job",
            "urgent": {"job_queue": "iris-oculus-backend-fast"},
            "fallback": {
                "job_queue": "iris-oculus-backend-cpu",
                "job_definition": "iris-oculus-backend-cpu",
                "options": {"fast": True},
            },
        },
        "news": {"backend": "sqs", "queue_url": whole.ids["News"]},
        "mirror": {"backend": "dynamodb", "table": "iris-oculus-backend-studies"},
        "watch": {"backend": "cloudwatch", "namespace": "IrisGateway"},
        "aws": {"region": REGION},
    }


def test_configuration_with_a_second_region_names_its_machines_for_what_gets_none_here(
    whole: Deployed, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    there = {**whole.outputs, "Bucket": "iris-second"}
    (tmp_path / "iris.toml").write_text(config_text("one", REGION, whole.outputs, ("eu-west-1", there)))
    fallback = load_config(tmp_path / "iris.toml").queue.fallback
    assert (fallback.region, fallback.bucket) == ("eu-west-1", "iris-second")
    assert (fallback.job_queue, fallback.job_definition) == (
        "iris-processing-queue",
        "iris-totalsegmentator-job",
    )
    assert fallback.news_queue_url == whole.outputs["NewsQueueUrl"]
    assert fallback.options == {}


def test_second_stack_in_the_first_region_is_refused(
    whole: Deployed, aws_environment: dict[str, str]
) -> None:
    with pytest.raises(StackError, match="REGION/STACK"):
        config_of_stack(whole.stack, REGION, f"{REGION}/{whole.stack}")


def test_command_with_out_writes_a_new_file_and_leaves_one_that_is_there(
    whole: Deployed, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "iris.toml"
    written = iris(whole.stack, "--region", REGION, "--out", str(target))
    assert (written.returncode, written.stderr) == (0, "")
    assert load_config(target).objects.bucket == whole.outputs["Bucket"]
    again = iris(whole.stack, "--region", REGION, "--out", str(target))
    assert again.returncode == 1
    assert "File exists" in again.stderr


def test_command_without_out_and_region_prints_for_the_region_of_the_environment(
    whole: Deployed, aws_environment: dict[str, str]
) -> None:
    printed = iris(whole.stack)
    assert printed.returncode == 0
    assert tomllib.loads(printed.stdout)["aws"] == {"region": REGION}


def test_stack_that_is_not_there_is_said_with_the_way_out(
    whole: Deployed, aws_environment: dict[str, str]
) -> None:
    with pytest.raises(StackError, match="no stack iris-nowhere in us-east-1; `aws cloudformation list-st"):
        config_of_stack("iris-nowhere", REGION)


def test_stack_of_another_template_is_refused_with_what_it_does_not_say(
    whole: Deployed, empty_aws: Aws, aws_environment: dict[str, str]
) -> None:
    empty_aws.deploy_other("iris-else", OTHER)
    with pytest.raises(StackError, match="the stack iris-else does not say SiteName, EngineVersion, Bucket"):
        config_of_stack("iris-else", REGION)


def test_stack_that_is_not_deployed_yet_is_waited_for(
    whole: Deployed, empty_aws: Aws, aws_environment: dict[str, str]
) -> None:
    empty_aws.client("cloudformation").create_change_set(
        StackName="iris-soon", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=json.dumps(OTHER)
    )
    with pytest.raises(StackError, match="the stack iris-soon is at REVIEW_IN_PROGRESS; wait"):
        config_of_stack("iris-soon", REGION)


def test_region_that_can_be_none_is_said(aws_environment: dict[str, str]) -> None:
    with pytest.raises(StackError, match="no region that AWS knows; correct --region"):
        config_of_stack("iris-oculus-backend", "no region")


def test_credentials_that_aws_does_not_take_are_said(
    aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StackError, match="there are no AWS credentials that are accepted"):
        config_of_stack("iris-oculus-backend", REGION)


def test_region_that_is_known_to_nobody_is_asked_for(
    aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(StackError, match="name its region"):
        config_of_stack("iris-oculus-backend")


def test_doctor_finds_no_fault_with_a_whole_stack_and_its_configuration(
    whole: Deployed, empty_aws: Aws, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    whole.add_what_was_left_out()
    push_image(empty_aws, whole.outputs["Repository"], whole.parameters["ImageTag"])
    path = tmp_path / "iris.toml"
    path.write_text(config_of_stack(whole.stack, REGION), encoding="utf-8")
    checks = {check.name: check for check in examine_aws(load_config(path))}
    not_well = {name: check.verdict for name, check in checks.items() if check.verdict is not Verdict.OK}
    assert {name for name in not_well if " quota for " not in name} == set(), (
        checks
    )  # moto knows none of EC2's
    assert set(not_well.values()) == {Verdict.WARNING}
    assert {
        "bucket access",
        "queue image",
        "queue.urgent job queue",
        "queue.fallback job queue",
        "news dead letters",
        "mirror backup",
    } <= set(checks)
