"""Figures of the ledger in moto's CloudWatch: counted once, waited out, and nothing of a patient."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.adapters.aws.cloudwatch import VALUES_A_DATUM, CloudWatchGauges
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.measures import SITE, Measure, unit_of
from gateway.adapters.queue import Lane
from gateway.app import App
from gateway.config import load_config
from gateway.ledger.runs import begin_run, written_run
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.watched import switch_watch
from gateway.watch.worker import LINES_A_PUT, WatchWorker
from tests.cloud import REGION
from tests.doubles.recording_proxy import RecordingProxy, traces_of
from tests.mirrored_ledger import MirroredLedger

pytestmark = pytest.mark.usefixtures("aws_environment")

COSTS = {Measure.COST_ESTIMATE, Measure.COST_SHARED, Measure.COST_LOST}
SOMETIMES = {*COSTS, *(measure for measure in Measure if measure.endswith("Time"))}
"""What is only put when there is something to measure."""


def figures_in(url: str, namespace: str) -> dict[str, tuple[float, float]]:
    """Of each metric in the namespace: how many values, and their sum."""
    client: Any = boto3.client("cloudwatch", endpoint_url=url)
    now, found = datetime.now(UTC), {}
    for metric in client.list_metrics(Namespace=namespace)["Metrics"]:
        assert metric["Dimensions"] == [{"Name": SITE, "Value": "north"}]
        points = client.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric["MetricName"],
            Dimensions=metric["Dimensions"],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=7200,
            Statistics=["SampleCount", "Sum"],
        )["Datapoints"]
        assert {point["Unit"] for point in points} == {unit_of(Measure(metric["MetricName"])).value}
        found[metric["MetricName"]] = (
            sum(point["SampleCount"] for point in points),
            round(sum(point["Sum"] for point in points), 3),
        )
    return found


@dataclass
class Watched:
    """A ledger that is watched, and the worker that does so by way of the proxy."""

    book: MirroredLedger
    proxy: RecordingProxy
    namespace: str
    worker: WatchWorker

    def put(self) -> dict[str, tuple[float, float]]:
        self.worker.work()
        return figures_in(self.proxy.target, self.namespace)

    def note(self, event: str, job_key: str, after_s: float, **detail: Any) -> None:
        """A line of the timeline, so many seconds after the one before it."""
        with self.book.ledger.transaction() as transaction:
            transaction.note(event, study_uid="1.2.826.0.1.1", job_key=job_key, **detail)
            transaction.execute(
                "UPDATE events SET at = strftime('%Y-%m-%dT%H:%M:%f', (SELECT at FROM events"
                " ORDER BY seq DESC LIMIT 1 OFFSET 1), ? || ' seconds') || '000Z'"
                " WHERE seq = (SELECT max(seq) FROM events)",
                (after_s,),
            )


@pytest.fixture
def watched(tmp_path: Path, recording_proxy: RecordingProxy) -> Iterator[Watched]:
    book = MirroredLedger(tmp_path / "ledger.sqlite", recording_proxy.url, "no-table", site="north")
    book.open()
    switch_watch(book.ledger, is_on=True)
    namespace = f"Test-{uuid.uuid4().hex}"
    client = AwsSession(REGION, recording_proxy.url).cloudwatch()
    worker = WatchWorker(book.ledger, book.bus, CloudWatchGauges(client, namespace, "north"), 60.0)
    yield Watched(book, recording_proxy, namespace, worker)
    book.close()


def test_every_measure_is_put_that_there_is_something_to_say_of(watched: Watched) -> None:
    found = watched.put()
    assert set(found) == {measure.value for measure in Measure if measure not in SOMETIMES}
    assert found.pop("Heartbeat") == (1, 1)
    assert set(found.values()) == {(1, 0)}


def test_studies_and_jobs_are_counted_as_they_stand_and_as_they_end(watched: Watched) -> None:
    first, second = (watched.book.job(watched.book.study(number)) for number in (1, 2))
    watched.book.study(3)
    delivery = watched.book.encode(first)
    with watched.book.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    watched.book.move(second, JobEvent.SUBMITTED, JobEvent.STARTED)
    watched.book.move(second, JobEvent.FAILED, reason="a sentence")
    found = watched.put()
    assert {name: total for name, (_, total) in found.items()} | {
        "StudiesDone": 1, "StudiesFailed": 1, "JobsFailed": 1, "StudiesOpen": 1, "JobsRunning": 0,
    } == {name: total for name, (_, total) in found.items()}  # fmt: skip
    assert found["ReceiveTime"][0] == 2
    assert found["EncodeTime"][0] == found["DeliverTime"][0] == 1
    assert found["MirrorWaiting"][1] > 0


def test_job_that_waits_for_a_machine_is_seen_with_how_long(watched: Watched) -> None:
    job = watched.book.job(watched.book.study())
    since = (datetime.now(UTC) - timedelta(seconds=500)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    watched.book.move(job, JobEvent.SUBMITTED, columns={"run": 1})
    with watched.book.ledger.transaction() as transaction:
        begin_run(transaction, job, 1, Lane.MAIN)
        run = written_run(transaction, transaction.job(job), 1)
        transaction.update("runs", "id", run.id, {"waiting_since": since})
    found = watched.put()
    assert found["JobsWaiting"] == (1, 1)
    assert 500 <= found["LongestRunnableWait"][1] < 560


PRICED = {"usd_estimate": 0.0412, "usd_shared": 0.1}


def test_stages_of_a_run_are_measured_from_the_lines_of_its_timeline(watched: Watched) -> None:
    job = watched.book.job(watched.book.study())
    for event, after_s, detail in [
        ("job.planned", 0.0, {}),
        ("job.converted", 1.25, {}),
        ("job.submitted", 2.0, {}),
        ("job.queued", 3.0, {}),
        ("job.started", 4.0, {}),
        ("job.queued", 100.0, {"interruption": "spot"}),
        ("job.started", 30.0, {}),
        ("job.segmented", 200.0, {**PRICED, "machine_s": 30.0, "gpu_s": 0.0}),
        ("job.encoded", 5.0, {}),
    ]:
        watched.note(event, job, after_s, **detail)
    found = watched.put()
    assert {name: found[name] for name in ("ConvertTime", "QueueTime", "RunTime", "EncodeTime")} == {
        "ConvertTime": (1, 1.25),
        "QueueTime": (2, 7.0 + 30.0),
        "RunTime": (1, 200.0),
        "EncodeTime": (1, 5.0),
    }
    assert found["SpotInterruptions"] == (1, 1)
    assert found["CostEstimate"] == (1, 0.041)
    assert found["CostShared"] == (1, 0.1)
    assert found["MachineTime"] == (1, 30.0)
    assert found["GpuTime"] == (1, 0)
    assert "SharedTime" not in found  # not known of this one


def test_result_of_a_run_that_was_not_seen_to_start_has_no_duration_of_an_earlier_one(
    watched: Watched,
) -> None:
    job = watched.book.job(watched.book.study())
    for event in ("job.submitted", "job.started", "job.run_lost", "job.submitted", "job.segmented"):
        watched.note(event, job, 100.0)
    found = watched.put()
    assert "RunTime" not in found
    assert found["QueueTime"] == (1, 100.0)


def test_what_happened_while_aws_was_away_is_counted_once_when_it_is_back(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.put()
    watched.proxy.is_away = True
    job = watched.book.job(watched.book.study())
    watched.book.move(job, JobEvent.FAILED, reason="a sentence")
    for _ in range(2):
        assert watched.worker.work() == 60.0
    assert watched.worker.trouble.startswith("AWS does not answer cloudwatch:PutMetricData")
    assert capsys.readouterr().out.count("watch_waits") == 1
    watched.proxy.is_away = False
    assert watched.put()["JobsFailed"] == (2, 1)
    assert watched.worker.trouble == ""
    assert watched.put()["JobsFailed"] == (3, 1)


def test_watch_that_aws_denies_says_which_permission_is_missing(watched: Watched) -> None:
    denied = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    client = AwsSession(REGION, watched.proxy.url).cloudwatch()
    client.meta.events.register(
        "before-call.cloudwatch.PutMetricData", lambda **_: (_Answer(403), denied), unique_id="denied"
    )
    watched.worker._gauges = CloudWatchGauges(client, "IrisGateway", "north")
    watched.worker.work()
    assert watched.worker.trouble == (
        "AWS denies cloudwatch:PutMetricData on the namespace IrisGateway;"
        " allow it in the gateway's IAM policy"
    )


@dataclass
class _Answer:
    status_code: int


def test_restart_goes_on_counting_where_it_was_and_counts_nothing_of_the_time_when_switched_off(
    watched: Watched,
) -> None:
    job = watched.book.job(watched.book.study())
    watched.book.move(job, JobEvent.FAILED, reason="a sentence")
    switch_watch(watched.book.ledger, is_on=True)
    assert watched.put()["JobsFailed"] == (1, 1)
    switch_watch(watched.book.ledger, is_on=False)
    watched.book.move(job, JobEvent.RETRIED)
    watched.book.move(job, JobEvent.FAILED, reason="a sentence")
    switch_watch(watched.book.ledger, is_on=True)
    assert watched.put()["JobsFailed"] == (2, 1)


def test_long_timeline_is_put_in_parts_and_every_value_arrives(watched: Watched) -> None:
    job = watched.book.job(watched.book.study())
    with watched.book.ledger.transaction() as transaction:
        for number in range(LINES_A_PUT + 1):
            transaction.note("job.segmented", job_key=job, usd_estimate=number)
    found = watched.put()
    assert found["CostEstimate"] == (LINES_A_PUT + 1, LINES_A_PUT * (LINES_A_PUT + 1) / 2)
    assert found["Heartbeat"] == (2, 2)
    assert LINES_A_PUT > VALUES_A_DATUM


def test_error_that_nobody_foresaw_stops_the_figures_alone(watched: Watched) -> None:
    watched.book.ledger.close()
    assert watched.worker.work() == 60.0
    assert watched.worker.trouble == "an unforeseen error in the watch; the log names the place"


def test_nothing_of_a_patient_and_no_key_is_put(watched: Watched) -> None:
    study = watched.book.study()
    job = watched.book.job(study)
    watched.book.encode(job)
    watched.put()
    told = [
        study,
        job,
        "key0001",
        "PID1",
        "ACC1",
        "20260131",
        "CT ABDOMEN",
        "PORTAL",
        "TELLTALE-AE",
        "2.25.7",
    ]
    assert watched.proxy.sent
    assert traces_of(told, watched.proxy.everything()) == []
    assert traces_of(["north"], watched.proxy.everything()) == ["north"]


def test_gateway_whose_figures_are_not_taken_is_ready_and_says_so(
    tmp_path: Path, moto_server: str, aws_environment: dict[str, str]
) -> None:
    path = tmp_path / "iris.toml"
    path.write_text(
        f'[site]\ndata_dir = "{tmp_path}/data"\nlow_water_mb = 0\n[dicom]\nport = 0\n[api]\nport = 0\n'
        '[watch]\nbackend = "cloudwatch"\n[aws]\nendpoint_url = "http://127.0.0.1:9"\n'
    )
    gateway = App(load_config(path))
    try:
        [worker] = [each for each in gateway._workers if isinstance(each, WatchWorker)]
        worker.work()
        [sentence] = gateway.readiness().degraded
        assert sentence.startswith("watch: AWS does not answer cloudwatch:PutMetricData")
    finally:
        gateway._ledger.close()
