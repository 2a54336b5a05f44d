"""The doubles as fixtures: a pytest plugin, named in tests/conftest.py."""

import time
from collections.abc import Callable, Iterator

import pytest

from gateway.adapters.aws.session import AwsSession

from .batch import BatchDouble
from .batch_jobs import REGION
from .news_queue import NewsQueue


@pytest.fixture
def batch_double(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchDouble]:
    """Batch beside the moto server, whose EventBridge gets its events; boto3 finds it by the environment."""
    double = BatchDouble(aws_environment["AWS_ENDPOINT_URL"])
    for name, value in double.variables().items():
        monkeypatch.setenv(name, value)
    yield double
    double.close()


@pytest.fixture(scope="session")
def _one_session() -> AwsSession:
    """Reading the service models takes a while, and is remembered by a session."""
    return AwsSession(REGION)


@pytest.fixture
def aws_session(batch_double: BatchDouble, _one_session: AwsSession) -> AwsSession:
    """The gateway's own session, whose clients meet the double and moto."""
    return _one_session


@pytest.fixture
def quick_sessions(_one_session: AwsSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is configured use that session: its clients are made at once."""
    monkeypatch.setattr("gateway.backends.aws.the_session", lambda *_: _one_session)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something holds; fail at the deadline."""

    def wait(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)

    return wait


@pytest.fixture
def make_news_queue(moto_server: str) -> Iterator[Callable[..., NewsQueue]]:
    """Makes SQS queues that get all events of Batch."""
    made: list[NewsQueue] = []

    def make(**settings: int) -> NewsQueue:
        made.append(NewsQueue.make(moto_server, **settings))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def news_queue(make_news_queue: Callable[..., NewsQueue]) -> NewsQueue:
    """One such queue."""
    return make_news_queue()
