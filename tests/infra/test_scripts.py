"""infra/deploy.sh and infra/build-and-push.sh, with boto3 as the command aws, and moto as AWS."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.conftest import push_image
from tests.infra.deployment import ROOT, Aws, Deployed, fresh
from tests.quick_start import JOB, quick_python

PRESENT = json.loads((Path(__file__).parent / "present_stack.json").read_text(encoding="utf-8"))

CLASSIC = "SignInPages=classic"
"""What a pool of moto's gets, which has no tier."""

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(aws_environment: dict[str, str], tmp_path: Path) -> Script:
    """Runs a script of infra/ where the command aws is ours, and no builder and no sam can be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    ours = folder / "aws"
    ours.write_text(
        f'#!/bin/sh\nexec "{quick_python(JOB)}" -m tests.infra.aws_command "$@"\n', encoding="utf-8"
    )
    ours.chmod(0o755)
    for name in ("bash", "sed", "git", "dirname", "env"):
        found = next(path for path in (Path("/bin") / name, Path("/usr/bin") / name) if path.exists())
        (folder / name).symlink_to(found)

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "infra" / name), *arguments],
            env={**aws_environment, "PATH": str(folder), "PYTHONPATH": str(ROOT), "HOME": os.environ["HOME"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def parameters_of(deploy: list[str]) -> list[str]:
    return deploy[deploy.index("--parameter-overrides") + 1 :]


def deploy_present(aws: Aws) -> str:
    """The present stack with a user pool that is there; the pool's id."""
    pool = str(aws.client("cognito-idp").create_user_pool(PoolName="present")["UserPool"]["Id"])
    aws.deploy_other(
        "iris-oculus-backend", json.loads(json.dumps(PRESENT).replace("us-east-1_present", pool))
    )
    return pool


