"""The auto-routing scripts of docs/pacs.md, run by a real Orthanc."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.rejections import rejection_note

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


def _each_image() -> str:
    text = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```lua\n(.*?)```", text, re.DOTALL)
    return str(found)


def _until(condition: Callable[[], object], router: Orthanc) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, router.log.read_text()[-3000:]
        time.sleep(0.05)


class Router:
    """An Orthanc with a script, which sends to a port."""

    def __init__(self, folder: Path, port: int, stable_age_s: int = 1) -> None:
        program = find_orthanc()
        assert program
        self._folder = folder
        self._script = folder / "to-iris.lua"
        self.not_arrived = folder / "not-at-iris"
        self.orthanc = Orthanc(
            folder / "router",
            program,
            configuration={
                "LuaScripts": [str(self._script)],
                "StableAge": stable_age_s,
                "DicomModalities": {
                    "iris": ["IRIS", "127.0.0.1", port],
                    "sender": ["DEMOPACS", "127.0.0.1", 104],
                },
            },
        )

    def start(self, script: str | None = None) -> None:
        """Start it; without a script with that of examples/, which is less patient."""
        bell = self._folder / "to-iris.curl"
        if script is None:
            script = (ROOT / "examples" / "orthanc" / "to-iris.lua").read_text(encoding="utf-8")
            for before, after in (
                ("/var/lib/orthanc/not-at-iris", str(self.not_arrived)),
                ("/etc/orthanc/to-iris.curl", str(bell)),
                ("PAUSE_S = 30", "PAUSE_S = 1"),
            ):
                assert before in script
                script = script.replace(before, after)
        self._script.write_text(script, encoding="utf-8")
        self.orthanc.start()
        text = (ROOT / "examples" / "orthanc" / "to-iris.curl").read_text(encoding="utf-8")
        address, credentials = self.orthanc.rest
        text = text.replace("http://127.0.0.1:8042", address).replace("NAME:PASSWORD", ":".join(credentials))
        bell.write_text(text, encoding="utf-8")

    def send(self, files: list[Path]) -> None:
        send_files(files, self.orthanc.peer, "DEMOPACS")

    def failures(self) -> int:
        """How often it could not send."""
        return self.orthanc.log.read_text().count("Connection refused")


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    routers = []

    def make(port: int, **given: Any) -> Router:
        routers.append(Router(tmp_path, port, **given))
        return routers[-1]

    yield make
    for router in routers:
        router.orthanc.stop()


@pytest.fixture
def files(demo_study: Path) -> list[Path]:
    return sorted(demo_study.glob("*.dcm"))[:5]


def _uids(files: list[Path]) -> set[str]:
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files}


def _arrived(gate: Any) -> set[str]:
    return {row.sop_instance_uid for row in gate.instances()}


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("script", [None, _each_image()], ids=["whole studies", "each image"])
def test_orthanc_with_the_documented_script_forwards_a_study_as_it_is_stored(
    gate: Any, make_router: Callable[..., Router], files: list[Path], script: str | None
) -> None:
    router = make_router(gate.address[1])
    router.start(script)
    router.send(files)
    _until(lambda: _arrived(gate) == _uids(files), router.orthanc)
    assert {row.transfer_syntax_uid for row in gate.instances()} == {JPEG2000Lossless}
    if script is None:
        _until(lambda: router.not_arrived.read_text() == "", router.orthanc)
        released = [line for line in gate.timeline() if line.event == "association.released"]
        assert len(released) == 1


@pytest.mark.peer("orthanc")
def test_study_that_became_stable_while_the_gateway_was_down_arrives_afterwards(
    make_gate: Callable[..., Any],
    make_router: Callable[..., Router],
    files: list[Path],
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    router = make_router(port)
    router.start()
    router.send(files)
    _until(lambda: router.failures() >= 3, router.orthanc)
    gate = make_gate(port=port)
    _until(lambda: _arrived(gate) == _uids(files), router.orthanc)
    _until(lambda: router.not_arrived.read_text() == "", router.orthanc)


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("stable_age_s", [1, 600], ids=["stable", "still coming"])
def test_study_that_had_not_arrived_when_orthanc_ended_arrives_afterwards(
    make_gate: Callable[..., Any],
    make_router: Callable[..., Router],
    files: list[Path],
    free_port: Callable[[], int],
    stable_age_s: int,
) -> None:
    port = free_port()
    router = make_router(port, stable_age_s=stable_age_s)
    router.start()
    router.send(files)
    if stable_age_s == 1:
        _until(router.failures, router.orthanc)
    _until(router.not_arrived.exists, router.orthanc)
    router.orthanc.stop()
    gate = make_gate(port=port)
    router.start()
    _until(lambda: _arrived(gate) == _uids(files), router.orthanc)
    _until(lambda: router.not_arrived.read_text() == "", router.orthanc)


@pytest.mark.peer("orthanc")
def test_study_that_was_deleted_before_it_arrived_is_given_up(
    make_gate: Callable[..., Any],
    make_router: Callable[..., Router],
    files: list[Path],
    free_port: Callable[[], int],
) -> None:
    router = make_router(free_port())
    router.start()
    router.send(files)
    _until(router.failures, router.orthanc)
    address, auth = router.orthanc.rest
    (study,) = requests.get(f"{address}/studies", auth=auth, timeout=60).json()
    assert requests.delete(f"{address}/studies/{study}", auth=auth, timeout=60).ok
    _until(lambda: router.not_arrived.read_text() == "", router.orthanc)


@pytest.mark.peer("orthanc")
def test_rejection_note_goes_the_way_of_the_images_that_it_names(
    gate: Any, make_router: Callable[..., Router], files: list[Path], tmp_path: Path
) -> None:
    router = make_router(gate.address[1])
    router.start()
    rejection_note([dcmread(files[0])]).save_as(tmp_path / "note.dcm", enforce_file_format=True)
    router.send([*files, tmp_path / "note.dcm"])
    _until(lambda: _arrived(gate) == _uids([*files, tmp_path / "note.dcm"]), router.orthanc)
