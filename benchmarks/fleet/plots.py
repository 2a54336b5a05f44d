"""Draws docs/pictures/cost.png and docs/pictures/time.png."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # it would look for a screen

from .assumptions import NCI_USD
from .scenarios import Point

TARGETS = ((20, 0.008), (100, 0.004))
"""Studies a day, and USD a study that are to be reached."""
COLOURS = ("#5b6270", "#c2571a", "#d99a2b", "#2a7f8e", "#3c5fa8", "#7a4a9e")


def draw_cost(curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """USD a study by studies a day."""
    figure, axes = _figure("USD a study")
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=True):
        usd = [point.usd for point in points]
        axes.loglog([point.studies for point in points], usd, "o-", ms=3, color=colour, label=name)
    axes.axhline(NCI_USD, color="#999999", lw=1, ls=":")
    axes.text(1, NCI_USD * 1.05, "NCI: 126,000 CTs, 0.008 USD each", color="#666666", fontsize=8)
    for studies, wanted in TARGETS:
        axes.plot([studies], [wanted], "*", ms=13, color="#b3202c", zorder=5)
        axes.annotate(
            f"wanted: {wanted}", (studies, wanted), (4, -14), textcoords="offset points", fontsize=8
        )
    axes.set_ylim(bottom=0.001)
    _plain_numbers(axes, (0.002, 0.004, 0.008, 0.02, 0.05, 0.1, 0.2))
    _save(figure, axes, path)


def draw_time(curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Minutes to the result, median and 95th, by studies a day."""
    figure, axes = _figure("minutes to the result: median, and 95 of 100 (dashed)")
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=True):
        studies = [point.studies for point in points]
        axes.loglog(studies, [each.median_s / 60 for each in points], "o-", ms=3, color=colour, label=name)
        axes.loglog(studies, [each.p95_s / 60 for each in points], "--", lw=1, color=colour)
    _plain_numbers(axes, (1, 2, 5, 10, 30, 60, 240, 720, 1440))
    _save(figure, axes, path)


def _figure(what: str) -> tuple[Any, Any]:
    figure, axes = pyplot.subplots(figsize=(9.2, 5.4), dpi=110)
    axes.set_xlabel("studies a day")
    axes.set_ylabel(what)
    axes.grid(visible=True, which="major", color="#dddddd", lw=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _plain_numbers(axes: Any, ticks: Sequence[float]) -> None:
    for axis, places in ((axes.yaxis, ticks), (axes.xaxis, (1, 2, 5, 10, 20, 50, 100, 200, 500))):
        axis.set_major_locator(matplotlib.ticker.FixedLocator(places))
        axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(matplotlib.ticker.NullLocator())


def _save(figure: Any, axes: Any, path: Path) -> None:
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
