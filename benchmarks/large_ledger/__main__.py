"""`python -m benchmarks.large_ledger --studies 20000 --instances 50 FOLDER`: makes ledgers there; measures.

A ledger that lies in the folder already is taken as it is. `--only-make` makes the large one and ends.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.outcome import machine
from benchmarks.programs import ProgramFailed

from .make import SCHEMA, Size, make_large_ledger
from .measure import FIGURES, LONG_TIMELINE, ROUNDS, STARTS, Outcome, measure

out = Console(highlight=False, markup=False, width=160)


def large_ledger(
    folder: Annotated[Path, typer.Argument(help="Where the ledgers lie, or are made")],
    studies: Annotated[int, typer.Option(min=1)] = 20_000,
    instances: Annotated[int, typer.Option(min=2, help="Of each study")] = 50,
    page: Annotated[Path | None, typer.Option(help="Write what was found as Markdown")] = None,
    only_make: Annotated[bool, typer.Option("--only-make", help="Make the large one and end")] = False,
) -> None:
    """Measure a gateway that knows very many studies beside one that knows few and one that knows none."""
    size = Size(studies, instances, LONG_TIMELINE)
    if only_make:
        out.print(str(make_large_ledger(folder, size)))
        return
    try:
        outcome = measure(folder.absolute(), size, out.print)
    except ProgramFailed as failure:
        out.print(f"the gateway: {failure}")
        raise typer.Exit(1) from None
    text = "\n".join(_page(outcome)) + "\n"
    out.print(text)
    if page is not None:
        page.write_text(text, encoding="utf-8")


def _page(outcome: Outcome) -> Iterator[str]:
    size, on = outcome.size, machine()
    yield "# A ledger of very many studies"
    yield ""
    yield (
        f"Made by `python -m benchmarks.large_ledger --studies {size.studies} --instances {size.instances} "
        f"--page benchmarks/large_ledger.md FOLDER` on {datetime.now(UTC).date()}: medians of {STARTS} "
        f"starts and {ROUNDS} rounds on {on['cpus']} cores ({on['processor']}, {on['system']}, "
        f"Python {on['python']}), in processor time of the gateway's process."
    )
    yield ""
    yield (
        f"The large ledger knows {size.studies:,} studies of {size.instances} instances, "
        f"{size.studies * size.instances:,} in all, and takes {outcome.ledger_mb:,.0f} MB. It was made with "
        f"schema {SCHEMA}; the first start, which backs it up and brings it up to date, took "
        f"{outcome.upgrade_cpu_s:.0f} s of processor time. The ratio is that of the large ledger to the "
        "empty one, or to one of few studies where an empty one has nothing to show."
    )
    yield ""
    yield "| | unit | no studies | few studies | many studies | ratio |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, figure in FIGURES.items():
        cells = [_cell(outcome.figures[of].get(name)) for of in ("none", "few", "many")]
        yield f"| {figure.what} | {figure.unit} | {' | '.join(cells)} | {outcome.ratios[name]:.2f} |"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    typer.run(large_ledger)
