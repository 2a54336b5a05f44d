"""The benchmarks on a small study: everybody who is installed does the work, and does it right; no times."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
NOT_INSTALLED = "not installed"
pytestmark = pytest.mark.long
"""A change of how objects are written shows in the faster tests, too."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bench")
    written, page = folder / "outcome.json", folder / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--small", "--runs", "1", "--folder", str(folder)]
    ran = subprocess.run(
        [*command, "--json", str(written), "--page", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {**json.loads(written.read_text()), "page": page.read_text()}


def results(outcome: Any) -> list[tuple[str, Any]]:
    return [(case["name"], result) for case in outcome["cases"] for result in case["results"]]


def test_benchmarks_of_a_small_study_measure_every_case_of_the_issue(outcome: Any) -> None:
    names = [case["name"] for case in outcome["cases"]]

    assert names == ["encode-binary", "encode-labelmap", "read", "decode", "convert"]
    assert outcome["made_of"]["structures"] > 10


def test_benchmarks_of_a_small_study_find_every_output_right(outcome: Any) -> None:
    problems = [
        (case, result["contender"], result["problem"])
        for case, result in results(outcome)
        if result["problem"] and not result["problem"].startswith(NOT_INSTALLED)
    ]

    assert problems == []


def test_benchmarks_of_a_small_study_say_time_memory_and_size_of_whoever_ran(outcome: Any) -> None:
    ran = [result for _, result in results(outcome) if result["seconds"]]

    assert {result["contender"] for result in ran} >= {"iris", "highdicom", "dcmqi", "lower bound"}
    for result in ran:
        assert len(result["seconds"]) == 1
        assert min(result["median_s"], result["cpu_s"], result["peak_mb"], result["output_mb"]) > 0


def test_benchmarks_of_a_small_study_put_every_contender_in_relation_to_ours(outcome: Any) -> None:
    for case in outcome["cases"]:
        ours = {
            result["clock"]
            for result in case["results"]
            if result["contender"] == "iris" and result["seconds"]
        }
        for result in case["results"]:
            if result["seconds"]:
                assert set(result["ratios"]) == ours & set(result["against"])


def test_benchmarks_of_a_small_study_write_a_page_with_every_result(outcome: Any) -> None:
    rows = [line for line in outcome["page"].splitlines() if line.startswith("| ")]

    for case in outcome["cases"]:
        assert f"## {case['name']}:" in outcome["page"]
    assert len(rows) == len(results(outcome)) + 2 * len(outcome["cases"])


def test_benchmarks_of_a_small_study_say_what_the_lower_bounds_would_have_beside_each_ratio(
    outcome: Any,
) -> None:
    for name in ("encode-binary", "convert"):
        _, _, section = outcome["page"].partition(f"## {name}:")
        table = section.partition("\n## ")[0]
        assert "lower bound has by library these ratios: " in table
        assert "lower bound has by process these ratios: " in table
