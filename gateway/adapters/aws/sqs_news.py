"""News of Batch's jobs: EventBridge puts its events into an SQS queue of ours, and a thread takes them out.

A message is deleted once its news was taken in, or where it is of nobody's interest here. One that cannot be
read is left: SQS shows it again after its visibility timeout and, as its redrive policy says, then moves it
to the dead-letter queue, where an operator finds it. Lost events are no harm: runs are also asked after.
"""

import threading
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
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
STOP_TIMEOUT_S: Final = 1.0
"""How long `stop` waits for a poll that is under way; it ends by itself, and hands back what it then gets."""
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


class SqsNews:
    """A thread that waits at an SQS queue.

    Parameters
    ----------
    queue_url
        The queue of this gateway alone; a rule of EventBridge puts all of Batch's events there.
    """

    def __init__(self, session: AwsSession, queue_url: str) -> None:
        self._sqs = session.sqs()
        self._url = queue_url
        self._name = queue_url.rpartition("/")[2]
        self._on_news: Callable[[JobNews], None] = lambda news: None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sqs-news", daemon=True)
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

    def start(self, on_news: Callable[[JobNews], None]) -> None:
        """Begin to wait for messages."""
        self._on_news = on_news
        self._thread.start()

    def stop(self) -> None:
        """Take no more; what is being taken in is finished."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    # -- the thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            trouble = self._poll()
            if self._stopping.is_set():
                return
            self._say(trouble)
            if not trouble:
                pause_s = FIRST_PAUSE_S
                continue
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _poll(self) -> str:
        """Wait for messages once and take them in; what is in the way."""
        try:
            self._count_dead_letters()
            return "" if self._take(self._receive()) else "news of jobs cannot be taken in; the log says why"
        except OutsideError as error:
            return str(error)
        except Exception:
            log.exception("news_queue_failed")
            return "the news queue could not be read because of a defect; the log names the place"

    def _receive(self) -> Sequence["MessageTypeDef"]:
        with asking("sqs:ReceiveMessage", f"the news queue {self._name}"):
            answer = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=MESSAGES_A_CALL, WaitTimeSeconds=LONG_POLL_S
            )
        return answer.get("Messages", [])

    def _take(self, messages: Sequence["MessageTypeDef"]) -> bool:
        """Pass on what is news, in the order in which it came; whether there was no failure."""
        done: list[MessageTypeDef] = []
        has_failed = False
        for message in messages:
            if self._stopping.is_set():
                self._hand_back(message)
                continue
            self.messages += 1
            try:
                news = news_in(message["Body"])
                if news is not None:
                    self._on_news(news)
                done.append(message)
            except NotUnderstood:
                self._note_poison(message)
            except Exception:
                log.exception("news_not_taken_in")
                has_failed = True
        self._delete(done)
        if messages and not done:
            self._stopping.wait(FIRST_PAUSE_S)  # nothing but poison, which may come again at once
        return not has_failed

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

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.log(30 if trouble else 20, "news_queue", trouble=trouble or "none")
        self.trouble = trouble

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
