"""One deployment of each kind for all tests of a module: the stack, whole; and beside the present one."""

import json
from collections.abc import Iterator

import pytest

from tests.conftest import program_of
from tests.infra.deployment import Aws, Deployed, fresh
from tests.infra.ministack import Ministack

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

WATCHED = {
    "AlarmEmail": "radiology@example.org",
    "MonthlyBudgetUsd": "200",
    "WorkingHoursBegin": "cron(0 7 ? * MON-FRI *)",
    "WorkingHoursEnd": "cron(0 19 ? * MON-FRI *)",
    "TimeZone": "Europe/Madrid",
}
"""Parameters with everything that watches a stack."""


@pytest.fixture(scope="module")
def empty_aws(moto_server: str) -> Iterator[Aws]:
    """A moto server with nothing in it."""
    fresh(moto_server)
    yield Aws(moto_server)
    fresh(moto_server)


@pytest.fixture(scope="module")
def whole(empty_aws: Aws) -> Deployed:
    """The template in mode whole, under the name that it has there, with a user for the gateway."""
    return empty_aws.deploy("iris-oculus-backend", AccessKeyUser="yes")


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    """What moto does not make of the template: the web client, running, with a viewer, an admin and somebody
    in no group; alarms, budget and working hours.
    """
    ministack = Ministack(str(program_of("ministack")), tmp_path_factory.mktemp("ministack"))
    try:
        ministack.deploy(**WATCHED)
        ministack.add_user("vera", "viewer")
        ministack.add_user("ada", "admin")
        ministack.add_user("nobody")
        yield ministack
    finally:
        ministack.stop()


def push_image(aws: Aws, repository: str, tag: str) -> str:
    """Let an image be in a repository; its digest, which is always the same."""
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": {"digest": "0"}}
    )
    pushed = aws.client("ecr").put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag)
    return str(pushed["image"]["imageId"]["imageDigest"])
