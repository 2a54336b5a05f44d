"""What a CloudFormation stack says of itself: its outputs."""

from collections.abc import Mapping
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from gateway.adapters.errors import Permanent

from .refusals import code_of, refusal
from .session import AwsSession

SETTLED: Final = frozenset(
    {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}
)
"""The states in which a stack's outputs are those of what is there."""
_NO_SUCH_STACK: Final = "ValidationError"


def stack_outputs(session: AwsSession, stack: str) -> Mapping[str, str]:
    """The outputs of a stack, by their keys.

    Raises
    ------
    Away
        AWS does not answer, or does not let us ask.
    Permanent
        There is no such stack, or it is not settled.
    ValueError
        The session's region can be none.
    """
    client = session.cloudformation()
    try:
        found = client.describe_stacks(StackName=stack)["Stacks"]
    except (ClientError, BotoCoreError) as error:
        if code_of(error) != _NO_SUCH_STACK:
            raise refusal(error, "cloudformation:DescribeStacks", f"the stack {stack}") from None
        found = []
    if not found:
        raise Permanent(
            f"there is no stack {stack} in {session.region}; `aws cloudformation list-stacks --region"
            f" {session.region}` lists those that there are, and infra/README.md says how to make one"
        )
    status = found[0]["StackStatus"]
    if status not in SETTLED:
        raise Permanent(
            f"the stack {stack} is at {status}; wait until that is over, or see to it (`aws cloudformation"
            f" describe-stack-events --stack-name {stack}`)"
        )
    return {each["OutputKey"]: each["OutputValue"] for each in found[0].get("Outputs", [])}
