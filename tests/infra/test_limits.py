"""What IAM takes: a policy that is too long fails the whole stack, and moto counts nothing."""

import json

import pytest

from tests.infra.deployment import Deployed

OF_A_MANAGED_POLICY = 6144
OF_A_ROLES_OWN = 10240
OF_A_TRUST = 2048
"""Characters without blanks ("IAM and AWS STS quotas" of the IAM user guide)."""
LONGEST = {"SiteName": "n" * 40, "Prefix": "p" * 60}
"""Parameters that policies repeat; the stack's name is 29 at most."""


@pytest.fixture(scope="module")
def longest(whole: Deployed) -> Deployed:
    """The stack with the longest names that it can have."""
    return Deployed(whole.aws, whole.stack, {**whole.parameters, **LONGEST})


def length(document: object) -> int:
    return len("".join(json.dumps(document, separators=(",", ":")).split()))


def longer_by_names(deployed: Deployed, document: object) -> int:
    """What a document would have more, were stack and region named as long as they can be."""
    text = json.dumps(document)
    return text.count(deployed.stack) * (29 - len(deployed.stack)) + text.count("us-east-1") * 5


def test_gateways_policy_is_not_too_long_for_a_managed_one(longest: Deployed) -> None:
    [(_, policy)] = longest.of_type("AWS::IAM::ManagedPolicy")
    document = policy["PolicyDocument"]
    assert length(document) + longer_by_names(longest, document) <= OF_A_MANAGED_POLICY


def test_roles_policies_are_not_too_long(longest: Deployed) -> None:
    for name, role in longest.of_type("AWS::IAM::Role"):
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        total = sum(length(each) + longer_by_names(longest, each) for each in documents)
        assert total <= OF_A_ROLES_OWN, name
        assert length(role["AssumeRolePolicyDocument"]) <= OF_A_TRUST
