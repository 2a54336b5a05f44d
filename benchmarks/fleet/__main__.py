"""`python -m benchmarks.fleet`: what a study costs and when its result is there, by settings; draws both.

With `--manifests FOLDER` the stages are those of a site's own runs (its job folders).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .assumptions import AIMED_AT, MEASURED, ONE_MACHINE, SOONER, TAKERS, TODAY, Price, Stages
from .manifests import stages_in
from .plots import draw_cost, draw_time
from .scenarios import BACKLOG, Point, by_studies_a_day, of_a_backlog, of_many_sites

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SHOWN = (1, 20, 100, 500)
SHARES = (1 / 3, 1 / 2, 2 / 3)

out = Console(highlight=False, markup=False, width=200, soft_wrap=True)


def fleet(
    manifests: Annotated[
        Path | None, typer.Option(help="A folder with manifests of a site's own runs")
    ] = None,
    load_s: Annotated[float, typer.Option(help="Seconds until a process has its networks")] = MEASURED.load_s,
    pictures: Annotated[Path, typer.Option(help="Where to draw")] = PICTURES,
) -> None:
    """Simulate, print tables, draw."""
    stages = stages_in(manifests, load_s) if manifests else MEASURED
    price = Price()
    curves = by_studies_a_day(stages, price)
    draw_cost(curves, pictures / "cost.png")
    draw_time(curves, pictures / "time.png")
    several = (TODAY, TAKERS, ONE_MACHINE)
    for each in (stages, AIMED_AT):
        for line in (
            *_head(each, price),
            *_by_day(by_studies_a_day(each, price)),
            *_by_day(by_studies_a_day(each, price, SOONER), "seconds"),
            *_by_price(each),
            *_table(f"{BACKLOG} at once", of_a_backlog(each, price, several)),
            *_table("20 sites, 400 a day", of_many_sites(each, price, several)),
        ):
            out.print(line)


def _head(stages: Stages, price: Price) -> Iterator[str]:
    yield f"seconds of a process {stages.load_s:.1f}, before {stages.before_s:.1f}, segmented"
    yield f"{stages.segment_s:.1f}, behind {stages.behind_s:.1f}; {price.usd_per_hour:.3f} USD an hour"
    yield ""


def _by_day(curves: Mapping[str, Sequence[Point]], unit: str = "minutes") -> Iterator[str]:
    title = f"USD a study; {unit} to the result, median and 95 of 100"
    yield from _rows(title, *(f"{studies} a day" for studies in SHOWN))
    for name, points in curves.items():
        shown = [point for point in points if point.studies in SHOWN]
        yield _row(name, *(f"{point.usd:.4f}; {_waited(point, unit)}" for point in shown))
    yield ""


def _by_price(stages: Stages) -> Iterator[str]:
    yield from _rows("USD a study where Spot is", *(f"{share:.0%} of on-demand" for share in SHARES))
    by_share = [by_studies_a_day(stages, Price(spot_share=share)) for share in SHARES]
    for name in by_share[0]:
        for studies in (20, 100):
            points = [point for curves in by_share for point in curves[name] if point.studies == studies]
            yield _row(f"{name}, {studies} a day", *(f"{point.usd:.4f}" for point in points))
    yield ""


def _table(title: str, points: Sequence[Point]) -> Iterator[str]:
    what = ("USD a study", "minutes, median and 95 of 100", "machines", "containers", "taken away")
    yield from _rows(title, *what)
    for point in points:
        counts = (str(each) for each in (point.machines, point.containers, point.interruptions))
        yield _row(point.settings, f"{point.usd:.4f}", _waited(point, "minutes"), *counts)
    yield ""


def _waited(point: Point, unit: str) -> str:
    of_unit_s = {"seconds": 1, "minutes": 60}[unit]
    return f"{point.median_s / of_unit_s:.0f}, {point.p95_s / of_unit_s:.0f}"


def _rows(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield "| --- " * len(titles) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(fleet)
