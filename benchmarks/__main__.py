"""Measures the converter beside its peers: `python -m benchmarks --help`, or `make bench`."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from compileall import compile_dir
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.case_files import CaseFiles
from benchmarks.cases import CASES, Case, Clock, Contender
from benchmarks.measuring import ROOT, ContenderFailed, Run, read_through, run
from benchmarks.outcome import CaseOutcome, Result, as_json, machine, table, versions, with_ratios
from benchmarks.results_page import results_page

out = Console(highlight=False, markup=False, width=140)
err = Console(highlight=False, markup=False, stderr=True, width=140)
NAMES = [case.name for case in CASES]


def bench(
    runs: Annotated[int, typer.Option(min=1, help="Runs of each contender, taken in turns")] = 3,
    case: Annotated[list[str] | None, typer.Option(help=f"Only this one: {', '.join(NAMES)}")] = None,
    contender: Annotated[list[str] | None, typer.Option(help="Only this one and iris")] = None,
    small: Annotated[bool, typer.Option("--small", help="A small study: tries the machinery")] = False,
    folder: Annotated[Path, typer.Option(help="Made study and outputs")] = ROOT / "build" / "bench",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything as JSON")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write the tables as Markdown")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Let everybody use only so many cores")] = None,
) -> None:
    """Run every case and print its table."""
    if unknown := set(case or ()) - set(NAMES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    if cpus is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
    files = CaseFiles(folder.absolute() / ("small" if small else "full"))
    _prepare(files, small)
    outcomes = []
    for chosen in CASES:
        if not case or chosen.name in case:
            outcomes.append(_measured(chosen, files, runs, contender))
            out.print(table(outcomes[-1]), "")
    about = [f"{name} {version}" for name, version in versions().items()]
    out.print(", ".join([*(f"{key} {value}" for key, value in machine().items()), *about]))
    document = as_json(outcomes, files.read_facts(), runs)
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=2) + "\n")
    if page is not None:
        page.write_text(results_page(document))


def _prepare(files: CaseFiles, small: bool) -> None:
    if not files.read_facts():
        out.print("making the study ...")
        options = ["--small"] if small else []
        command = [sys.executable, "-m", "benchmarks.case_files", str(files.folder), *options]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for package in ("gateway", "converter", "batch_job"):  # as the installation of a wheel does it
        compile_dir(ROOT / package, quiet=1)
    read_through(files.folder)


def _measured(case: Case, files: CaseFiles, runs: int, only: list[str] | None) -> CaseOutcome:
    """All contenders in turns, A B C, A B C: what disturbs the machine disturbs everybody."""
    competing = [one for one in case.contenders if not only or one.name in (*only, "iris")]
    found: dict[Contender, list[Run]] = {one: [] for one in competing}
    problems: dict[Contender, str] = {
        one: "not installed; `make bench` does it" for one in competing if not one.is_installed()
    }
    for number in range(runs):
        for one in competing:
            if not found[one] and one in problems:
                continue
            folder = files.folder.with_name(f"{files.folder.name}-out") / "output"
            try:
                found[one].append(run(one.words(files, folder), folder))
                err.print(
                    f"{case.name} {number + 1}/{runs} {one.name}: {found[one][-1].process.wall_s:.1f} s"
                )
                if number == 0 and (wrong := _what_is_wrong(one.check or case.check, files, folder)):
                    problems[one] = wrong
            except ContenderFailed as failure:
                problems[one] = str(failure)
    results = [result for one in competing for result in _results(one, found[one], problems.get(one, ""))]
    return with_ratios(case, sorted(results, key=lambda result: list(Clock).index(Clock(result.clock))))


def _what_is_wrong(what: str, files: CaseFiles, folder: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.checking", what, str(files.folder), str(folder)]
    checked = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    try:
        return str(json.loads(checked.stdout.strip().splitlines()[-1])["wrong"])
    except (ValueError, LookupError):
        return "its output cannot be read"


def _results(one: Contender, found: list[Run], problem: str) -> Iterator[Result]:
    for clock in one.clocks:
        both = [each.library if clock is Clock.LIBRARY else each.process for each in found]
        times = [took for took in both if took is not None]
        if not times:
            yield Result(one.name, clock, problem=problem)
            continue
        yield Result(
            contender=one.name,
            clock=clock,
            seconds=tuple(took.wall_s for took in times),
            cpu_s=statistics.median(took.cpu_s for took in times),
            peak_mb=statistics.median(each.peak_mb for each in found),
            output_mb=found[-1].output_mb,
            problem=problem,
            against=tuple(Clock) if one.is_program else (clock,),
        )


if __name__ == "__main__":
    typer.run(bench)
