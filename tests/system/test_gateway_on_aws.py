"""The gateway with S3, Batch and SQS: one effective run a study, whatever goes wrong on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.doubles.news_queue import NewsQueue

BUCKET = "iris-data"


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> Any:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def cloud(news: NewsQueue, *, fallback: str = "") -> str:
    return (
        f'[objects]\nbackend = "s3"\nbucket = "{BUCKET}"\nprefix = "iris"\n'
        f'[queue]\nbackend = "batch"\njob_queue = "{MAIN_QUEUE}"\njob_definition = "{DEFINITION}"\n'
        f'{fallback}\n[news]\nbackend = "sqs"\nqueue_url = "{news.url}"\n'
    )


def is_over(study: dict[str, Any]) -> bool:
    return study["state"] in ("done", "failed")


def names(study: dict[str, Any]) -> list[str]:
    return [line["event"] for line in study["timeline"]]


def test_study_goes_through_s3_and_batch_and_its_path_is_in_the_timeline(
    make_world: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    bucket: Any,
    batch_double: BatchDouble,
    news_queue: NewsQueue,
    tmp_path: Path,
) -> None:
    study_uid = write_study(tmp_path / "study", seed="aws")
    world = make_world(("pacs", "RECORDER", recording_pacs.port), config=cloud(news_queue))
    world.start()
    world.send(tmp_path / "study")
    study = world.until(study_uid, is_over)
    assert (study["state"], study["reason"]) == ("done", "delivered"), study
    assert len(recording_pacs.objects) == 1
    wanted = ["job.submitted", "job.accepted", "job.queued", "job.starting", "job.started", "job.segmented"]
    assert [name for name in names(study) if name in wanted] == wanted
    assert len(batch_double.jobs()) == 1
    assert world.stop() == 0
