"""An SQS queue with a dead-letter queue in the moto server, and the EventBridge rule that fills it."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import boto3

from .batch_jobs import ACCOUNT, REGION


@dataclass
class NewsQueue:
    """One gateway's queue of news; closing it removes the rule, so that nothing more comes."""

    client: Any
    events: Any
    name: str
    url: str
    dead_letter_url: str

    @classmethod
    def make(cls, moto_url: str, *, visibility_s: int = 30, receives: int = 5) -> "NewsQueue":
        """Make the queue; after so many receives a message goes to the dead-letter queue."""
        settings = {
            "endpoint_url": moto_url,
            "region_name": REGION,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }
        client, events = boto3.client("sqs", **settings), boto3.client("events", **settings)
        name = f"iris-news-{uuid.uuid4().hex[:12]}"
        dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": _arn(f"{name}-dead"), "maxReceiveCount": receives}
        url = client.create_queue(
            QueueName=name,
            Attributes={"VisibilityTimeout": str(visibility_s), "RedrivePolicy": json.dumps(redrive)},
        )["QueueUrl"]
        events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.batch"]}), State="ENABLED")
        events.put_targets(Rule=name, Targets=[{"Id": "news", "Arn": _arn(name)}])
        return cls(client, events, name, url, dead)

    def send(self, body: str) -> None:
        """Put a message there by hand."""
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def count(self, *, dead: bool = False) -> int:
        """How many messages are there, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(
            QueueUrl=self.dead_letter_url if dead else self.url, AttributeNames=names
        )["Attributes"]
        return sum(int(found[name]) for name in names)

    def receive(self) -> list[dict[str, Any]]:
        """Take all messages out, as parsed JSON."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            if not answer.get("Messages"):
                return found
            for message in answer["Messages"]:
                found.append(json.loads(message["Body"]))
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def close(self) -> None:
        """Remove the rule."""
        self.events.remove_targets(Rule=self.name, Ids=["news"])
        self.events.delete_rule(Name=self.name)


def _arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
