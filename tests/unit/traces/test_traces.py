"""A trace a study, of its timeline, the same each time, once it is over: by OpenTelemetry's own SDK."""

import sys
from collections.abc import Callable

import pytest

from gateway.config import Config, ConfigError
from gateway.config.sections import OTEL_VARIABLES
from gateway.ledger.facts import Fact, fact
from gateway.ledger.results import record_result
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.work import job
from gateway.traces import worker as tracing
from gateway.traces.backend import trace_worker
from gateway.traces.worker import TraceWorker
from gateway.workers.attempts import Backoff
from tests.one_job import JOB_KEY, Site
from tests.results import result_of_one
from tests.told import Web
from tests.traces import Got, spans


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "BACKOFF", Backoff(0.0, 0.0))
    for name in OTEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start(site: Site, collector: Web) -> Callable[[], TraceWorker]:
    def make() -> TraceWorker:
        config = Config(traces={"endpoint": f"http://127.0.0.1:{collector.port}/v1/traces"})
        worker = trace_worker(config, site.ledger, site.bus)
        assert worker is not None
        return worker

    return make


def to_encoded(site: Site) -> str:
    """Take the job there; the key of its delivery."""
    for event in (
        JobEvent.CONVERTED,
        JobEvent.STAGED,
        JobEvent.SUBMITTED,
        JobEvent.STARTED,
        JobEvent.SEGMENTED,
    ):
        site.move(event)
    made = job(site.ledger, JOB_KEY)
    assert made is not None
    with site.ledger.transaction() as transaction:
        record_result(transaction, made, result_of_one("results/a.dcm", "2.25.1", "h"), lambda _: ["pacs"])
    return str(site.ledger.read("SELECT key FROM deliveries")[0]["key"])


def move_delivery(site: Site, key: str, event: DeliveryEvent) -> None:
    with site.ledger.transaction() as transaction:
        transaction.move_delivery(key, event)


def one(found: list[Got], name: str) -> Got:
    [span] = [span for span in found if span.name == name]
    return span


def test_study_that_is_done_is_one_trace_of_its_jobs_steps_and_deliveries(
    site: Site, collector: Web, start: Callable[[], TraceWorker]
) -> None:
    worker = start()
    key = to_encoded(site)
    worker.work()
    assert spans(collector) == [], "it is not over"
    move_delivery(site, key, DeliveryEvent.SENT)
    worker.work()
    worker.work()
    found = spans(collector)
    study, of_job, sent = one(found, "study"), one(found, "job"), one(found, "sent pacs")
    assert {span.trace_id for span in found} == {study.trace_id}
    assert (study.parent_id, of_job.parent_id, sent.parent_id) == ("", study.span_id, of_job.span_id)
    steps = [span.name for span in found if span.parent_id == of_job.span_id and span is not sent]
    assert steps == ["converted", "staged", "queued", "segmented", "encoded", "delivered"]
    assert study.attributes["iris.study_key"] == "key"
    assert (of_job.attributes["iris.task"], of_job.attributes["iris.rule"]) == ("tissue", "ct")
    assert max(span.seconds for span in found) == study.seconds
    assert "1.2.3" not in str(collector.got)
    assert not any(span.has_failed for span in found)


def test_study_that_failed_and_went_on_has_both_ways_in_one_trace(
    site: Site, collector: Web, start: Callable[[], TraceWorker]
) -> None:
    worker = start()
    key = to_encoded(site)
    move_delivery(site, key, DeliveryEvent.FAILED)
    worker.work()
    first = spans(collector)
    assert one(first, "study").has_failed
    assert one(first, "failed pacs").has_failed
    move_delivery(site, key, DeliveryEvent.RETRIED)
    move_delivery(site, key, DeliveryEvent.SENT)
    worker.work()
    second = spans(collector)[len(first) :]
    assert {span.trace_id for span in second} == {span.trace_id for span in first}
    assert {span.span_id for span in second}.isdisjoint(span.span_id for span in first)
    assert not one(second, "study").has_failed
    assert "segmented" not in [span.name for span in second]


def test_trace_that_was_put_before_a_kill_is_put_again_the_same(
    site: Site, collector: Web, start: Callable[[], TraceWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start()
    move_delivery(site, to_encoded(site), DeliveryEvent.SENT)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(tracing, "mark_traced", kill)
        with pytest.raises(Killed):
            worker.work()
    start().work()
    found = spans(collector)
    assert found[: len(found) // 2] == found[len(found) // 2 :]


def test_collector_that_refuses_is_told_and_waited_for(
    site: Site, collector: Web, start: Callable[[], TraceWorker]
) -> None:
    worker = start()
    collector.status = 400
    move_delivery(site, to_encoded(site), DeliveryEvent.SENT)
    worker.work()
    assert "no collector takes traces; see traces.endpoint" in worker.complaint()
    collector.status, seen = 200, len(collector.got)
    worker.work()
    assert worker.complaint() == ""
    assert len(collector.got) == seen + 1


def test_study_that_ended_while_nobody_wanted_traces_is_not_traced(
    site: Site, collector: Web, start: Callable[[], TraceWorker]
) -> None:
    start()
    assert fact(site.ledger, Fact.TRACED) is not None
    assert trace_worker(Config(), site.ledger, site.bus) is None
    assert fact(site.ledger, Fact.TRACED) is None
    move_delivery(site, to_encoded(site), DeliveryEvent.SENT)
    start().work()
    assert collector.got == []


def test_traces_without_opentelemetry_are_refused_where_the_configuration_asks_for_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gateway.adapters.otlp", raising=False)
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"traces\.endpoint needs OpenTelemetry, which is not installed"):
        trace_worker(Config(traces={"endpoint": "http://collector/v1/traces"}), site.ledger, site.bus)
    monkeypatch.setenv(OTEL_VARIABLES[0], "http://collector")
    assert trace_worker(Config(), site.ledger, site.bus) is None, "a variable may be meant for others"
