"""News of Batch's jobs through EventBridge and SQS: late, twice, foreign, unreadable, and nobody there."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from gateway.adapters.aws import sqs_news
from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.aws.sqs_news import NotUnderstood, SqsNews, news_in
from gateway.adapters.queue import (
    JobNews,
    JobTicket,
    RunBlocked,
    RunEnded,
    RunQueued,
    RunStarted,
    RunStarting,
)
from gateway.events import Bus
from gateway.running import hearing
from gateway.running.hearing import Hearing
from gateway.workers.attempts import Backoff
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.doubles.batch_faults import EXPIRED, Fault, Faults, Harm, Refusal
from tests.doubles.batch_server import Server
from tests.doubles.news_queue import NewsQueue

KEY = "5f" * 32
SETTINGS = BatchSettings(LaneSettings(MAIN_QUEUE, DEFINITION), None, site="demo")
EXIT = (sys.executable, "-c", "import sys; sys.exit(0)")


@pytest.fixture
def listen(
    aws_session: AwsSession, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[SqsNews, list[JobNews]]]]:
    """Begin to listen at a queue; what comes is in the list."""
    monkeypatch.setattr(sqs_news, "LONG_POLL_S", 1)
    monkeypatch.setattr(hearing, "AFTER_TROUBLE", Backoff(0.05, 2.0))
    listening: list[Hearing] = []

    def listen(
        url: str, take: Callable[[JobNews], None] = lambda news: None
    ) -> tuple[SqsNews, list[JobNews]]:
        source, heard = SqsNews(aws_session, url), []

        def on_news(news: JobNews) -> None:
            take(news)
            heard.append(news)

        listening.append(Hearing(Bus(), source, on_news))
        listening[-1].start()
        return source, heard

    yield listen
    for each in listening:
        each.stop(timeout_s=0.1)


@pytest.fixture
def run_job(aws_session: AwsSession, batch_double: BatchDouble) -> Callable[[], str]:
    """Run a job to its good end."""
    batch_double.set_definition(command=EXIT)
    queue = BatchQueue(aws_session, SETTINGS)

    def run() -> str:
        job_id = queue.submit(JobTicket(KEY, 1, "s3://bucket/jobs/KEY/", 0))
        batch_double.wait_for(job_id, "SUCCEEDED")
        return job_id

    return run


def envelope(detail: dict[str, Any], **fields: Any) -> str:
    event = {
        "version": "0",
        "id": "c8f9c4b5-76e5-d76a-f980-7011e206042b",
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": "123456789012",
        "time": "2026-01-11T23:36:40Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    }
    return json.dumps({**event, **fields})


def detail(**fields: Any) -> dict[str, Any]:
    container = {"environment": [{"name": "IRIS_RUN", "value": "1"}]}
    found = {"jobId": "id-1", "jobName": KEY, "status": "RUNNABLE", "attempts": [], "container": container}
    return {**found, **fields}


def test_path_of_a_job_is_heard_in_order_and_nothing_stays_in_the_queue(
    listen: Callable[..., Any],
    run_job: Callable[[], str],
    news_queue: NewsQueue,
    eventually: Callable[..., None],
) -> None:
    source, heard = listen(news_queue.url)
    job_id = run_job()
    eventually(lambda: len(heard) == 4)
    assert [type(news) for news in heard] == [RunQueued, RunStarting, RunStarted, RunEnded]
    assert {news.queue_id for news in heard} == {job_id}
    eventually(lambda: news_queue.count() == 0)
    assert (source.messages, source.poison, source.trouble, source.dead_letters) == (4, 0, "", 0)


def test_end_of_a_job_is_heard_within_a_second(
    batch_double: BatchDouble,
    listen: Callable[..., Any],
    run_job: Callable[[], str],
    news_queue: NewsQueue,
    eventually: Callable[..., None],
) -> None:
    at: list[float] = []
    listen(news_queue.url, lambda news: at.append(time.time()))
    job_id = run_job()
    eventually(lambda: len(at) == 4)
    assert at[-1] - batch_double.job(job_id).stopped_at / 1000 < 1.0


def test_two_gateways_with_queues_of_their_own_hear_the_same(
    listen: Callable[..., Any],
    run_job: Callable[[], str],
    make_news_queue: Callable[..., NewsQueue],
    eventually: Callable[..., None],
) -> None:
    _, first = listen(make_news_queue().url)
    _, second = listen(make_news_queue().url)
    run_job()
    eventually(lambda: len(first) == 4 and len(second) == 4)
    assert first == second


def test_repeated_and_reordered_events_arrive_as_such_and_their_order_can_be_told(
    batch_double: BatchDouble,
    listen: Callable[..., Any],
    run_job: Callable[[], str],
    news_queue: NewsQueue,
    eventually: Callable[..., None],
) -> None:
    batch_double.events.repeat(2)
    batch_double.events.reorder(4)
    _, heard = listen(news_queue.url)
    run_job()
    eventually(lambda: len(heard) == 8)
    ranks = [(news.run, news.attempt, news.rank) for news in heard]
    assert ranks == sorted(ranks, reverse=True)
    assert isinstance(max(heard, key=lambda news: (news.run, news.attempt, news.rank)), RunEnded)


def test_blocked_queue_is_heard(
    batch_double: BatchDouble,
    aws_session: AwsSession,
    listen: Callable[..., Any],
    news_queue: NewsQueue,
    eventually: Callable[..., None],
) -> None:
    _, heard = listen(news_queue.url)
    batch_double.hold_capacity()
    job_id = BatchQueue(aws_session, SETTINGS).submit(JobTicket(KEY, 1, "s3://bucket/jobs/KEY/", 0))
    batch_double.wait_for(job_id, "RUNNABLE")
    batch_double.block_queue(job_id, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too large")
    eventually(lambda: len(heard) == 2)
    assert isinstance(heard[1], RunBlocked)
    assert heard[1].code == "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


@pytest.mark.parametrize(
    "body",
    [
        envelope({"instance-id": "i-1"}, source="aws.ec2"),
        envelope(detail(), **{"detail-type": "Batch Something New"}),
        envelope(detail(container={"environment": []})),
        envelope(detail(status="SOMETHING_NEW")),
    ],
    ids=["another service", "another event", "another's job", "another state"],
)
def test_foreign_message_is_deleted_and_tells_nothing(
    listen: Callable[..., Any], news_queue: NewsQueue, eventually: Callable[..., None], body: str
) -> None:
    source, heard = listen(news_queue.url)
    news_queue.send(body)
    eventually(lambda: source.messages == 1 and news_queue.count() == 0)
    assert (heard, source.poison, source.trouble) == ([], 0, "")


def test_poison_ends_in_the_dead_letter_queue_and_holds_nothing_up(
    listen: Callable[..., Any],
    make_news_queue: Callable[..., NewsQueue],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqs_news, "LOOK_AT_DEAD_LETTERS_S", 0.2)
    news_queue = make_news_queue(visibility_s=1, receives=2)
    for body in ("not json", "{}", "[1]", envelope({"status": "RUNNABLE"}), envelope(detail(attempts=7))):
        news_queue.send(body)
    news_queue.send(envelope(detail()))
    source, heard = listen(news_queue.url)
    eventually(lambda: len(heard) == 1)
    eventually(lambda: news_queue.count(dead=True) == 5 and news_queue.count() == 0)
    assert source.poison == 5
    assert source.messages == 11
    eventually(lambda: source.dead_letters == 5)
    assert source.trouble == ""


def test_news_that_cannot_be_taken_in_come_again(
    listen: Callable[..., Any],
    make_news_queue: Callable[..., NewsQueue],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = [OSError("disk full")]

    def take(news: JobNews) -> None:
        if failures:
            raise failures.pop()

    news_queue = make_news_queue(visibility_s=1)
    source, heard = listen(news_queue.url, take)
    news_queue.send(envelope(detail()))
    eventually(lambda: source.trouble != "")
    assert "disk full" not in source.trouble
    assert heard == []
    eventually(lambda: len(heard) == 1 and news_queue.count() == 0)
    eventually(lambda: source.trouble == "", 40)


def test_stop_does_not_wait_for_a_long_poll(
    aws_session: AwsSession, news_queue: NewsQueue, eventually: Callable[..., None]
) -> None:
    heard: list[JobNews] = []
    worker = Hearing(Bus(), SqsNews(aws_session, news_queue.url), heard.append)
    worker.start()
    news_queue.send(envelope(detail()))
    eventually(lambda: len(heard) == 1)
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 15  # a poll takes 20 s
    news_queue.send(envelope(detail()))
    eventually(lambda: len(news_queue.receive()) == 1)  # the poll that was under way has handed it back
    assert len(heard) == 1


def test_queue_without_dead_letter_queue_is_no_trouble(
    listen: Callable[..., Any], aws_environment: dict[str, str], eventually: Callable[..., None]
) -> None:
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="iris-plain")["QueueUrl"]
    source, heard = listen(url)
    client.send_message(QueueUrl=url, MessageBody=envelope(detail()))
    eventually(lambda: len(heard) == 1)
    assert (source.dead_letters, source.trouble) == (None, "")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            Refusal("AccessDeniedException", 403),
            "AWS denies sqs:ReceiveMessage on the news queue iris-news; allow it",
        ),
        (EXPIRED, "the AWS credentials have expired (sqs:ReceiveMessage)"),
        (
            Refusal("com.amazonaws.sqs#QueueDoesNotExist", 400),
            "AWS does not find the news queue iris-news (sqs:ReceiveMessage)",
        ),
    ],
    ids=["denied", "expired", "no queue"],
)
def test_trouble_is_a_sentence_and_is_waited_out(
    listen: Callable[..., Any],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    refusal: Refusal,
    words: str,
) -> None:
    answers = [{"Messages": [{"MessageId": "1", "ReceiptHandle": "r", "Body": envelope(detail())}]}]
    faults = Faults()
    faults.add(Fault("ReceiveMessage", Harm.REFUSED, refusal, 3))
    server = Server(
        {
            "ReceiveMessage": lambda request: answers.pop() if answers else {},
            "DeleteMessageBatch": lambda request: {"Successful": [{"Id": "0"}], "Failed": []},
            "GetQueueAttributes": lambda request: {"Attributes": {}},
        },
        faults,
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.url)
    try:
        source, heard = listen(f"{server.url}/123456789012/iris-news")
        eventually(lambda: source.trouble != "")
        assert words in source.trouble
        eventually(lambda: len(heard) == 1 and source.trouble == "")
    finally:
        server.close()


def test_queue_that_is_not_there_is_named(
    listen: Callable[..., Any], moto_server: str, eventually: Callable[..., None]
) -> None:
    source, _ = listen(f"{moto_server}/123456789012/never-made")
    eventually(lambda: source.trouble != "")
    assert "AWS does not find the news queue never-made (sqs:ReceiveMessage)" in source.trouble


def test_nobody_at_the_address_is_a_trouble_too(
    aws_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    listen: Callable[..., Any],
    eventually: Callable[..., None],
) -> None:
    from gateway.demo.loopback import free_port

    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{free_port()}")
    source, _ = listen("http://127.0.0.1/123456789012/iris-news")
    eventually(lambda: source.trouble != "")
    assert "AWS does not answer sqs:ReceiveMessage for the news queue iris-news" in source.trouble


@pytest.mark.parametrize("body", ["", "null", "{}", '{"source": "aws.batch"}', envelope({"jobId": "x"})])
def test_what_is_no_event_is_not_understood(body: str) -> None:
    with pytest.raises(NotUnderstood):
        news_in(body)
