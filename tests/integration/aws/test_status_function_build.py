"""The folder that becomes the status function: its pins, its size, and that nothing is missing in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud_status import VIEWER, http_event
from tests.mirrored_ledger import make_table

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "infra" / "functions"
MOST_MB = 100


def test_requirements_of_the_function_are_pinned_as_everything_else() -> None:
    lines = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {line for line in lines if not line.startswith("#")}
    assert pins
    assert pins <= set((ROOT / "constraints.txt").read_text(encoding="utf-8").split())


def test_build_of_a_function_that_is_not_there_or_into_a_folder_with_something_in_it_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "something").touch()
    for function, said in (
        ("nothing", "there is no function nothing"),
        ("status", "empty it, or name another"),
    ):
        refused = subprocess.run(
            [FOLDER / "build.sh", function, tmp_path], capture_output=True, text=True, check=False, timeout=60
        )
        assert (refused.returncode, said in refused.stderr) == (1, True)


def _build(folder: Path, **variables: str) -> float:
    """Make the folder; its size in MB."""
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    subprocess.run([FOLDER / "build.sh", "status", folder], env=environment, check=True, timeout=600)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.mark.long
def test_built_function_for_lambda_is_small(tmp_path: Path) -> None:
    size_mb = _build(tmp_path / "function")
    print(f"the function for arm64: {size_mb:.1f} MB")
    assert size_mb < MOST_MB
    assert not list((tmp_path / "function").rglob("*x86_64*.so"))


@pytest.mark.long
def test_built_function_answers_with_nothing_but_its_folder_and_boto3(
    tmp_path: Path, fresh_moto: str, aws_environment: dict[str, str]
) -> None:
    function, boto3 = tmp_path / "function", tmp_path / "boto3"
    _build(function, PLATFORM="")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(boto3)]
    subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), "boto3"], check=True, timeout=600)
    program = (
        "import json, sys\n"
        "sys.path += sys.argv[1:3]\n"
        "import handler\n"
        "print(json.dumps(handler.handler(json.loads(sys.argv[3]), None)))\n"
    )
    variables = {
        "IRIS_API__AUTH": "cognito", "IRIS_MIRROR__BACKEND": "dynamodb",
        "IRIS_MIRROR__TABLE": make_table(fresh_moto), "IRIS_OBJECTS__BACKEND": "s3",
        "IRIS_OBJECTS__BUCKET": "iris-data", "IRIS_AWS__REGION": "us-east-1",
    }  # fmt: skip
    for path, found in (
        ("/api/v1/studies", '{"items":[]'),
        ("/", "<!doctype html>"),
        ("/metrics", "iris_studies"),
    ):
        event = json.dumps(http_event("GET", path, VIEWER, {}))
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, function, boto3, event],
            env={**aws_environment, **variables}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        assert (answer["statusCode"], found in answer["body"]) == (200, True), path
