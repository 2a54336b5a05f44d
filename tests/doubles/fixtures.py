"""The doubles as fixtures: a pytest plugin, named in tests/conftest.py."""

from collections.abc import Callable, Iterator

import pytest

from .batch import BatchDouble
from .news_queue import NewsQueue


@pytest.fixture
def batch_double(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchDouble]:
    """Batch beside the moto server, whose EventBridge gets its events; boto3 finds it by the environment."""
    double = BatchDouble(aws_environment["AWS_ENDPOINT_URL"])
    for name, value in double.variables().items():
        monkeypatch.setenv(name, value)
    yield double
    double.close()


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
