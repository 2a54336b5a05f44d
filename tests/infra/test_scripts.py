"""infra/deploy.sh, build-and-push.sh and machine-image.sh, with boto3 as the command aws, and moto as AWS."""

import base64
import json
import os
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cloud import REGION
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
    for name in ("bash", "sed", "git", "dirname", "env", "sort"):
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


def deployments(printed: str) -> list[list[str]]:
    """The calls of `sam deploy`, in order."""
    return [each for each in commands(printed) if each[:2] == ["sam", "deploy"]]


def parameters_of(deploy: list[str]) -> list[str]:
    """What is passed on, but for the zones and the two steps of a creation, which have tests of their own."""
    found = deploy[deploy.index("--parameter-overrides") + 1 :]
    return [each for each in found if not each.startswith(("Zones=", "Protected="))]


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
    build, deploy, *_ = commands(said.stdout)
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
    deploy, _ = deployments(script("deploy.sh", "plug-in", "--dry-run").stdout)
    assert parameters_of(deploy) == ["Mode=plug-in", CLASSIC, *kept]
    deploy, _ = deployments(script("deploy.sh", "plug-in", "--dry-run", "SignInPages=managed").stdout)
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
    deploy, _ = deployments(script("deploy.sh", "whole", "--dry-run").stdout)
    assert parameters_of(deploy) == ["Mode=whole"]
    empty_aws.client("logs").create_log_group(logGroupName="/aws/batch/job")
    deploy, _ = deployments(script("deploy.sh", "whole", "--dry-run").stdout)
    assert parameters_of(deploy) == ["Mode=whole", "LogGroup=keep"]


