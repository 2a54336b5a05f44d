"""Figures of a gateway as it stands, beside those of the store: ready, what waits, and how large."""

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.registry import Collector

from gateway.adapters.measures import Figure, Measure
from gateway.identity import EngineIdentity
from gateway.ledger.deliveries import standing_of
from gateway.ledger.records import age_s
from gateway.ledger.store import Ledger
from gateway.ledger.watched import standing

from .metrics import FiguresCollector
from .readiness import Readiness
from .timeline_metrics import TimelineCollector


@dataclass(frozen=True)
class GatewayFigures:
    """What there is to say now."""

    ledger: Ledger
    readiness: Callable[[], Readiness]
    engine: EngineIdentity
    destinations: Sequence[str]

    def __iter__(self) -> Iterator[Figure]:
        """Look anew."""
        now = self.readiness()
        yield Figure("iris_ready", "1 where instances can be accepted, else 0.", now.ready)
        yield Figure("iris_troubles", "Complaints of workers, which /readyz has in words.", len(now.degraded))
        longest_s = standing(self.ledger)[Measure.LONGEST_RUNNABLE_WAIT][0]
        yield Figure(
            "iris_oldest_waiting_run_age_seconds",
            "For how long the first of the runs without a machine has waited; 0 when none does.",
            longest_s,
        )
        for waiting in standing_of(self.ledger):
            to = {"destination": waiting.destination}
            yield Figure("iris_deliveries_waiting", "Deliveries that wait.", waiting.number, to)
            yield Figure(
                "iris_oldest_waiting_delivery_age_seconds",
                "For how long the first of them has waited.",
                age_s(waiting.since),
                to,
            )
        folder = self.ledger.path.parent
        yield Figure(
            "iris_disk_size_bytes", "Size of the disk where the ledger lies.", shutil.disk_usage(folder).total
        )
        path = self.ledger.path
        size = sum(map(_size_bytes, (path, path.with_name(f"{path.name}-wal"))))
        yield Figure("iris_ledger_size_bytes", "Size of the ledger with its log.", size)
        build = {
            "version": metadata.version("iris-gateway"),
            "python": platform.python_version(),
            "engine": self.engine.name,
            "engine_version": self.engine.version,
        }
        yield Figure("iris_build_info", "What runs; always 1.", 1, build)


def gateway_collectors(
    figures: GatewayFigures, *of_parts: Callable[[], Iterable[Figure]]
) -> Sequence[Collector]:
    """All that makes the metrics of a gateway beside those of its store."""
    return (
        FiguresCollector(lambda: chain(figures, *(part() for part in of_parts))),
        TimelineCollector(figures.ledger, figures.destinations),
        ProcessCollector(registry=None),
    )


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a log comes and goes
        return 0
