"""The outcome of a run as the page `results.md`, so that nobody copies figures by hand."""

from collections.abc import Iterator
from typing import Any

from benchmarks.cases import IRIS, LOWER_BOUND

COLUMNS = (
    "contender",
    "measured",
    "seconds",
    "x library",
    "x process",
    "CPU s",
    "peak MB",
    "output MB",
    "remark",
)


def results_page(document: dict[str, Any]) -> str:
    """Make the page of what `outcome.as_json` gives."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    machine, made_of = document["machine"], document["made_of"]
    yield "# Results of the last run"
    yield ""
    yield (
        f'Made by `make bench ARGS="--page benchmarks/results.md"` on {document["date"]}: medians of '
        f"{document['runs']} runs on {machine['cpus']} cores ({machine['processor']}, {machine['system']}, "
        f"Python {machine['python']}). The study: {made_of['slices']} slices of {made_of['rows']} x "
        f"{made_of['columns']}, {made_of['structures']} structures in {made_of['segment_frames']:,} pairs of "
        "segment and slice. [README.md](README.md) says what is measured and what each one does."
    )
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + "."
    for case in document["cases"]:
        yield from ("", f"## {case['name']}: {case['title']}", "")
        yield f"| {' | '.join(COLUMNS)} |"
        yield "|" + " --- |" * len(COLUMNS)
        for result in case["results"]:
            yield f"| {' | '.join(_cells(result))} |"
        yield from _limits(case["results"])


def _limits(results: list[dict[str, Any]]) -> Iterator[str]:
    """Which ratios a program would have that takes no longer than the lower bound."""
    for bound in results:
        if bound["contender"] != LOWER_BOUND or not bound["median_s"]:
            continue
        clock = bound["clock"]
        others = [
            (other["contender"], other["median_s"] / bound["median_s"], other["ratios"][clock])
            for other in results
            if clock in other["ratios"] and other["contender"] not in (IRIS, LOWER_BOUND)
        ]
        if others:
            yield ""
            said = ", ".join(f"{name} {most:.1f} (ours {ours:.1f})" for name, most, ours in others)
            yield f"What takes no longer than the lower bound has by {clock} these ratios: {said}."


def _cells(result: dict[str, Any]) -> Iterator[str]:
    yield result["contender"]
    yield result["clock"]
    if result["median_s"] is None:
        yield from [""] * 6
    else:
        yield f"{result['median_s']:.2f} ({min(result['seconds']):.2f} to {max(result['seconds']):.2f})"
        for clock in ("library", "process"):
            ratio = result["ratios"].get(clock)
            yield "" if ratio is None else f"{ratio:.2f}"
        yield f"{result['cpu_s']:.1f}" if result["cpu_s"] else ""
        yield f"{result['peak_mb']:.0f}"
        yield f"{result['output_mb']:.1f}"
    yield result["problem"]
