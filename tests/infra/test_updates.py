"""An update of each parameter: what CloudFormation would refuse, and what moto makes of it."""

from functools import cache
from typing import Any

import pytest

from tests.cloud import REGION
from tests.infra.conftest import WATCHED
from tests.infra.deployment import Aws, Deployed, fresh, transformed

ANOTHER = {
    "SiteName": "east",
    "Prefix": "other",
    "BucketName": "iris-other",
    "Table": "other-table",
    "CpuFallback": "no",
    "PageFiles": "all",
    "LogGroup": "keep",
    "SpotInstanceTypes": "g5.xlarge",
    "OnDemandInstanceTypes": "g5.xlarge",
    "CpuInstanceTypes": "m6i.2xlarge",
    "MaxvCpus": "32",
    "OnDemandMaxvCpus": "8",
    "CpuMaxvCpus": "32",
    "ScaleDownDelayMinutes": "0",
    "WarmVcpus": "8",
    "MachineImage": "ami-0123456789abcdef0",
    "SystemRefresh": "cron(0 4 ? * SUN *)",
    "StuckAfterSeconds": "7200",
    "DiskGiB": "200",
    "Network": "private",
    "VpcCidr": "10.90.0.0/19",
    "Zones": "us-east-1a,us-east-1b,us-east-1c,-,-,-",
    "Repository": "other",
    "ImageTag": "1",
    "ImageDigest": "sha256:" + "0" * 64,
    "EngineVersion": "3",
    "WebClient": "no",
    "WebTable": "iris-oculus-metadata",
    "AllowedAddresses": "192.0.2.0/24",
    "SamlMetadataUrl": "https://idp.example.org/metadata.xml",
    "SignInUrl": "https://users.example.org",
    "SignInPages": "classic",
    "UserGroups": "keep",
    "OtherCallbackUrls": "https://iris.example.org/",
    "OtherUploadOrigins": "https://iris.example.org",
    "InputExpiryDays": "7",
    "ResultExpiryDays": "60",
    "LogExpiryDays": "30",
    "Protected": "no",
    "ObjectAudit": "yes",
    "PermissionsBoundary": "arn:aws:iam::123456789012:policy/boundary",
    "TrustAnchorArn": "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/0",
    "AccessKeyUser": "yes",
}
"""Another value of each parameter that is changed by itself."""
TOGETHER = {
    "watched": WATCHED,
    "directory": {"OidcIssuer": "https://idp.example.org", "OidcClientId": "i", "OidcClientSecret": "s"},
    "warm": {"WarmVcpus": "4", "WarmBegin": "cron(0 6 * * ? *)", "WarmEnd": "cron(0 20 * * ? *)"},
}
"""Those that come together."""
CHANGES = {**{name: {name: value} for name, value in ANOTHER.items()}, **TOGETHER}
STAY = {"Mode": "deploy.sh refuses it", "BucketKeyArn": "of mode plug-in"}
REPLACES_DATA = {"BucketName": {"Bucket", "BucketPolicy"}}
"""What the stack policy refuses, as it should; what is only taken out of the stack stays by its policy."""
KEPT = frozenset({"Bucket", "BucketPolicy", "Images", "JobLogs", "Key", "StudiesTable", "UserPool"})
NOT_ITS_OWN = frozenset({"FunctionName", "ServiceName", "LogGroupName", "GroupName", "StageName"})
"""Properties that name another resource, in types that have no name of their own."""
NOT_IN_MOTO = frozenset({"PermissionsBoundary", "SiteName", "VpcCidr"})
"""moto's IAM loses an instance profile or a role that such an update touches."""


class Imagined(Deployed):
    """The template with parameters, not deployed: resources are called as in the template."""

    @property
    def ids(self) -> dict[str, str]:  # type: ignore[override]  # nothing is asked of AWS
        return {name: name for name in self.wanted}


def imagined(**parameters: str) -> Imagined:
    defaults = {name: str(of["Default"]) for name, of in transformed()["Parameters"].items()}
    return Imagined(None, "iris-oculus-backend", defaults | parameters)  # type: ignore[arg-type]


@cache
def schema_of(kind: str) -> dict[str, Any]:
    """CloudFormation's own, as its linter brings it."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # seconds to load

    found: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return found


def top_level(schema: dict[str, Any], key: str) -> set[str]:
    """Properties of which the schema says something as a whole, not of a part of theirs."""
    paths = [path.removeprefix("/properties/") for path in schema.get(key, [])]
    return {path for path in paths if "/" not in path}


def replaced_by(parameters: dict[str, str]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What an update to these would replace: properties before and after."""
    before, after = imagined(), imagined(**parameters)
    found = {}
    for name in set(before.wanted) & set(after.wanted):
        kind = before.wanted[name]["Type"]
        old, new = (each.resolved(each.wanted[name]["Properties"]) for each in (before, after))
        if any(old.get(key) != new.get(key) for key in top_level(schema_of(kind), "createOnlyProperties")):
            found[name] = old, new
    return found


def test_every_parameter_is_tried() -> None:
    tried = {name for parameters in CHANGES.values() for name in parameters}
    assert tried | set(STAY) == set(transformed()["Parameters"])


@pytest.mark.parametrize("name", CHANGES)
def test_update_replaces_nothing_under_the_name_that_it_has(name: str) -> None:
    """CloudFormation refuses that: what is named by hand would be there twice for a moment."""
    for resource, (old, new) in replaced_by(CHANGES[name]).items():
        names = {key for key in old if key in ("Name", "Domain") or key.endswith("Name")} - NOT_ITS_OWN
        assert not names or any(old[key] != new.get(key) for key in names), resource
        if resource in KEPT:
            assert resource in REPLACES_DATA.get(name, set()), resource


@pytest.mark.long
@pytest.mark.parametrize("name", [each for each in CHANGES if each not in NOT_IN_MOTO])
def test_moto_updates_the_stack_by_each_parameter(empty_aws: Aws, moto_server: str, name: str) -> None:
    fresh(moto_server)
    found = empty_aws.deploy("iris-oculus-backend").updated(**CHANGES[name])
    assert found.described["StackStatus"] == "UPDATE_COMPLETE"
