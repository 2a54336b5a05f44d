"""How soon a study begins: machines that are kept, an image with the batch image in it, their own disks."""

import json
import os
import subprocess
import sys
from email import message_from_string
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from tests.infra.conftest import WATCHED
from tests.infra.deployment import Aws, Deployed, fresh, transformed

WARM = {"WarmVcpus": "4", "TimeZone": "Europe/Madrid"}
IMAGE = "ami-0123456789abcdef0"
OWN_DISK = "Amazon EC2 NVMe Instance Storage"
USD_AN_HOUR = 0.300
"""A g4dn.xlarge at half its price, with disk and address (infra/README.md)."""


@pytest.fixture(scope="module")
def usual(empty_aws: Aws, moto_server: str) -> Deployed:
    fresh(moto_server)
    return empty_aws.deploy("iris-oculus-backend")


def with_(usual: Deployed, **parameters: str) -> Deployed:
    """What the template says with these."""
    return Deployed(usual.aws, usual.stack, {**usual.parameters, **parameters})


def calls(deployed: Deployed) -> dict[str, tuple[str, dict[str, Any]]]:
    """When each schedule calls, and what with."""
    return {
        name: (of["ScheduleExpression"], json.loads(of["Target"]["Input"]))
        for name, of in deployed.of_type("AWS::Scheduler::Schedule")
    }


def gpu_environments(deployed: Deployed) -> list[dict[str, Any]]:
    found = dict(deployed.of_type("AWS::Batch::ComputeEnvironment"))
    return [found["SpotMachines"]["ComputeResources"], found["OnDemandMachines"]["ComputeResources"]]


