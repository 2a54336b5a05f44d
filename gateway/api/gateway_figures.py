"""Figures of a gateway as it stands, beside those of the store: ready, what waits, and how large."""

import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from gateway.adapters.measures import Figure, Measure
from gateway.ledger.deliveries import standing_of
from gateway.ledger.records import age_s
from gateway.ledger.store import Ledger
from gateway.ledger.watched import standing

from .readiness import Readiness


def gateway_figures(
    ledger: Ledger, readiness: Callable[[], Readiness], engine: tuple[str, str]
) -> Iterator[Figure]:
    """What there is to say now; of `engine` name and version."""
    now = readiness()
    yield Figure("iris_ready", "1 where instances can be accepted, else 0.", now.ready)
    yield Figure("iris_troubles", "Complaints of workers, which /readyz has in words.", len(now.degraded))
    longest_s = standing(ledger)[Measure.LONGEST_RUNNABLE_WAIT][0]
    yield Figure(
        "iris_oldest_waiting_run_age_seconds",
        "For how long the first of the runs without a machine has waited; 0 when none does.",
        longest_s,
    )
    for waiting in standing_of(ledger):
        to = {"destination": waiting.destination}
        yield Figure("iris_deliveries_waiting", "Deliveries that wait.", waiting.number, to)
        yield Figure(
            "iris_oldest_waiting_delivery_age_seconds",
            "For how long the first of them has waited.",
            age_s(waiting.since),
            to,
        )
    folder = ledger.path.parent
    yield Figure(
        "iris_disk_size_bytes", "Size of the disk where the ledger lies.", shutil.disk_usage(folder).total
    )
    files = (ledger.path, ledger.path.with_name(f"{ledger.path.name}-wal"))
    yield Figure("iris_ledger_size_bytes", "Size of the ledger with its log.", sum(map(_size_bytes, files)))
    build = {
        "version": metadata.version("iris-gateway"),
        "python": platform.python_version(),
        "engine": engine[0],
        "engine_version": engine[1],
    }
    yield Figure("iris_build_info", "What runs; always 1.", 1, build)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a log comes and goes
        return 0
