"""The gateway with S3, Batch and SQS: one effective run a study, whatever goes wrong on the way."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, product
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.doubles.batch import DEFINITION, FALLBACK_QUEUE, MAIN_QUEUE, BatchDouble
from tests.doubles.news_queue import NewsQueue
from tests.mirrored_ledger import items_in, make_table
from tests.spoiling_proxy import Proxy, Wish

QUICK_JOB = Path(__file__).parents[1] / "doubles" / "quick_job.py"
HASTY_IRIS = Path(__file__).with_name("hasty_iris.py")
BUCKET = "iris-data"
DEADLINE_S = 240.0


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> Any:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def proxy(aws_environment: dict[str, str]) -> Iterator[Proxy]:
    """Between the gateway and S3 and SQS."""
    proxy = Proxy(aws_environment["AWS_ENDPOINT_URL"])
    yield proxy
    proxy.stop()


def cloud(news: NewsQueue, *, queue: str = "") -> str:
    """The configuration of a gateway on AWS; `queue` is more of its `[queue]`."""
    return (
        f'[objects]\nbackend = "s3"\nbucket = "{BUCKET}"\nprefix = "iris"\n'
        f'[queue]\nbackend = "batch"\njob_queue = "{MAIN_QUEUE}"\njob_definition = "{DEFINITION}"\n'
        f'unseen_s = 5.0\n{queue}\n[news]\nbackend = "sqs"\nqueue_url = "{news.url}"\n'
    )


@pytest.fixture
def make_gateway(
    make_world: Callable[..., Any], recording_pacs: Any, bucket: Any, news_queue: NewsQueue
) -> Callable[..., Any]:
    """Makes a gateway on AWS whose results go to the recording PACS."""

    def make(*, news: NewsQueue = news_queue, queue: str = "", more: str = "", name: str = "test") -> Any:
        config = cloud(news, queue=queue) + more
        return make_world(("pacs", "RECORDER", recording_pacs.port), name=name, config=config)

    return make


def is_over(study: dict[str, Any]) -> bool:
    return study["state"] in ("done", "failed")


def names(study: dict[str, Any]) -> list[str]:
    return [line["event"] for line in study["timeline"]]


def is_delivered(study: dict[str, Any]) -> bool:
    return (study["state"], study["reason"]) == ("done", "delivered")


def test_study_goes_through_s3_and_batch_and_its_path_is_in_the_timeline(
    make_gateway: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    batch_double: BatchDouble,
    tmp_path: Path,
) -> None:
    study_uid = write_study(tmp_path / "study", seed="aws")
    world = make_gateway()
    world.start()
    batch_double.hold_capacity()
    world.send(tmp_path / "study")
    world.until(study_uid, lambda study: "job.queued" in names(study))
    batch_double.release_capacity()
    study = world.until(study_uid, is_over)
    assert is_delivered(study), study
    assert len(recording_pacs.objects) == 1
    wanted = ["job.submitted", "job.accepted", "job.queued", "job.starting", "job.started", "job.segmented"]
    assert [name for name in names(study) if name in wanted] == wanted
    assert len(batch_double.jobs()) == 1
    assert world.stop() == 0


def figure(namespace: str, name: str) -> float:
    """The sum of what was put for a metric within a day."""
    now = datetime.now(UTC)
    answer = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": "Site", "Value": "test"}],
        StartTime=now - timedelta(days=1),
        EndTime=now + timedelta(minutes=1),
        Period=172800,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


# -- a fault at every call site ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A request to S3 that the gateway, or its job, sends for each study."""

    method: str
    name: str


