"""The deployed roles beside the calls that their actors made: a sentence for each difference."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.doubles.batch import BatchDouble
from tests.infra.access import Grant, Request, Sealed, Statement, asked_of_iam, is_allowed, used_by
from tests.infra.deployment import Deployed
from tests.infra.recorded_calls import Call

LAMBDAS_OWN: Final = "Lambda itself does it in the function's name"

UNRECORDED: Final[Mapping[str, Mapping[tuple[str, str], str]]] = {
    "GatewayPolicy": {},
    "JobRole": {},
    "StatusRole": {
        ("Log", "logs:CreateLogStream"): LAMBDAS_OWN,
        ("Log", "logs:PutLogEvents"): LAMBDAS_OWN,
    },
    "JobNewsRole": {
        ("Log", "logs:CreateLogStream"): LAMBDAS_OWN,
        ("Log", "logs:PutLogEvents"): LAMBDAS_OWN,
        ("DeadLetters", "sqs:SendMessage"): LAMBDAS_OWN,
        ("SealedDeadLetters", "kms:GenerateDataKey"): LAMBDAS_OWN,
        ("SealedDeadLetters", "kms:Decrypt"): LAMBDAS_OWN,
    },
}
"""By actor and statement: what no test can make, with the reason."""


@dataclass(frozen=True)
class Stack:
    """The template as deployed, with the Batch double that has its queues."""

    deployed: Deployed
    double: BatchDouble

    @property
    def bucket(self) -> str:
        return self.deployed.outputs["Bucket"]

    def client(self, service: str) -> Any:
        return self.deployed.aws.client(service)

    def statements(self, actor: str) -> list[Statement]:
        of = self.deployed.resolved(self.deployed.wanted[actor]["Properties"])
        documents = [of] if "PolicyDocument" in of else of["Policies"]
        return [statement for each in documents for statement in each["PolicyDocument"]["Statement"]]

    def asked(self, calls: Iterable[Call]) -> dict[Request, Call]:
        """What IAM is asked for these calls, each with one of them."""
        news = dict(self.deployed.of_type("AWS::SQS::Queue"))["News"]
        sealed = Sealed(self.deployed.outputs["BucketKey"], news["KmsMasterKeyId"])
        tags = {job.job_id: job.tags for job in self.double.jobs()}
        return {
            request: call
            for call in calls
            for request in asked_of_iam(call, sealed, tags.get(call.parameters.get("jobId", ""), {}))
        }


def differences(actor: str, statements: list[Statement], asked: Mapping[Request, Call]) -> list[str]:
    """What the role lacks, and what it need not have; a sentence each."""
    missing = [
        f"{actor} does not allow {request.action} on {request.resource}, which {call.service}"
        f" {call.operation} needs (with {dict(request.context) or 'nothing that conditions ask for'})"
        for request, call in asked.items()
        if not is_allowed(statements, request)
    ]
    used = {grant for request in asked for grant in used_by(statements, request)}
    excepted = UNRECORDED[actor]
    unused = [
        f"{actor} allows {grant.action} on {grant.resource} ({grant.sid}), which no recorded call needs"
        for grant in Grant.all_of(statements)
        if grant not in used and (grant.sid, grant.action) not in excepted
    ]
    stale = [
        f"UNRECORDED says that no test makes {action} ({sid}) of {actor}, and one does, or it is not allowed"
        for sid, action in excepted
        if (sid, action) not in {(grant.sid, grant.action) for grant in set(Grant.all_of(statements)) - used}
    ]
    return sorted({*missing, *unused, *stale})
