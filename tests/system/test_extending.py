"""What CONTRIBUTING says on adding to the house, done as it stands there to a copy, and a study sent through.

The copy gets an engine, an output, a destination and an object store. Its own tests pass then, and they name
the place where one is left out.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.guide import Addition, additions, copy_of_the_checkout

TIMEOUT_S = 240
CONSISTENCY = (
    "tests/unit/test_catalogues.py",
    "tests/unit/batch_job/test_catalogue.py",
    "tests/unit/test_documentation.py",
    "tests/unit/delivery/test_carriers.py",
    "tests/integration/test_object_stores.py::test_every_store_of_the_catalogue_is_tried",
)
"""The tests that say where a kind was forgotten."""
ADDITIONS = additions()
PLACES = [
    pytest.param(each, id=f"{heading}-{number}-{Path(each.path).stem}")
    for heading, places in ADDITIONS.items()
    for number, each in enumerate(places)
    if not (each.is_new_file and each.path.startswith("tests/"))
]


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the copy's."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def _extended(folder: Path, but: Addition | None = None) -> Path:
    copy = copy_of_the_checkout(folder)
    for places in ADDITIONS.values():
        for each in places:
            if each != but:
                each.make(copy)
    return copy


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with everything that the guide adds."""
    return _extended(tmp_path_factory.mktemp("copy"))


def test_guide_adds_one_of_each_kind_with_a_test() -> None:
    assert list(ADDITIONS) == ["An engine", "An output", "A destination", "An object store"]
    for places in ADDITIONS.values():
        assert any(each.path.startswith("tests/") for each in places)
        assert any(each.path == "docs/operator.md" for each in places)


@pytest.mark.long
def test_copy_with_all_that_the_guide_adds_passes_its_tests_and_linter(extended: Path) -> None:
    new = [each.path for places in ADDITIONS.values() for each in places if each.is_new_file]
    tests = [path for path in new if path.startswith("tests/")]
    done = _run(extended, "pytest", "-q", "-p", "no:cacheprovider", *CONSISTENCY, *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    python = [path for path in new if path.endswith(".py")]
    for way in (("check",), ("format", "--check")):
        linted = _run(extended, "ruff", *way, *python)
        assert linted.returncode == 0, linted.stdout + linted.stderr


def test_study_goes_through_what_the_guide_adds(extended: Path, small_study: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    own = tmp_path / "own.toml"
    own.write_text(
        f"""
        [engine]
        name = "bright"
        [objects]
        backend = "share"
        share = "{tmp_path / "share"}"
        [[destination]]
        name = "list"
        listing = "{tmp_path / "list.txt"}"
        [[rule]]
        name = "ct"
        outputs = ["seg", "middle"]
        """
    )
    demo = tmp_path / "demo"
    options = ("--study", str(small_study), "--pacs", "builtin", "--config", str(own), "--folder", str(demo))
    done = _run(extended, "gateway.cli", "demo", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Also came back OT: CHECK: IRIS bright (research)" in done.stdout  # it has a flag

    (fetched,) = (demo / "fetched").glob("*.dcm")
    (segment,) = dcmread(fetched).SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Histogram Analysis"
    assert segment.TrackingID == "bright_region"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "3138006"
    results = {path.name for path in (demo / "iris-data" / "results").rglob("*.dcm")}
    assert len(results) == 2
    assert set((tmp_path / "list.txt").read_text().split()) == results
    assert list((tmp_path / "share" / "jobs").glob("*/manifest.json"))


@pytest.mark.long
@pytest.mark.parametrize("left_out", PLACES)
def test_place_that_is_left_out_is_named(left_out: Addition, tmp_path: Path) -> None:
    copy = _extended(tmp_path / "copy", but=left_out)
    done = _run(copy, "pytest", "-q", "-p", "no:cacheprovider", *CONSISTENCY)
    assert done.returncode != 0
    assert Path(left_out.path).stem in done.stdout
