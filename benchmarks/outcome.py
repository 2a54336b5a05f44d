"""What a run of the benchmarks found, as a table for people and as JSON for programs."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from benchmarks.cases import IRIS, Case, Clock
from benchmarks.measuring import ROOT

PACKAGES = ("iris-gateway", "highdicom", "pydicom", "numpy", "nibabel", "dcmqi", "dcm2niix")


@dataclass(frozen=True)
class Result:
    """One contender by one clock; medians over its runs.

    `problem` says why there are no figures, or what is wrong with the output; empty when all is well.
    `ratios` are its time divided by ours by each clock that it stands against: above 1 we are faster.
    """

    contender: str
    clock: str
    seconds: tuple[float, ...] = ()
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    output_mb: float = 0.0
    problem: str = ""
    against: tuple[str, ...] = ()
    ratios: dict[str, float] = field(default_factory=dict)

    @property
    def median_s(self) -> float | None:
        """Median of its times."""
        return statistics.median(self.seconds) if self.seconds else None


@dataclass(frozen=True)
class CaseOutcome:
    """All results of one case."""

    name: str
    title: str
    results: tuple[Result, ...]


def with_ratios(case: Case, results: Sequence[Result]) -> CaseOutcome:
    """Put each contender's time beside ours of the same run."""
    ours = {result.clock: result.median_s for result in results if result.contender == IRIS}
    complete = []
    for result in results:
        ratios = {}
        for clock in result.against:
            base = ours.get(clock)
            if base and result.median_s:
                ratios[clock] = round(result.median_s / base, 2)
        complete.append(replace(result, ratios=ratios))
    return CaseOutcome(case.name, case.title, tuple(complete))


def table(outcome: CaseOutcome) -> Table:
    """One case for people."""
    shown = Table(
        "contender",
        "measured",
        Column("seconds", justify="right"),
        Column("least to most", justify="right"),
        Column("x iris library", justify="right"),
        Column("x iris process", justify="right"),
        Column("CPU s", justify="right"),
        Column("peak MB", justify="right"),
        Column("output MB", justify="right"),
        "remark",
        title=f"{outcome.name}: {outcome.title}",
        title_justify="left",
        box=None,
    )
    for result in outcome.results:
        shown.add_row(*_cells(result))
    return shown


def _cells(result: Result) -> Iterable[str]:
    yield result.contender
    yield result.clock
    if result.median_s is None:
        yield from [""] * 7
    else:
        yield f"{result.median_s:.2f}"
        yield f"{min(result.seconds):.2f} to {max(result.seconds):.2f}"
        yield from (f"{result.ratios[clock]:.2f}" if clock in result.ratios else "" for clock in Clock)
        yield f"{result.cpu_s:.1f}"
        yield f"{result.peak_mb:.0f}"
        yield f"{result.output_mb:.1f}"
    yield result.problem


def as_json(outcomes: Sequence[CaseOutcome], facts: dict[str, Any], runs: int) -> dict[str, Any]:
    """Everything for programs."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "made_of": {key: value for key, value in facts.items() if key != "version"},
        "runs": runs,
        "cases": [
            {
                "name": outcome.name,
                "title": outcome.title,
                "results": [{**asdict(result), "median_s": result.median_s} for result in outcome.results],
            }
            for outcome in outcomes
        ],
    }


def machine() -> dict[str, Any]:
    """The class of machine, nothing that names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of everything that was measured."""
    found = {package: metadata.version(package) for package in PACKAGES if _is_installed(package)}
    pinned = (ROOT / "benchmarks" / "peers.txt").read_text().split()
    return found | dict(line.split("==") for line in pinned)


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
