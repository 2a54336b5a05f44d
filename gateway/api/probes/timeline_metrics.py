"""Counters and histograms of the timeline: each scrape counts on from where the last one ended.

They begin at 0 with the process, as Prometheus expects it. What a scrape costs depends on what happened since
the one before it, and never on what the ledger holds.
"""

import threading
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.adapters.measures import Measure
from gateway.ledger.happenings import happenings, newest_line
from gateway.ledger.store import Ledger
from gateway.ledger.watched import Stretch, happened

LINES_AT_ONCE: Final = 2000
MOST_AT_A_SCRAPE: Final = 10
"""So many times `LINES_AT_ONCE`: after days without a scrape the first ones catch up bit by bit."""

STAGES: Final = {
    Measure.RECEIVE_TIME: "receive",
    Measure.CONVERT_TIME: "convert",
    Measure.QUEUE_TIME: "queue",
    Measure.RUN_TIME: "run",
    Measure.ENCODE_TIME: "encode",
    Measure.DELIVER_TIME: "deliver",
}
COSTS: Final = {Measure.COST_ESTIMATE: "run", Measure.COST_SHARED: "shared", Measure.COST_LOST: "lost"}
MACHINES: Final = {
    Measure.MACHINE_TIME: "held",
    Measure.GPU_TIME: "gpu",
    Measure.SHARED_TIME: "shared",
    Measure.LOST_TIME: "lost",
}

LINES_FROM_THE_START: Final = (
    "study.finished", "study.failed", "job.delivered", "job.failed", "job.put_off", "job.run_lost",
    "delivery.sent", "delivery.put_off", "delivery.failed", "instance.quarantined",
)  # fmt: skip
BUCKETS_S: Final = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 86400)


class TimelineCollector(Collector):
    """Counts the timeline from now on; of `destinations` it says 0 before there is anything."""

    def __init__(self, ledger: Ledger, destinations: Iterable[str] = ()) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._counted = newest_line(ledger)
        self._lines = Counter(
            "iris_timeline_lines", "Lines of the timeline, by event.", ["event"], registry=None
        )
        self._deliveries = Counter(
            "iris_delivery_outcomes",
            "What became of deliveries, by destination and outcome.",
            ["destination", "outcome"],
            registry=None,
        )
        self._quarantined = Counter(
            "iris_objects_quarantined", "Objects put aside, by reason.", ["code"], registry=None
        )
        self._since = Histogram(
            "iris_since_last_image_seconds",
            "Seconds since the last image of a study came, until it was closed, and each job of it staged,"
            " segmented and acknowledged by every destination.",
            ["until"],
            buckets=BUCKETS_S,
            registry=None,
        )
        self._own = Histogram(
            "iris_own_part_seconds",
            "The same until acknowledged, without what passed between staged and segmented.",
            buckets=BUCKETS_S,
            registry=None,
        )
        self._stages = Histogram(
            "iris_stage_seconds", "Seconds of each stage.", ["stage"], buckets=BUCKETS_S, registry=None
        )
        self._cost = Counter(
            "iris_cost_usd", "USD of runs that gave a result, as estimated.", ["part"], registry=None
        )
        self._machines = Counter(
            "iris_machine_seconds",
            "Seconds of machines that such runs held, that a GPU was at work, that were nobody's before.",
            ["part"],
            registry=None,
        )
        # Prometheus sees no increase in what was not there before.
        for stage in STAGES.values():
            self._stages.labels(stage)
        for event in LINES_FROM_THE_START:
            self._lines.labels(event)
        for destination, outcome in product(destinations, ("sent", "put_off", "failed")):
            self._deliveries.labels(destination, outcome)

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Count on, and give all that was counted since the start."""
        with self._lock:
            self._count_on()
        for metric in (
            self._lines,
            self._deliveries,
            self._quarantined,
            self._since,
            self._own,
            self._stages,
            self._cost,
            self._machines,
        ):
            yield from metric.collect()

    def _count_on(self) -> None:
        newest = newest_line(self._ledger)
        for _ in range(MOST_AT_A_SCRAPE):
            upto = min(newest, self._counted + LINES_AT_ONCE)
            if upto <= self._counted:
                return
            self._count(Stretch(self._counted, upto, is_last=upto == newest))
            self._counted = upto

    def _count(self, stretch: Stretch) -> None:
        found, readings = happenings(self._ledger, stretch), happened(self._ledger, stretch)
        for event, number in found.lines.items():
            self._lines.labels(event).inc(number)
        for (destination, outcome), number in found.deliveries.items():
            self._deliveries.labels(destination, outcome).inc(number)
        for code, number in found.quarantined.items():
            self._quarantined.labels(code).inc(number)
        for until, spans in found.since_last_image_s.items():
            for span in spans:
                self._since.labels(until).observe(span)
        for span in found.own_s:
            self._own.observe(span)
        for measure, stage in STAGES.items():
            for span in readings.get(measure, ()):
                self._stages.labels(stage).observe(span)
        for names, counter in ((COSTS, self._cost), (MACHINES, self._machines)):
            for measure, part in names.items():
                counter.labels(part).inc(sum(readings.get(measure, ())))
