"""Prometheus metrics, counted when they are asked for; labels are states, never anything of a patient."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.adapters.measures import Figure

from ..store import Counts

disable_created_metrics()  # type: ignore[no-untyped-call]
"""They are a third of all samples, and tell of nothing."""


class StoreCollector(Collector):
    """Makes the metrics of one look at the store."""

    def __init__(self, counts: Callable[[], Counts]) -> None:
        self._counts = counts

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: registering must not ask the store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each thing that is counted."""
        counts = self._counts()
        yield _by("state", "iris_studies", "Studies by state.", counts.studies)
        yield _by("state", "iris_jobs", "Jobs by state.", counts.jobs)
        yield _by("state", "iris_deliveries", "Deliveries by state.", counts.deliveries)
        yield _by("code", "iris_flags", "Doubts about results of jobs, by code.", counts.flags)
        yield _by("state", "iris_corrections", "Edited results that came back, by state.", counts.corrections)
        yield _one("iris_quarantined_objects", "Objects put aside for a person.", counts.quarantined_objects)
        yield _one(
            "iris_instances_stored", "Instances kept, every revision counted.", counts.instances_stored
        )
        yield _one(
            "iris_oldest_open_study_age_seconds",
            "Age of the oldest study that is receiving or processing; 0 when none is.",
            counts.oldest_open_study_age_s,
        )
        if counts.disk_free_bytes is not None:
            yield _one("iris_disk_free_bytes", "Free space where the ledger lies.", counts.disk_free_bytes)
        if counts.mirror_waiting is not None:
            yield _one("iris_mirror_waiting", "Changes the mirror does not have yet.", counts.mirror_waiting)
            yield _one(
                "iris_mirror_lag_seconds",
                "For how long the first change that the mirror does not have has been due; 0 when none is.",
                counts.mirror_lag_s,
            )


class FiguresCollector(Collector):
    """Makes the metrics of other parts."""

    def __init__(self, figures: Callable[[], Iterable[Figure]]) -> None:
        self._figures = figures

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: which figures there are is known when they are asked for."""
        return []

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """One family for all figures of a name."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for figure in self._figures():
            if figure.name not in families:
                kind = CounterMetricFamily if figure.name.endswith("_total") else GaugeMetricFamily
                families[figure.name] = kind(figure.name, figure.what, labels=list(figure.labels))
            families[figure.name].add_metric(list(figure.labels.values()), figure.value)
        yield from families.values()


def registry_of(counts: Callable[[], Counts], others: Sequence[Collector] = ()) -> CollectorRegistry:
    """A registry of its own: several gateways may live in one process."""
    registry = CollectorRegistry()
    for collector in (StoreCollector(counts), *others):
        registry.register(collector)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The text that Prometheus reads (text format 0.0.4)."""
    return generate_latest(registry)


def _by(label: str, name: str, what: str, numbers: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family


def _one(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)