# -- schedules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [WARM, WATCHED])
def test_schedules_call_batch_with_what_it_takes_of_an_environment_of_the_stack(
    usual: Deployed, parameters: dict[str, str]
) -> None:
    model = botocore.session.get_session().get_service_model("batch")
    shape = model.operation_model("UpdateComputeEnvironment").input_shape
    deployed = with_(usual, **parameters)
    environments = {
        of["ComputeEnvironmentName"] for _, of in deployed.of_type("AWS::Batch::ComputeEnvironment")
    }
    found = dict(deployed.of_type("AWS::Scheduler::Schedule"))
    assert found
    for schedule in found.values():
        call = small(json.loads(schedule["Target"]["Input"]))  # Scheduler writes capitals
        assert not ParamValidator().validate(call, shape).has_errors()
        assert call["computeEnvironment"] in environments
        for name in call.get("computeResources", {}):
            assert name in shape.members["computeResources"].members
        assert schedule["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:batch:updateComputeEnvironment"
        assert (schedule["GroupName"], schedule["ScheduleExpressionTimezone"]) == (
            "Schedules",
            "Europe/Madrid",
        )


def small(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: small(each) for name, each in value.items()}
    return value


def test_role_of_the_schedules_may_do_that_and_nothing_else_and_nobody_else_takes_it_on(
    usual: Deployed,
) -> None:
    role = dict(usual.of_type("AWS::IAM::Role"))["SchedulesRole"]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    [(_, group)] = usual.of_type("AWS::Scheduler::ScheduleGroup")
    assert trust["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(f":schedule-group/{group['Name']}")
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "batch:UpdateComputeEnvironment"
    assert {each.rpartition("/")[2] for each in statement["Resource"]} == {
        of["ComputeEnvironmentName"] for _, of in usual.of_type("AWS::Batch::ComputeEnvironment")
    }


def test_machines_are_kept_from_begin_to_end_where_that_is_wanted(usual: Deployed) -> None:
    found = calls(with_(usual, **WARM))
    spot = {"ComputeEnvironment": "iris-oculus-backend-spot"}
    assert found["MachinesWarm"][1] == {**spot, "ComputeResources": {"MinvCpus": 4}}
    assert found["MachinesCool"][1] == {**spot, "ComputeResources": {"MinvCpus": 0}}
    assert not {"MachinesWarm", "MachinesCool"} & set(calls(usual))


def test_what_a_kept_machine_costs_is_said_where_the_parameter_is_read() -> None:
    parameters = transformed()["Parameters"]
    begin, end = (parameters[name]["Default"] for name in ("WarmBegin", "WarmEnd"))
    assert (begin, end) == ("cron(30 7 ? * MON-FRI *)", "cron(0 19 ? * MON-FRI *)")
    hours = (19 - 7.5) * 22
    said = (
        f"about {hours * USD_AN_HOUR:.0f} USD a month with these hours ({hours:.0f} h of {USD_AN_HOUR:.2f})"
    )
    assert said in parameters["WarmVcpus"]["Description"]


def test_machines_are_not_kept_in_hours_in_which_none_is_to_work() -> None:
    rule = transformed()["Rules"]["WarmMachinesAreSpotMachinesThatWork"]
    assert {"Fn::Equals": [{"Ref": "WorkingHoursBegin"}, ""]} in rule["Assertions"][0]["Assert"]["Fn::And"]


def test_every_month_each_environment_takes_the_newest_image_of_awss(usual: Deployed) -> None:
    names = {"SpotRefresh": "spot", "OnDemandRefresh": "on-demand", "CpuRefresh": "cpu"}
    assert calls(usual) == {
        name: (
            "cron(30 3 1 * ? *)",
            {
                "ComputeEnvironment": f"iris-oculus-backend-{environment}",
                "ComputeResources": {"UpdateToLatestImageVersion": True},
            },
        )
        for name, environment in names.items()
    }
    assert calls(with_(usual, SystemRefresh="")) == {}
    for _, of in usual.of_type("AWS::Batch::ComputeEnvironment"):
        assert of["UpdatePolicy"]["TerminateJobsOnUpdate"] is False


# -- an image of the site's own ---------------------------------------------------------------------------


def test_machines_with_gpus_start_from_the_image_that_is_named_and_others_from_awss(usual: Deployed) -> None:
    own = with_(usual, MachineImage=IMAGE)
    for resources in gpu_environments(own):
        assert resources["Ec2Configuration"] == [{"ImageType": "ECS_AL2023_NVIDIA", "ImageIdOverride": IMAGE}]
    for resources in gpu_environments(usual):
        assert resources["Ec2Configuration"] == [{"ImageType": "ECS_AL2023_NVIDIA"}]
    cpu = dict(own.of_type("AWS::Batch::ComputeEnvironment"))["CpuMachines"]["ComputeResources"]
    assert cpu["Ec2Configuration"] == [{"ImageType": "ECS_AL2023"}]
    assert set(calls(own)) == {"CpuRefresh"}  # of an image that is named Batch takes no newer one


# -- the machine's own disk -------------------------------------------------------------------------------


def part_of_user_data(usual: Deployed, kind: str) -> str:
    [(_, template)] = usual.of_type("AWS::EC2::LaunchTemplate")
    parts = message_from_string(template["LaunchTemplateData"]["UserData"]["Fn::Base64"])
    [found] = [part for part in parts.walk() if part.get_content_type() == kind]
    content = found.get_payload()
    assert isinstance(content, str)
    return content


def test_what_a_machine_does_at_its_start_passes_the_linter_of_shells(usual: Deployed) -> None:
    linter = Path(sys.executable).parent / "shellcheck"
    for kind in ("text/x-shellscript", "text/cloud-boothook"):
        script = part_of_user_data(usual, kind)
        done = subprocess.run(
            [linter, "-"], input=script, capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, "")


def test_image_that_is_on_the_machine_is_not_fetched(usual: Deployed) -> None:
    assert "\nECS_IMAGE_PULL_BEHAVIOR=prefer-cached\n" in part_of_user_data(usual, "text/x-shellscript")


@pytest.mark.parametrize(
    ("disks", "has_image", "has_system", "moved"),
    [
        ([("/dev/nvme0n1", "Amazon Elastic Block Store")], False, False, []),
        ([("/dev/nvme0n1", "Amazon Elastic Block Store"), ("/dev/nvme1n1", OWN_DISK)], False, False,
         ["docker", "containerd"]),
        ([("/dev/nvme1n1", OWN_DISK), ("/dev/nvme2n1", OWN_DISK)], False, True, ["docker", "containerd"]),
        ([("/dev/nvme1n1", OWN_DISK)], True, False, ["docker/volumes"]),
    ],
)  # fmt: skip
def test_own_disk_of_a_machine_is_for_docker_or_where_the_image_is_there_for_scratch_alone(
    usual: Deployed,
    tmp_path: Path,
    disks: list[tuple[str, str]],
    has_image: bool,
    has_system: bool,
    moved: list[str],
) -> None:
    """The script itself, with a root of its own and commands that write down how they are called."""
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    listed = "".join(f"{name} {model}\n" for name, model in disks)
    for name, does in {
        "lsblk": f"printf '%s' '{listed}'",
        "blkid": "exit 0" if has_system else "exit 2",
        "mkfs.xfs": f'echo "mkfs.xfs $*" >>{log}',
        "mount": f'echo "mount $*" >>{log}',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / "etc").mkdir()
    if has_image:
        (tmp_path / "etc" / "iris-image").touch()
    script = part_of_user_data(usual, "text/cloud-boothook")
    for folder in ("/mnt/own", "/var/lib", "/etc/iris-image"):
        script = script.replace(folder, f"{tmp_path}{folder}")
    done = subprocess.run(
        ["/bin/sh", "-eu"], input=script, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    if not moved:
        assert lines == []
        return
    made = [] if has_system else ["mkfs.xfs -q /dev/nvme1n1"]
    assert lines == [
        *made,
        f"mount -o noatime /dev/nvme1n1 {tmp_path}/mnt/own",
        *(f"mount --bind {tmp_path}/mnt/own/{folder} {tmp_path}/var/lib/{folder}" for folder in moved),
    ]
