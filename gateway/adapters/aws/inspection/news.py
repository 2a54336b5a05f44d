"""The SQS queue that brings news of jobs."""

import json
from collections.abc import Iterator
from typing import Final

from gateway.adapters.aws.refusals import asking
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.checks import Check, Verdict

VISIBLE_AGAIN_S: Final = (30, 900)
"""Shorter, and a message comes twice while it is read; longer, and what a killed gateway held comes late."""
NEWS: Final = "news queue"


def news(session: AwsSession, queue_url: str) -> Iterator[Check]:
    """Whether the queue is there, may be read, and puts aside what cannot be.

    Raises
    ------
    Away, Permanent
    """
    name = queue_url.rpartition("/")[2]
    resource, client = f"the SQS queue {name}", session.sqs()
    with asking("sqs:GetQueueAttributes", resource):
        attributes = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    with asking("sqs:ReceiveMessage", resource):  # what it gets is visible again at once
        client.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=1, VisibilityTimeout=0, WaitTimeSeconds=0
        )
    yield Check(NEWS, Verdict.OK, f"{name} is there and may be read")
    yield _dead_letters(queue_url, attributes.get("RedrivePolicy", ""))
    yield _visibility(queue_url, int(attributes.get("VisibilityTimeout", 30)))


def _dead_letters(queue_url: str, policy: str) -> Check:
    try:
        target = str(json.loads(policy)["deadLetterTargetArn"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        finding = "it has no dead-letter queue: what cannot be read comes again until it is too old"
        command = (
            f"aws sqs set-queue-attributes --queue-url {_without_account(queue_url)}"
            ' --attributes \'{"RedrivePolicy": "{\\"deadLetterTargetArn\\": \\"ARN\\",'
            ' \\"maxReceiveCount\\": \\"5\\"}"}\''
        )
        return Check("news dead letters", Verdict.WARNING, finding, command)
    return Check("news dead letters", Verdict.OK, f"go to {target}")


def _visibility(queue_url: str, timeout_s: int) -> Check:
    shortest, longest = VISIBLE_AGAIN_S
    finding = f"a message that was not finished comes again after {timeout_s} s"
    if shortest <= timeout_s <= longest:
        return Check("news visibility", Verdict.OK, finding)
    command = (
        f"aws sqs set-queue-attributes --queue-url {_without_account(queue_url)}"
        " --attributes VisibilityTimeout=120"
    )
    return Check("news visibility", Verdict.WARNING, finding, command)


def _without_account(queue_url: str) -> str:
    """The queue's URL as a shell finds it by its name."""
    return f"$(aws sqs get-queue-url --queue-name {queue_url.rpartition('/')[2]} --output text)"
