"""News of Batch's jobs: EventBridge puts its events into an SQS queue of ours, out of which they are taken.

A message is deleted once its news was taken in, or where it is of nobody's interest here. One that cannot be
read is left: SQS shows it again after its visibility timeout and, as its redrive policy says, then moves it
to the dead-letter queue, where an operator finds it. Lost events are no harm: runs are also asked after.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.adapters.errors import OutsideError
from gateway.adapters.queue import JobNews

from .batch_jobs import NotAJob, news_of
from .refusals import asking
from .session import LONG_POLL_S, AwsSession

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef, MessageTypeDef

log = structlog.get_logger(__name__)

MESSAGES_A_CALL: Final = 10
LOOK_AT_DEAD_LETTERS_S: Final = 60.0
POISON_REMEMBERED: Final = 1000

_SOURCE: Final = "aws.batch"
_STATE_CHANGE: Final = "Batch Job State Change"
_QUEUE_BLOCKED: Final = "Batch Job Queue Blocked"


class _Envelope(BaseModel):
    """An event as EventBridge sends it; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    detail_type: str = Field(alias="detail-type")
    detail: dict[str, Any]


class NotUnderstood(ValueError):
    """A message that is no event, or an event of Batch without what every job has."""


def news_in(body: str) -> JobNews | None:
    """What an SQS message says, as news.

    Returns
    -------
    JobNews or None
        None: an event of something else, or of another's job.

    Raises
    ------
    NotUnderstood
    """
    try:
        event = _Envelope.model_validate_json(body)
        if event.source != _SOURCE or event.detail_type not in (_STATE_CHANGE, _QUEUE_BLOCKED):
            return None
        return news_of(event.detail, blocked=event.detail_type == _QUEUE_BLOCKED)
    except (ValidationError, NotAJob):
        raise NotUnderstood("a message of the news queue is no event that we can read") from None


class _NotTakenIn(Exception):
    """The ledger did not take in some of the news; they come again."""


class SqsNews:
    """An SQS queue with news (`gateway.running.hearing.NewsSource`).

    Parameters
    ----------
    queue_url
        The queue of this gateway alone; a rule of EventBridge puts all of Batch's events there.
    """

    def __init__(self, session: AwsSession, queue_url: str) -> None:
        self._sqs = session.sqs()
        self._url = queue_url
        self._name = queue_url.rpartition("/")[2]
        self._poisonous: OrderedDict[str, None] = OrderedDict()
        self._dead_letter_url = ""
        self._look_at_dead_letters_at = 0.0
        self.trouble = ""
        """Why no news come, in one sentence; empty while all is well."""
        self.messages = 0
        """How many messages were taken out of the queue, read or not."""
        self.poison = 0
        """How many messages could not be read; one that is shown again is not counted again."""
        self.dead_letters: int | None = None
        """How many messages lie in the dead-letter queue; None: not known, or there is no such queue."""

    def look(self, hear: Callable[[JobNews], None], is_stopping: Callable[[], bool]) -> bool:
        """Wait for messages once and take them in; whether more may be had at once."""
        try:
            self._count_dead_letters()
            goes_on = self._take(self._receive(), hear, is_stopping)
            self.trouble = ""
        except _NotTakenIn:
            goes_on, self.trouble = False, "news of jobs cannot be taken in; the log says why"
        except OutsideError as error:
            goes_on, self.trouble = False, str(error)
        return goes_on

    def _receive(self) -> Sequence["MessageTypeDef"]:
        with asking("sqs:ReceiveMessage", f"the news queue {self._name}"):
            answer = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=MESSAGES_A_CALL, WaitTimeSeconds=LONG_POLL_S
            )
        return answer.get("Messages", [])

    def _take(
        self,
        messages: Sequence["MessageTypeDef"],
        hear: Callable[[JobNews], None],
        is_stopping: Callable[[], bool],
    ) -> bool:
        """Pass on what is news, in its order; False where all was poison, which may come again at once."""
        done: list[MessageTypeDef] = []
        has_failed = False
        for message in messages:
            if is_stopping():
                self._hand_back(message)
                continue
            self.messages += 1
            try:
                news = news_in(message["Body"])
                if news is not None:
                    hear(news)
                done.append(message)
            except NotUnderstood:
                self._note_poison(message)
            except Exception:
                log.exception("news_not_taken_in")
                has_failed = True
        self._delete(done)
        if has_failed:
            raise _NotTakenIn
        return bool(done) or not messages

    def _delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        """Delete what was taken in; what stays nevertheless comes again, which changes nothing."""
        if not messages:
            return
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
            for number, each in enumerate(messages)
        ]
        with asking("sqs:DeleteMessage", f"the news queue {self._name}"):
            answer = self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
        if answer.get("Failed"):
            log.warning("messages_not_deleted", count=len(answer["Failed"]))

    def _hand_back(self, message: "MessageTypeDef") -> None:
        """Let the next process see at once what came while this one was stopping."""
        with asking("sqs:ChangeMessageVisibility", f"the news queue {self._name}"):
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def _note_poison(self, message: "MessageTypeDef") -> None:
        message_id = message.get("MessageId", "")
        if message_id in self._poisonous:
            return
        self._poisonous[message_id] = None
        if len(self._poisonous) > POISON_REMEMBERED:
            self._poisonous.popitem(last=False)
        self.poison += 1
        log.warning("message_not_understood", message_id=message_id)

    # -- dead letters -------------------------------------------------------------------------------------

    def _count_dead_letters(self) -> None:
        """Look how many there are, not more often than once a minute; not to be let look is no trouble."""
        if time.monotonic() < self._look_at_dead_letters_at:
            return
        self._look_at_dead_letters_at = time.monotonic() + LOOK_AT_DEAD_LETTERS_S
        try:
            with asking("sqs:GetQueueAttributes", f"the news queue {self._name}"):
                self._dead_letter_url = self._dead_letter_url or dead_letter_url(self._sqs, self._url)
                if self._dead_letter_url:
                    self.dead_letters = _depth(self._sqs, self._dead_letter_url)
        except (OutsideError, ValidationError) as error:
            self.dead_letters = None
            log.info("dead_letters_not_counted", reason=str(error) if isinstance(error, OutsideError) else "")


def dead_letter_url(sqs: Any, queue_url: str) -> str:
    """Where the redrive policy of a queue moves what is not taken in; empty: it has none.

    Raises
    ------
    ClientError, BotoCoreError
    """
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["RedrivePolicy"])
    policy = attributes.get("Attributes", {}).get("RedrivePolicy", "")
    if not policy:
        return ""
    arn = _Redrive.model_validate_json(policy).target.split(":")
    return str(sqs.get_queue_url(QueueName=arn[5], QueueOwnerAWSAccountId=arn[4])["QueueUrl"])


class _Redrive(BaseModel):
    """A queue's RedrivePolicy."""

    target: str = Field(alias="deadLetterTargetArn", pattern=r"^arn:[^:]+:sqs:[^:]+:[^:]+:[^:]+$")


def _depth(sqs: Any, queue_url: str) -> int:
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])["Attributes"][name])
