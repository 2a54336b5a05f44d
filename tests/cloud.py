"""AWS on this machine: one moto server a session, over real HTTP, and an environment that knows no other.

A pytest plugin, named in tests/conftest.py. moto keeps nothing on disk; what a test left is gone after
`fresh_moto`. Its Batch finishes jobs at once and sends no events.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

import tests.quick_start.service_tables  # noqa: F401  (boto3 reads them once)
from gateway.backends.aws import the_session
from gateway.demo.loopback import free_port

ROOT = Path(__file__).parents[1]
DEADLINE_S = 60.0
REGION = "us-east-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a moto server that lives as long as the session."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log_path = tmp_path_factory.mktemp("moto") / "log"
    with log_path.open("wb") as log, subprocess.Popen(
        [sys.executable, "-m", "tests.doubles.moto_with_disks", "-H", "127.0.0.1", "-p", str(port)],
        stdout=log,
        stderr=log,
        env=_isolated(dict(os.environ)),
        cwd=ROOT,
    ) as server:  # fmt: skip
        try:
            _wait_for(url, server)
            yield url
        finally:
            server.kill()


@pytest.fixture
def fresh_moto(moto_server: str) -> str:
    """The same server's URL, with nothing in it."""
    request = urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request, timeout=DEADLINE_S):
        return moto_server


@pytest.fixture
def own_disk_key(aws_environment: dict[str, str], moto_server: str) -> Iterator[None]:
    """A KMS key of the account's own seals disks by default, for the time of the test."""
    key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    boto3.client("ec2").modify_ebs_default_kms_key_id(KmsKeyId=key)
    yield
    with urllib.request.urlopen(
        urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST"), timeout=DEADLINE_S
    ):
        pass


@pytest.fixture
def aws_environment(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Every variable of AWS set so that boto3, here and in subprocesses, meets the moto server only."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    the_session.cache_clear()  # it would keep the credentials of the test before
    environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": moto_server}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def _isolated(environment: dict[str, str]) -> dict[str, str]:
    """An environment without whatever credentials and endpoints this machine has."""
    return {**{k: v for k, v in environment.items() if not k.startswith("AWS_")}, **ENVIRONMENT}


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not _answers(url):
        assert server.poll() is None, "the moto server ended; its log lies in the session's temporary folder"
        assert time.monotonic() < deadline, "the moto server does not answer"
        time.sleep(0.01)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=60):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
