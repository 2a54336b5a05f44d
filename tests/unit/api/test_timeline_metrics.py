"""Counters and histograms of the timeline."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.api.probes import timeline_metrics
from gateway.api.probes.timeline_metrics import TimelineCollector
from gateway.ledger.states import DeliveryEvent


class Scraper:
    """Asks as Prometheus does."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self._registry = CollectorRegistry()
        self._registry.register(TimelineCollector(world.ledger))

    def __call__(self) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in self._registry.collect()
            for sample in family.samples
        }

    def note(self, event: str, job_key: str, after_s: float, **detail: Any) -> None:
        """A line of the timeline, so long after the last image of its study."""
        with self.world.ledger.transaction() as transaction:
            transaction.note(event, study_uid="1.2.826.0.1.1", job_key=job_key, **detail)
            transaction.execute(
                "UPDATE events SET at = strftime('%Y-%m-%dT%H:%M:%f', (SELECT last_instance_at FROM studies"
                " WHERE study_uid = '1.2.826.0.1.1'), ? || ' seconds') || '000Z'"
                " WHERE seq = (SELECT max(seq) FROM events)",
                (after_s,),
            )


@pytest.fixture
def scrape(world: Any) -> Scraper:
    return Scraper(world)


def test_lines_before_the_start_are_not_counted_and_later_ones_once(world: Any) -> None:
    world.study(1)
    scrape = Scraper(world)
    line = ("iris_timeline_lines_total", "study.instance_stored")
    assert line not in scrape()
    world.study(2)
    for _ in range(2):
        assert scrape()[line] == 1


def test_way_of_a_job_is_measured_since_the_last_image_the_first_time_only(
    world: Any, scrape: Scraper
) -> None:
    job = world.job(world.study())
    for event, after_s in [
        ("job.staged", 100.0),
        ("job.segmented", 700.0),
        ("job.delivered", 720.0),
        ("job.delivered", 90_000.0),
    ]:
        scrape.note(event, job, after_s)
    found = scrape()
    seconds = {until: found["iris_since_last_image_seconds_sum", until] for until in ("staged", "segmented")}
    assert seconds == pytest.approx({"staged": 100, "segmented": 700}, abs=0.01)
    assert found["iris_since_last_image_seconds_count", "closed"] == 1
    assert found["iris_since_last_image_seconds_sum", "acknowledged"] == pytest.approx(720, abs=0.01)
    assert found["iris_own_part_seconds_sum",] == pytest.approx(120, abs=0.02)
    assert (
        found["iris_own_part_seconds_bucket", "60.0"],
        found["iris_own_part_seconds_bucket", "300.0"],
    ) == (0, 1)


def test_line_that_an_image_came_after_says_nothing_of_the_way(world: Any, scrape: Scraper) -> None:
    scrape.note("job.staged", world.job(world.study()), -1.0)
    assert ("iris_since_last_image_seconds_sum", "staged") not in scrape()


def test_deliveries_are_counted_by_destination_and_outcome(world: Any, scrape: Scraper) -> None:
    delivery = world.encode(world.job(world.study()))
    with world.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.FAILED, reason="a sentence")
    found = scrape()
    assert found["iris_delivery_outcomes_total", "pacs", "planned"] == 1
    assert found["iris_delivery_outcomes_total", "pacs", "failed"] == 1


def test_what_alerts_wait_for_stands_there_with_0_from_the_start(world: Any) -> None:
    registry = CollectorRegistry()
    registry.register(TimelineCollector(world.ledger, ["pacs"]))
    failed = {"destination": "pacs", "outcome": "failed"}
    assert registry.get_sample_value("iris_delivery_outcomes_total", failed) == 0
    assert registry.get_sample_value("iris_timeline_lines_total", {"event": "job.failed"}) == 0


def test_refused_object_is_counted_by_its_code(world: Any, scrape: Scraper) -> None:
    world.refuse()
    [code] = [labels for name, *labels in scrape() if name == "iris_objects_quarantined_total"]
    assert code == [world.ledger.read("SELECT reason FROM quarantine")[0]["reason"]]


def test_stages_and_costs_of_a_run_add_up(world: Any, scrape: Scraper) -> None:
    job = world.job(world.study())
    scrape.note("job.started", job, 10.0)
    scrape.note("job.segmented", job, 40.0, usd_estimate=0.25, usd_shared=0.5, machine_s=33.0, gpu_s=21.0)
    found = scrape()
    assert found["iris_stage_seconds_sum", "run"] == pytest.approx(30, abs=0.01)
    assert found["iris_stage_seconds_count", "encode"] == 0
    assert (found["iris_cost_usd_total", "run"], found["iris_cost_usd_total", "shared"]) == (0.25, 0.5)
    assert found["iris_machine_seconds_total", "gpu"] == 21


def test_long_timeline_is_caught_up_with_bit_by_bit(
    world: Any, scrape: Scraper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_metrics, "LINES_AT_ONCE", 2)
    monkeypatch.setattr(timeline_metrics, "MOST_AT_A_SCRAPE", 2)
    job = world.job(world.study())
    scrape()
    for _ in range(6):
        scrape.note("job.waiting", job, 1.0)
    line = ("iris_timeline_lines_total", "job.waiting")
    assert [scrape().get(line, 0) for _ in range(3)] == [4, 6, 6]


def test_nothing_of_a_patient_and_no_key_is_a_label(world: Any, scrape: Scraper) -> None:
    delivery = world.encode(world.job(world.study()))
    world.refuse()
    with world.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    text = repr(scrape())
    assert "delivery.sent" in text
    for secret in ("1.2.826", "key0001", "PID1", "ACC1", delivery):
        assert secret not in text
