"""One deployment of each kind for all tests of a module: the stack, whole; and beside the present one."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.deployment import Aws, Deployed, fresh

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(scope="module")
def empty_aws(moto_server: str) -> Iterator[Aws]:
    """A moto server with nothing in it."""
    fresh(moto_server)
    yield Aws(moto_server)
    fresh(moto_server)


@pytest.fixture(scope="module")
def whole(empty_aws: Aws) -> Deployed:
    """The template in mode whole, under the name that it has there."""
    return empty_aws.deploy("iris-oculus-backend")


def push_image(aws: Aws, repository: str, tag: str) -> str:
    """Let an image be in a repository; its digest."""
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}
    manifest["config"] = {"digest": uuid.uuid4().hex}
    pushed = aws.client("ecr").put_image(
        repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag
    )
    return str(pushed["image"]["imageId"]["imageDigest"])