S3_SITES = [
    Site("PUT", "input.nii.gz"),
    Site("PUT", "request.json"),
    Site("GET", "manifest.json"),
    Site("GET", "claim.json"),
    Site("PUT", "claim.json"),
    Site("GET", "owner.json"),
    Site("GET", "labels.nii.gz"),
]
S3_HARMS: list[Wish] = ["lose", (500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied"), 0]
LASTING = 4
"""So many requests in a row are spoiled: more than boto3 repeats by itself."""


class Misfortunes:
    """Spoils requests to S3, those of each job at another call site, in another manner; and some others.

    So many jobs in a row as there are call sites spoil each of them once; so many times as there are manners,
    each in each manner.
    """

    def __init__(self) -> None:
        turns = product(range(len(S3_HARMS)), enumerate(S3_SITES))
        self._order = cycle((site, S3_HARMS[(turn + n) % len(S3_HARMS)]) for turn, (n, site) in turns)
        self._others = cycle([None, None, None, "lose", None, None, None, (500, "InternalError"), None, 0])
        self._of: dict[str, tuple[Site, Wish]] = {}
        self._left: Counter[str] = Counter()
        self.done: Counter[Site] = Counter()

    def spoil(self, method: str, path: str, number: int) -> Wish:
        job = re.search(r"/jobs/([0-9a-f]{64})/(?:.*/)?([^/]+)$", path)
        if job is None:  # to SQS and DynamoDB
            return next(self._others)
        key, name = job.groups()
        if key not in self._of:
            self._of[key] = next(self._order)
            self._left[key] = LASTING
        site, harm = self._of[key]
        if (site.method, site.name) != (method, name) or self._left[key] == 0:
            return None
        self._left[key] -= 1
        self.done[site] += 1
        return harm


def trouble_batch(double: BatchDouble) -> None:
    """Let calls to Batch go wrong in every manner, and some of the news."""
    for operation in ("SubmitJob", "ListJobs", "DescribeJobs", "DescribeJobQueues"):
        double.throttle(operation, 2)
        double.answer_500(operation, 2)
    double.answer_500("SubmitJob", 2, taken=True)
    double.lose_answer("SubmitJob", 3)
    double.lose_request("SubmitJob", 2)
    double.events.drop(4)
    double.events.repeat(2)


@pytest.mark.parametrize(
    "studies_sent", [6, pytest.param(14, marks=pytest.mark.long), pytest.param(50, marks=pytest.mark.long)]
)
def test_studies_with_a_fault_at_every_call_site_are_each_delivered_once(
    make_gateway: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    batch_double: BatchDouble,
    bucket: Any,
    proxy: Proxy,
    tmp_path: Path,
    studies_sent: int,
) -> None:
    misfortunes = Misfortunes()
    proxy.spoil = misfortunes.spoil
    trouble_batch(batch_double)
    batch_double.set_definition(command=[sys.executable, str(QUICK_JOB)])
    table = make_table(proxy.address)
    mirror = f'[mirror]\nbackend = "dynamodb"\ntable = "{table}"\n'
    watch = '[watch]\nbackend = "cloudwatch"\nnamespace = "IrisFifty"\nevery_s = 1.0\n'
    world = make_gateway(queue="reconcile_s = 3.0", more=mirror + watch)
    world.program = [str(HASTY_IRIS)]
    world.start(AWS_ENDPOINT_URL=proxy.address)
    study_uids = []
    for half in ("first", "second"):
        for number in range(studies_sent // 2):
            folder = tmp_path / half / str(number)
            study_uids.append(write_study(folder, seed=f"fault-{half}-{number}"))
        world.send(tmp_path / half)
        batch_double.events.reorder(5)
    interrupted: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    while not all(is_over(world.study(uid) or {"state": ""}) for uid in study_uids):
        for job in batch_double.jobs()[::9]:
            if job.status == "RUNNING" and job.job_id not in interrupted:
                interrupted.add(job.job_id)
                batch_double.interrupt(job.job_id, notice_s=2.0)
        assert time.monotonic() < deadline, world.log.read_text()[-5000:]
        time.sleep(0.5)
    studies = [world.study(uid) for uid in study_uids]
    assert [study["reason"] for study in studies if not is_delivered(study)] == []
    assert len(recording_pacs.objects) == studies_sent
    assert recording_pacs.every_send_of_an_object_had_the_same_bytes()
    assert len(misfortunes.done) == min(studies_sent, len(S3_SITES))
    keys = bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET).search("Contents[].Key")
    times_worked = Counter(key.split("/")[2] for key in keys if "/worked/" in key)
    assert len(times_worked) == studies_sent
    proxy.spoil = lambda *asked: None
    while world._request("GET", "/api/v1/mirror").json()["waiting"]:
        assert time.monotonic() < deadline, "the mirror does not catch up"
        time.sleep(0.2)
    mirrored = items_in(proxy.address, table).items()
    assert [item["reason"] for (_, sort), item in mirrored if sort == "STUDY"] == ["delivered"] * studies_sent
    assert times_worked.total() - studies_sent <= len(interrupted)
    while figure("IrisFifty", "StudiesDone") < studies_sent:  # more, where the answer to a put was lost
        assert time.monotonic() < deadline, "figures are missing"
        time.sleep(0.2)


AWAY = {
    "expired": ((403, "ExpiredToken"), "the AWS credentials have expired"),
    "denied": (
        (403, "AccessDenied"),
        f"AWS denies s3:PutObject with s3:PutObjectTagging on the bucket {BUCKET}",
    ),
    "elsewhere": ((400, "AuthorizationHeaderMalformed"), "correct aws.region"),
    "missing": ((404, "NoSuchBucket"), f"AWS does not find the bucket {BUCKET}"),
    "silent": ("lose", "look at the network"),
}


def test_studies_are_kept_while_aws_is_away_say_why_and_go_on_by_themselves(
    make_gateway: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    batch_double: BatchDouble,
    proxy: Proxy,
    tmp_path: Path,
) -> None:
    harms = iter(AWAY.values())
    harm_of: dict[str, tuple[Wish, str]] = {}

    def spoil(method: str, path: str, number: int) -> Wish:
        key = path.rpartition("/jobs/")[2].partition("/")[0]
        if method != "PUT" or not path.endswith("input.nii.gz"):
            return None
        if key not in harm_of:
            harm_of[key] = next(harms)
        return harm_of[key][0]

    proxy.spoil = spoil
    world = make_gateway()
    world.program = [str(HASTY_IRIS)]
    world.start(AWS_ENDPOINT_URL=proxy.address)
    study_uids = []
    for name in AWAY:
        study_uids.append(write_study(tmp_path / name, seed=f"away-{name}"))
        world.send(tmp_path / name)
    for study_uid in study_uids:
        study = world.until(study_uid, lambda study: bool(study["jobs"]) and bool(study["reason"]))
        assert study["state"] == "processing"
        assert harm_of[study["jobs"][0]["job_key"]][1] in study["reason"]
    ready = world._request("GET", "/readyz")
    assert ready.status_code == 200
    assert any(sentence in reason for _, sentence in AWAY.values() for reason in ready.json()["degraded"])
    assert all(sentence in world.log.read_text() for _, sentence in AWAY.values())
    proxy.spoil = lambda *asked: None
    for study_uid in study_uids:
        assert is_delivered(world.until(study_uid, is_over))
    assert world._request("GET", "/readyz").json()["degraded"] == []


def test_study_whose_gpu_queue_has_no_machines_is_segmented_by_the_fast_model_elsewhere_and_says_so(
    make_gateway: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    batch_double: BatchDouble,
    tmp_path: Path,
) -> None:
    batch_double.set_quota("L-3819A6DF", 0.0)
    study_uid = write_study(tmp_path / "study", seed="quota")
    fallback = f'[queue.fallback]\nafter_s = 2.0\njob_queue = "{FALLBACK_QUEUE}"\noptions = {{ fast = true }}'
    world = make_gateway(queue=fallback)
    world.start()
    world.send(tmp_path / "study")
    study = world.until(study_uid, is_over)
    assert is_delivered(study), study
    first, second = study["jobs"]
    assert (first["state"], second["fallback_of"], second["lane"]) == (
        "superseded",
        first["job_key"],
        "fallback",
    )
    reasons = [line["detail"].get("reason", "") for line in study["timeline"]]
    assert any("L-3819A6DF" in reason and "request-service-quota-increase" in reason for reason in reasons)
    assert [job.queue.name for job in batch_double.jobs()] == [MAIN_QUEUE, FALLBACK_QUEUE]
    assert len(recording_pacs.objects) == 1


@pytest.mark.parametrize(
    "transition",
    [
        *("job.submitted:after", "job.segmented:before"),
        *(
            pytest.param(one, marks=pytest.mark.long)
            for one in (
                *("job.submitted:before", "job.accepted:before", "job.accepted:after"),
                *("job.queued:before", "job.started:after", "job.segmented:after"),
            )
        ),
    ],
)
def test_gateway_killed_around_its_run_costs_no_second_one(
    make_gateway: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    batch_double: BatchDouble,
    make_news_queue: Callable[..., NewsQueue],
    tmp_path: Path,
    transition: str,
) -> None:
    """News that were on their way to the killed gateway come again when they are visible again."""
    study_uid = write_study(tmp_path / "study", seed=transition)
    world = make_gateway(news=make_news_queue(visibility_s=3, receives=100))
    world.start(kill_at=transition)
    world.send(tmp_path / "study")
    assert is_delivered(world.until(study_uid, is_over))
    assert world.deaths == 1
    assert len(batch_double.jobs()) == 1
    assert len(recording_pacs.objects) == 1


def test_two_gateways_that_get_the_same_study_share_one_run(
    make_gateway: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    batch_double: BatchDouble,
    make_news_queue: Callable[..., NewsQueue],
    tmp_path: Path,
) -> None:
    study_uid = write_study(tmp_path / "study", seed="shared")
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef" * 4)
    secret.chmod(0o600)
    worlds = [make_gateway(name=name, news=make_news_queue()) for name in ("north", "south")]
    for world in worlds:
        world.start(IRIS_SITE__SECRET_FILE=str(secret))
    for world in worlds:
        world.send(tmp_path / "study")
    studies = [world.until(study_uid, is_over) for world in worlds]
    assert all(is_delivered(study) for study in studies), studies
    assert len(batch_double.jobs()) == 1
    assert len(recording_pacs.objects) == 1