def test_deploy_quotes_a_value_with_blanks_as_sam_takes_it(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    hours = "WorkingHoursBegin=cron(0 7 ? * MON-FRI *)"
    deploy, _ = deployments(script("deploy.sh", "whole", "--dry-run", hours, "TimeZone=Etc/UTC").stdout)
    assert parameters_of(deploy)[1:] == ['WorkingHoursBegin="cron(0 7 ? * MON-FRI *)"', "TimeZone=Etc/UTC"]


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


# -- the first deployment, in any region -------------------------------------------------------------------


OFFERED = {  # moto has EC2's answers of each region
    "us-east-1": ["Zones=us-east-1a,us-east-1b,us-east-1c,us-east-1d,us-east-1f,-"],
    "eu-west-1": [
        "SpotInstanceTypes=g4dn.xlarge,g5.xlarge,g4dn.2xlarge,g5.2xlarge",
        "OnDemandInstanceTypes=g4dn.xlarge,g5.xlarge",
        "Zones=eu-west-1a,eu-west-1b,eu-west-1c,-,-,-",
    ],
    "eu-south-2": [
        "SpotInstanceTypes=g5.xlarge,g6.xlarge,g5.2xlarge,g6.2xlarge",
        "OnDemandInstanceTypes=g5.xlarge,g6.xlarge",
        "CpuInstanceTypes=m7i.2xlarge",
        "Zones=eu-south-2a,eu-south-2b,eu-south-2c,-,-,-",
    ],
    "me-south-1": [
        "SpotInstanceTypes=g4dn.xlarge,g4dn.2xlarge",
        "OnDemandInstanceTypes=g4dn.xlarge",
        "CpuInstanceTypes=m6i.2xlarge",
        "Zones=me-south-1b,me-south-1c,-,-,-,-",
    ],
}


@pytest.mark.parametrize("region", OFFERED)
def test_deploy_of_a_new_stack_takes_the_types_and_zones_that_the_region_has(
    script: Script, empty_aws: Aws, moto_server: str, region: str
) -> None:
    fresh(moto_server)
    said = script("deploy.sh", "whole", "--region", region, "--dry-run")
    assert said.returncode == 0, said.stderr
    first, _ = deployments(said.stdout)
    chosen = first[first.index("Mode=whole") + 1 : -1]
    for each in chosen:  # where moto's record of a region grows, this says by how much
        assert each in OFFERED[region]
    assert len(chosen) == len(OFFERED[region])


def test_deploy_where_there_are_no_gpus_is_refused_before_anything_is_made(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    refused = script("deploy.sh", "whole", "--region", "ap-southeast-4", "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "ap-southeast-4 has none of the machine types g4dn.xlarge" in refused.stderr
    assert "take another region" in refused.stderr


def test_deploy_with_a_type_that_is_named_and_not_there_is_refused_with_its_name(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    refused = script(
        "deploy.sh", "whole", "--region", "eu-west-1", "--dry-run", "SpotInstanceTypes=g5.xlarge,g6.xlarge"
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "eu-west-1 has no machines of the type g6.xlarge, which SpotInstanceTypes names" in refused.stderr


def test_deploy_of_a_plug_in_looks_at_machines_without_gpus_alone(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    deploy_present(empty_aws)
    first, _ = deployments(script("deploy.sh", "plug-in", "--dry-run").stdout)
    assert not [each for each in first if each.startswith(("Spot", "OnDemand"))]
    [zones] = [each for each in first if each.startswith("Zones=")]
    assert zones.endswith("us-east-1f,-")
    first, _ = deployments(script("deploy.sh", "plug-in", "--dry-run", "CpuFallback=no").stdout)
    assert not [each for each in first if each.startswith("Zones=")]


def test_deploy_of_a_new_stack_protects_what_holds_data_after_it_was_made(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    """Protected, table and user pool could not be removed when another resource fails."""
    fresh(moto_server)
    _, first, second, policy = commands(script("deploy.sh", "whole", "--dry-run").stdout)
    assert (first[-1], second[-1]) == ("Protected=no", "Protected=yes")
    assert first[:-1] == second[:-1]
    assert policy[:3] == ["aws", "cloudformation", "set-stack-policy"]
    assert (ROOT / policy[-1].removeprefix("file://")).is_file()


def test_deploy_in_a_second_region_names_its_bucket_after_it(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.deploy("iris-oculus-backend")
    said = script("deploy.sh", "whole", "--region", "eu-west-1", "--dry-run")
    assert said.returncode == 0
    assert "BucketName=iris-oculus-data-123456789012-eu-west-1" in deployments(said.stdout)[0]
    assert "there is a bucket iris-oculus-data-123456789012 already" in said.stderr


def test_deploy_over_a_stack_of_ours_changes_neither_types_nor_zones(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.deploy("iris-oculus-backend")
    [deploy] = deployments(script("deploy.sh", "whole", "--dry-run", "MaxvCpus=32").stdout)
    assert deploy[-2:] == ["Mode=whole", "MaxvCpus=32"]


def test_deploy_over_a_creation_that_was_interrupted_protects_what_holds_data(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.deploy("iris-oculus-backend", Protected="no")
    [deploy] = deployments(script("deploy.sh", "whole", "--dry-run").stdout)
    assert deploy[-2:] == ["Mode=whole", "Protected=yes"]


def test_guided_deployment_proposes_no_name_of_the_present_stack_and_asks_before_it_changes_anything() -> (
    None
):
    config = tomllib.loads((ROOT / "infra" / "samconfig.toml").read_text(encoding="utf-8"))
    proposed = config["default"]["deploy"]["parameters"]
    assert proposed["stack_name"] == "iris-gateway"
    assert proposed["confirm_changeset"] is True


@pytest.mark.parametrize("stack", ["Iris", "iris_north", "9iris", "iris-aws", "i" * 30])
def test_deploy_under_a_name_that_some_resource_could_not_have_is_refused(script: Script, stack: str) -> None:
    refused = script("deploy.sh", "whole", "--stack", stack, "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"a stack cannot be named {stack}" in refused.stderr


def test_deploy_over_a_stack_that_was_prepared_and_never_made_says_how_to_remove_it(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    empty_aws.client("cloudformation").create_change_set(
        StackName="iris-soon", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody='{"Resources": {}}'
    )
    refused = script("deploy.sh", "whole", "--stack", "iris-soon", "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "REVIEW_IN_PROGRESS" in refused.stderr
    assert "aws cloudformation delete-stack --stack-name iris-soon" in refused.stderr


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        ("ROLLBACK_COMPLETE", "aws cloudformation delete-stack --stack-name iris-oculus-backend"),
        ("DELETE_FAILED", "describe-stack-events --stack-name iris-oculus-backend says why"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait until that is over"),
    ],
)
def test_deploy_over_a_stack_that_takes_no_update_says_the_way_out(
    script: Script, tmp_path: Path, status: str, way_out: str
) -> None:
    (tmp_path / "bin" / "aws").write_text(f"#!/bin/sh\necho {status}\n", encoding="utf-8")
    refused = script("deploy.sh", "whole", "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"({status})" in refused.stderr or f"is at {status}" in refused.stderr
    assert way_out in refused.stderr


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


def test_build_and_push_says_where_the_machines_image_has_the_earlier_one(
    script: Script, empty_aws: Aws, moto_server: str
) -> None:
    fresh(moto_server)
    used = empty_aws.deploy("iris-oculus-backend", MachineImage="ami-0123456789abcdef0")
    push_image(empty_aws, used.outputs["Repository"], tag_of_now())
    said = script("build-and-push.sh", "--dry-run")
    assert said.returncode == 0
    assert "infra/machine-image.sh --stack iris-oculus-backend" in said.stderr


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


# -- an image of machines ----------------------------------------------------------------------------------

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def stack_with_image(empty_aws: Aws, moto_server: str) -> Deployed:
    fresh(moto_server)
    return empty_aws.deploy("iris-oculus-backend", ImageDigest=DIGEST)


@contextmanager
def machines_that_end(aws: Aws) -> Iterator[None]:
    """Whatever is started ends by itself, as a machine does once it has fetched the image."""
    ec2, is_over = aws.client("ec2"), threading.Event()
    running = [{"Name": "instance-state-name", "Values": ["running"]}]

    def end() -> None:
        while not is_over.wait(0.05):
            for each in ec2.describe_instances(Filters=running)["Reservations"]:
                ec2.stop_instances(InstanceIds=[each["Instances"][0]["InstanceId"]])

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_machine_image_is_made_of_a_machine_that_fetched_the_image_and_is_used(
    script: Script, stack_with_image: Deployed
) -> None:
    aws = stack_with_image.aws
    ec2 = aws.client("ec2")
    with machines_that_end(aws):
        done = script("machine-image.sh")
    assert done.returncode == 0, done.stderr
    [image] = ec2.describe_images(Owners=["self"])["Images"]
    assert done.stdout == f"{image['ImageId']}\n"
    assert image["Name"].startswith("iris-oculus-backend-abababababab-")
    [[machine]] = [each["Instances"] for each in ec2.describe_instances()["Reservations"]]
    assert machine["State"]["Name"] == "terminated"
    base = aws.client("ssm").get_parameter(
        Name="/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
    )
    assert machine["ImageId"] == base["Parameter"]["Value"]
    data = ec2.describe_instance_attribute(InstanceId=machine["InstanceId"], Attribute="userData")
    said = base64.b64decode(data["UserData"]["Value"]).decode()
    registry = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
    assert said.startswith(f"#!/bin/bash\nimage={registry}/iris-totalsegmentator-batch@{DIGEST}\n")
    [updated] = aws.client("cloudformation").describe_stacks(StackName=stack_with_image.stack)["Stacks"]
    used = {each["ParameterKey"]: each["ParameterValue"] for each in updated["Parameters"]}
    assert (used["MachineImage"], used["ImageDigest"]) == (image["ImageId"], DIGEST)
    again = script("machine-image.sh")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "uses it already" in again.stderr
    assert len(ec2.describe_instances()["Reservations"]) == 1


def test_machine_image_on_trial_says_what_it_would_do_and_does_nothing(
    script: Script, stack_with_image: Deployed
) -> None:
    said = script("machine-image.sh", "--dry-run")
    assert (said.returncode, said.stderr) == (0, "")
    assert [line.split()[2:4] for line in said.stdout.splitlines() if line.startswith("+ aws")] == [
        ["ec2", "run-instances"],
        ["ec2", "wait"],
        ["ec2", "create-image"],
        ["ec2", "wait"],
        ["ec2", "terminate-instances"],
        ["cloudformation", "update-stack"],
        ["cloudformation", "wait"],
    ]
    ec2 = stack_with_image.aws.client("ec2")
    assert ec2.describe_instances()["Reservations"] == []
    assert ec2.describe_images(Owners=["self"])["Images"] == []


def test_machine_image_of_a_stack_without_a_batch_image_names_the_script_that_comes_first(
    script: Script, stack: Deployed
) -> None:
    refused = script("machine-image.sh")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"infra/build-and-push.sh --stack {stack.stack}" in refused.stderr


FAKES = {
    "curl": """case $* in
*api/token*) echo session ;;
*security-credentials/role*)
    printf '{"%s" : "%s",\\n' AccessKeyId AK SecretAccessKey SK Token TK ;;
*security-credentials/*) echo role ;;
*X-Amz-Target*) echo "curl $*" >>"$LOG"
    printf '{"authorizationData":[{"authorizationToken":"%s"}]}' "$(printf 'AWS:secret' | base64)" ;;
esac""",
    "docker": """case $1 in login) echo "docker $* with $(cat)" ;; *) echo "docker $*" ;; esac >>"$LOG"
[ "$1" != pull ] || [ -z "${FAILS:-}" ]""",
    "systemctl": 'echo "systemctl $*" >>"$LOG"',
    "cloud-init": 'echo "cloud-init $*" >>"$LOG"',
}  # fmt: skip


@pytest.mark.parametrize("fails", ["", "1"])
def test_machine_fetches_the_image_in_its_own_name_and_ends_only_when_it_has_it(
    tmp_path: Path, fails: str
) -> None:
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    for name, does in FAKES.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    text = (ROOT / "infra" / "fetch-image.sh").read_text(encoding="utf-8")
    image = f"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/iris@{DIGEST}"
    done = subprocess.run(
        ["/bin/bash", "-c", f"image={image}\n{text.replace('/etc/iris-image', str(tmp_path / 'mark'))}"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "LOG": str(log), "FAILS": fails},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    signed, *rest = log.read_text(encoding="utf-8").splitlines()
    assert "--aws-sigv4 aws:amz:cn-north-1:ecr --user AK:SK -H X-Amz-Security-Token: TK" in signed
    assert signed.endswith("https://api.ecr.cn-north-1.amazonaws.com.cn/")
    registry = image.partition("/")[0]
    fetching = [
        "systemctl start docker",
        f"docker login --username AWS --password-stdin {registry} with secret",
        f"docker pull --quiet {image}",
    ]
    ending = [] if fails else ["cloud-init clean --logs", "systemctl poweroff"]
    assert rest == fetching + ending
    assert (done.returncode == 0) is not bool(fails)
    assert (tmp_path / "mark").exists() is not bool(fails)
