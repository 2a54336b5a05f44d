"""`iris demo` as a person runs it: a process, its exit code, what it prints and what it leaves."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from pydicom import dcmread

from converter.derived.series import MadeUpStudy, stack_of, write_slices
from gateway.adapters.dicom.peer import NotReached, echo, parse_peer
from tests.quick_start import IRIS, quick_python

DEADLINE_S = 120.0
STEPS = [
    "PACS", "Gateway", "In the PACS", "Received", "Complete", "Chosen", "Converted", "Staged", "Started",
    "Segmented", "Encoded", "Delivered", "Delivered", "Fetched back", "Drawn",
]  # fmt: skip


class Demo:
    """A running demo."""

    def __init__(self, folder: Path, python: str, *arguments: str) -> None:
        self.folder = folder
        self._said = folder.with_suffix(".out")
        with self._said.open("wb") as stream:
            self.process = subprocess.Popen(
                [python, "-m", "gateway.cli", "demo", "--folder", str(folder), *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "200", "IRIS_DICOM__PORT": "1"},
            )

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def wait_until_said(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.said)
        assert match, self.said
        return match[1]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos, by default with all loaded that they need, and ends those that still run."""
    started: list[Demo] = []

    def start(*arguments: str, python: str = quick_python(IRIS)) -> Demo:
        started.append(Demo(tmp_path / "demo", python, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(60)


def _steps(said: str) -> list[str]:
    return [line[4:18].strip() for line in said.splitlines() if line.startswith("  ✓ ")]


def test_demo_as_it_comes_brings_the_segmentation_of_the_real_study_back(demo: Callable[..., Demo]) -> None:
    began = time.monotonic()
    running = demo(python=sys.executable)
    assert running.wait() == 0, running.said
    assert time.monotonic() - began < 120
    assert _steps(running.said) == STEPS
    with Image.open(running.folder / "picture.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
    page = Path(running.found(r"(?m)^Summary +(\S+\.png)"))
    with Image.open(page) as picture:
        assert picture.size == (1200, 1600)
        assert len(picture.getcolors(1 << 24)) > 1000
    (fetched,) = (running.folder / "fetched").glob("*.dcm")
    segmentation = dcmread(fetched)
    assert segmentation.Modality == "SEG"
    names = {segment.SegmentLabel for segment in segmentation.SegmentSequence}
    assert names == {"Bone", "Fat", "Soft tissue", "Gas"}
    volume_ml = float(running.found(r"soft.tissue\W+([\d,.]+) ml").replace(",", ""))
    assert 2000 < volume_ml < 2600  # 38 mm of a trunk, with arms


def test_demo_with_lines_of_ones_own_shows_what_they_say(
    demo: Callable[..., Demo], small_study: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[seg]\ntype = "labelmap"\nseries_description = "mine: {task}"\n')
    running = demo("--study", str(small_study), "--pacs", "builtin", "--config", str(own))
    assert running.wait() == 0, running.said
    (fetched,) = (running.folder / "fetched").glob("*.dcm")
    assert (dcmread(fetched).SeriesDescription, dcmread(fetched).SegmentationType) == (
        "mine: tissue",
        "LABELMAP",
    )


def test_demo_with_a_line_that_is_no_key_ends_with_the_sentence(
    demo: Callable[..., Demo], small_study: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[enigne]\nname = 'threshold'\n")
    running = demo("--study", str(small_study), "--pacs", "builtin", "--config", str(own))
    assert running.wait() == 1
    assert "enigne: unknown key" in running.said


@pytest.mark.parametrize(
    "pacs",
    ["builtin", pytest.param("orthanc", marks=[pytest.mark.peer("orthanc"), pytest.mark.long])],
)
def test_demo_that_is_kept_runs_until_it_is_told_to_end_and_leaves_no_process(
    demo: Callable[..., Demo], small_study: Path, pacs: str
) -> None:
    running = demo("--keep", "--study", str(small_study), "--pacs", pacs)
    running.wait_until_said("It keeps running")
    page = running.found(r"Status page +(http://\S+)/\?code=")
    assert httpx.get(f"{page}/healthz", trust_env=False).status_code == 200
    peers = [
        parse_peer(found) for found in re.findall(r"^(?:Gateway|PACS)\s+(\S+@[\d.:]+)", running.said, re.M)
    ]
    assert len(peers) == 2
    for peer in peers:
        echo(peer, "DEMOPACS")
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0, running.said
    for peer in peers:
        with pytest.raises(NotReached):
            echo(peer, "DEMOPACS")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{page}/healthz", trust_env=False)


def test_demo_interrupted_in_the_middle_ends_what_it_started(
    demo: Callable[..., Demo], small_study: Path
) -> None:
    running = demo("--study", str(small_study), "--pacs", "builtin")
    running.wait_until_said("✓ Gateway")
    gateway = parse_peer(running.found(r"Gateway +(IRIS@\S+)"))
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 130, running.said
    with pytest.raises(NotReached):
        echo(gateway, "DEMOPACS")


def test_demo_with_a_study_that_no_rule_takes_fails_with_the_reason(
    demo: Callable[..., Demo], data: Path, tmp_path: Path
) -> None:
    write_slices(stack_of(data / "mr-3mm" / "mr.nii.gz"), tmp_path / "mr", MadeUpStudy(modality="MR"))
    running = demo("--study", str(tmp_path / "mr"), "--pacs", "builtin")
    assert running.wait() == 1
    assert "no rule takes any of its series" in running.said
    assert "Modality is not CT" in running.said


def test_demo_in_a_folder_of_somebody_else_touches_nothing(demo: Callable[..., Demo], tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").touch()
    running = demo()
    assert running.wait() == 1
    assert "no demo made" in running.said
    assert [entry.name for entry in (tmp_path / "demo").iterdir()] == ["thesis.txt"]