def tag_of_now() -> str:
    """What the image of the task total is tagged with."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    revision = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    return f"{version}-{revision}-total"


def commands(printed: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in printed.splitlines() if line.startswith("+ ")]


def test_scripts_pass_their_linter() -> None:
    linter = Path(sys.executable).parent / "shellcheck"
    result = subprocess.run(
        [linter, *(ROOT / "infra").rglob("*.sh")], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_deploy_whole_over_the_present_stack_is_refused_with_the_way_out(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.deploy_other("iris-oculus-backend", PRESENT)
    refused = script("deploy.sh", "whole", "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "another template made" in refused.stderr
    assert "Deploy beside it: infra/deploy.sh plug-in" in refused.stderr


def test_deploy_plug_in_beside_the_present_stack_names_its_own_stack(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    deploy_present(empty_aws)
    said = script("deploy.sh", "plug-in", "--dry-run", "SiteName=south")
    assert (said.returncode, said.stderr) == (0, "")
    build, deploy = commands(said.stdout)
    assert build[:4] == ["sam", "build", "--template-file", "infra/template.yaml"]
    assert deploy[:4] == ["sam", "deploy", "--template-file", f"{build[-1]}/template.yaml"]
    assert deploy[deploy.index("--stack-name") + 1] == "iris-gateway"
    assert parameters_of(deploy) == ["Mode=plug-in", "SiteName=south", CLASSIC]


@pytest.mark.parametrize(
    ("domain", "groups", "kept"),
    [
        ("iris-users", ["admin", "viewer"], [
            "SignInUrl=https://iris-users.auth.us-east-1.amazoncognito.com", "UserGroups=keep",
        ]),
        ("", ["doctors"], []),
        ("", ["viewer", "admin", "doctors"], ["UserGroups=keep"]),
    ],
)  # fmt: skip
def test_deploy_plug_in_keeps_what_the_user_pool_has(
    script: Script, empty_aws: Aws, moto_server: str, domain: str, groups: list[str], kept: list[str]
) -> None:
    fresh(moto_server)
    pool, cognito = deploy_present(empty_aws), empty_aws.client("cognito-idp")
    for group in groups:
        cognito.create_group(UserPoolId=pool, GroupName=group)
    if domain:
        cognito.create_user_pool_domain(UserPoolId=pool, Domain=domain)
    _, deploy = commands(script("deploy.sh", "plug-in", "--dry-run").stdout)
    assert parameters_of(deploy) == ["Mode=plug-in", CLASSIC, *kept]
    _, deploy = commands(script("deploy.sh", "plug-in", "--dry-run", "SignInPages=managed").stdout)
    assert CLASSIC not in parameters_of(deploy)


def test_deploy_plug_in_where_one_of_two_groups_is_missing_says_how_to_make_it(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    pool = deploy_present(empty_aws)
    empty_aws.client("cognito-idp").create_group(UserPoolId=pool, GroupName="viewer")
    refused = script("deploy.sh", "plug-in", "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"aws cognito-idp create-group --user-pool-id {pool}" in refused.stderr


def test_deploy_plug_in_without_web_client_needs_no_user_pool(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.deploy("iris-oculus-backend", WebClient="no")
    refused = script("deploy.sh", "plug-in", "--stack", "iris-south", "--dry-run")
    assert refused.returncode == 1
    assert "no stack here exports IrisUserPoolId" in refused.stderr
    said = script("deploy.sh", "plug-in", "--stack", "iris-south", "--dry-run", "WebClient=no")
    assert (said.returncode, said.stderr) == (0, "")


def test_deploy_plug_in_where_nothing_is_exported_is_refused(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    refused = script("deploy.sh", "plug-in", "--dry-run")
    assert refused.returncode == 1
    assert "no stack here exports IrisDataBucket" in refused.stderr


def test_deploy_whole_keeps_a_log_group_that_is_there(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    _, deploy = commands(script("deploy.sh", "whole", "--dry-run").stdout)
    assert parameters_of(deploy) == ["Mode=whole"]
    empty_aws.client("logs").create_log_group(logGroupName="/aws/batch/job")
    _, deploy = commands(script("deploy.sh", "whole", "--dry-run").stdout)
    assert parameters_of(deploy) == ["Mode=whole", "LogGroup=keep"]


def test_deploy_quotes_a_value_with_blanks_as_sam_takes_it(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    hours = "WorkingHoursBegin=cron(0 7 ? * MON-FRI *)"
    [_, deploy] = commands(script("deploy.sh", "whole", "--dry-run", hours, "TimeZone=Etc/UTC").stdout)
    assert deploy[-2:] == ['WorkingHoursBegin="cron(0 7 ? * MON-FRI *)"', "TimeZone=Etc/UTC"]


def test_deploy_says_the_command_where_the_account_never_had_spot_machines(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    assert "create-service-linked-role" in script("deploy.sh", "whole", "--dry-run").stderr
    empty_aws.client("iam").create_role(RoleName="AWSServiceRoleForEC2Spot", AssumeRolePolicyDocument="{}")
    assert script("deploy.sh", "whole", "--dry-run").stderr == ""


def test_deploy_of_a_stack_in_another_mode_is_refused(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.deploy("iris-oculus-backend")
    assert script("deploy.sh", "whole", "--dry-run").returncode == 0
    refused = script("deploy.sh", "plug-in", "--stack", "iris-oculus-backend", "--dry-run")
    assert refused.returncode == 1
    assert "was deployed as whole" in refused.stderr


@pytest.fixture
def stack(empty_aws: Aws, moto_server: str) -> Deployed:
    fresh(moto_server)
    return empty_aws.deploy("iris-oculus-backend")


def test_build_and_push_on_trial_says_what_it_would_do_and_does_nothing(
    script: Script, stack: Deployed
) -> None:
    said = script(
        "build-and-push.sh", "--dry-run", "--tasks", "total total_mr", "--", "--build-arg", "TORCH=cpu"
    )
    assert (said.returncode, said.stderr) == (0, "")
    build, _, tag, push, update, wait = commands(said.stdout)
    assert build[-6:] == ["batch", "--", "--build-arg", "TASKS=total total_mr", "--build-arg", "TORCH=cpu"]
    address = "123456789012.dkr.ecr.us-east-1.amazonaws.com/iris-totalsegmentator-batch"
    assert push[1:2] == ["push"]
    assert push[2].startswith(f"{address}:")
    assert push[2].endswith("-total.total_mr")
    assert tag[1] == "tag"
    assert "ParameterKey=MaxvCpus,UsePreviousValue=true" in update
    assert wait[:3] == ["aws", "cloudformation", "wait"]
    assert stack.aws.client("ecr").list_images(repositoryName=stack.outputs["Repository"])["imageIds"] == []


def test_build_and_push_of_what_is_in_the_repository_builds_nothing(script: Script, stack: Deployed) -> None:
    digest = push_image(stack.aws, stack.outputs["Repository"], tag_of_now())
    said = script("build-and-push.sh", "--dry-run")
    assert f"has {tag_of_now()} already" in said.stderr
    update, _ = commands(said.stdout)
    assert f"ParameterKey=ImageDigest,ParameterValue={digest}" in update


def test_build_and_push_of_what_the_stack_uses_changes_nothing(
    script: Script, empty_aws: Aws, moto_server: str, stack: Deployed
) -> None:
    digest = push_image(stack.aws, stack.outputs["Repository"], tag_of_now())
    fresh(moto_server)
    used = empty_aws.deploy("iris-oculus-backend", ImageDigest=digest)
    assert push_image(empty_aws, used.outputs["Repository"], tag_of_now()) == digest
    said = script("build-and-push.sh", "--dry-run")
    assert (said.returncode, said.stdout) == (0, "")
    assert "iris-oculus-backend uses it already" in said.stderr
