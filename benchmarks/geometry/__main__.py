"""Writes the tables of docs/converter.md: `python -m benchmarks.geometry [--peers]`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.geometry.cases import CASES
from benchmarks.geometry.ours import Outcome, outcome
from benchmarks.geometry.peers import measure
from benchmarks.geometry.table import about_peers, outcome_table, put, vendor_table
from benchmarks.geometry.vendors import vendor_rows


def main(
    peers: Annotated[bool, typer.Option("--peers", help="Measure the peers anew (minutes)")] = False,
    totalsegmentator: Annotated[
        Path | None, typer.Option(help="The Python of an environment with TotalSegmentator and highdicom")
    ] = None,
    moose: Annotated[Path | None, typer.Option(help="The Python of an environment with moosez")] = None,
    boa: Annotated[
        Path | None, typer.Option(help="The Python `worker/bin/python` of what beside_boa prepared")
    ] = None,
    only: Annotated[str, typer.Option(help="Measure the peers on cases with this in their name only")] = "",
) -> None:
    """Measure the converter on every case and write the tables."""
    if peers:
        given = {"totalsegmentator": totalsegmentator, "moose": moose, "boa": boa}
        measure({way: python for way, python in given.items() if python is not None}, typer.echo, only)
    put("outcomes", outcome_table({case.name: _outcome(case.name) for case in CASES}))
    put("peers", about_peers())
    with TemporaryDirectory(prefix="iris-geometry-") as name:
        put("vendors", vendor_table(vendor_rows(Path(name))))


def _outcome(name: str) -> Outcome:
    case = next(case for case in CASES if case.name == name)
    with TemporaryDirectory(prefix="iris-geometry-") as folder:
        found = outcome(case, Path(folder))
    typer.echo(f"{name}: {found.judged} | {found.landed}")
    return found


if __name__ == "__main__":
    typer.run(main)
