"""`iris prove` as a site's person runs it: a gateway, a real PACS with a rule of its own, one command."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.dicom.peer import NotReached, Peer, echo, parse_peer
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.conftest import find_dicomweb
from tests.quick_start import IRIS, quick_python

EACH_IMAGE = """
function OnStoredInstance(instanceId, tags, metadata, origin)
   if tags['Modality'] == 'CT' and origin['RequestOrigin'] ~= 'Lua' then
      SendToModality(instanceId, 'iris')
   end
end
"""
"""The second script of docs/pacs.md."""
STATIONS = (
    "Gateway", "PACS", "Sent", "Kept", "Routed", "Images unchanged", "Chosen", "Segmented", "Delivered",
    "Results kept", "Fetched", "Results unchanged", "Voxels", "Forms", "Duplicates", "Commitment", "Removed",
)  # fmt: skip


def proven(world: Any, peer: Peer, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command beside a gateway."""
    command = [quick_python(IRIS), "-m", "gateway.cli", "prove", "--to", str(peer), "--wait-s", "60"]
    config = world.folder / "iris.toml"
    return subprocess.run(
        [*command, "--config", str(config), *options],
        capture_output=True,
        text=True,
        cwd=world.folder,
        env={**os.environ, "COLUMNS": "200"},
        timeout=300,
        check=False,
    )


def passed(said: str) -> list[str]:
    """The stations that it says were passed, or are worth a remark."""
    lines = [line.split(maxsplit=1) for line in said.splitlines() if line.startswith(("  ok ", "  note "))]
    return [next(name for name in STATIONS if words[1].startswith(name)) for words in lines]


@pytest.mark.long
@pytest.mark.peer("orthanc")
def test_prove_with_orthanc_is_green(
    make_world: Callable[..., Any], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, here = free_port(), free_port()
    nodes: dict[str, object] = {"prover": ["PROVER", "127.0.0.1", here]}
    with orthanc_with(tmp_path, iris=["IRIS", "127.0.0.1", port], nodes=nodes) as orthanc:
        world = make_world(("pacs", orthanc.peer.ae_title, orthanc.peer.port), config="commitment = true\n")
        world.start(IRIS_DICOM__PORT=str(port))
        done = proven(world, orthanc.peer, "--listen", f"PROVER:{here}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed(done.stdout) == list(STATIONS)
    assert "all 1612800 voxels of 4 segmentations are right" in done.stdout
    assert "4 results by C-GET" in done.stdout
    assert "it offers storage commitment, and keeps all 4 results for good" in done.stdout
    assert "keeps BINARY, LABELMAP, LABELMAP RLE, SR, RTSTRUCT, SC, PDF" in done.stdout  # these by C-MOVE
    assert (world.folder / "iris-prove.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.long
@pytest.mark.peer("orthanc", "orthanc-dicomweb")
def test_prove_with_orthanc_that_gives_nothing_but_by_dicomweb_is_green(
    make_world: Callable[..., Any], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    may = {"AllowGet": False, "AllowMove": False, "AllowFind": False}
    gateway = {"AET": "IRIS", "Host": "127.0.0.1", "Port": port, **may}
    with orthanc_with(tmp_path, iris=gateway, Plugins=[find_dicomweb()]) as orthanc:
        address, (user, password) = orthanc.rest
        (tmp_path / "password").write_text(password)
        stow = f'[[destination]]\nname = "web"\nstow = "{address}/dicom-web"\nuser = "{user}"\n'
        world = make_world(config=f'{stow}password_file = "{tmp_path / "password"}"\n')
        world.start(IRIS_DICOM__PORT=str(port))
        done = proven(world, orthanc.peer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed(done.stdout) == list(STATIONS)
    assert "4 results by WADO-RS" in done.stdout
    assert "keeps BINARY, LABELMAP, LABELMAP RLE, SR, RTSTRUCT, SC, PDF" in done.stdout


@contextmanager
def orthanc_with(
    folder: Path, iris: object, nodes: dict[str, object] | None = None, **more: Any
) -> Iterator[Orthanc]:
    """Orthanc with a rule that sends CT to a gateway; `iris` is how it is entered there."""
    program = find_orthanc()
    assert program
    script = folder / "to-iris.lua"
    script.write_text(EACH_IMAGE)
    modalities = {"iris": iris, **(nodes or {})}
    settings = {"LuaScripts": [str(script)], "DicomModalities": modalities, **more}
    orthanc = Orthanc(folder / "orthanc", program, callers=("IRIS",), configuration=settings)
    orthanc.start()
    try:
        yield orthanc
    finally:
        orthanc.stop()


@contextmanager
def dcmqrscp(folder: Path, port: int, *options: str, host: str = "") -> Iterator[Peer]:
    """The archive of dcmtk, which lets IRIS store and fetch; `host` is a line of its table of hosts."""
    (folder / "storage").mkdir(parents=True)
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"MaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\n{host}\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {folder / 'storage'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    program = shutil.which("dcmqrscp")
    assert program
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, *options, "-c", str(config), str(port)], stdout=log, stderr=log)
    peer = Peer("ARCHIVE", "127.0.0.1", port)
    try:
        _until_it_answers(peer, process)
        yield peer
    finally:
        process.terminate()
        process.wait(20)


def _until_it_answers(peer: Peer, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            echo(peer, "IRIS")
        except NotReached:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("dcmqrscp has ended")


class Watcher(threading.Thread):
    """What a site sets beside an archive without a rule: what has come is sent on by storescu."""

    def __init__(self, storage: Path, to: Peer) -> None:
        super().__init__()
        self._storage, self._to = storage, to
        self.over = threading.Event()

    def run(self) -> None:
        sent: set[Path] = set()
        before: set[Path] = set()
        while not self.over.wait(0.5):
            there = set(self._storage.glob("CT*"))
            if there == before and (new := there - sent):
                sent |= new
                to = ["-aec", self._to.ae_title, self._to.host, str(self._to.port)]
                subprocess.run(
                    ["storescu", "-aet", "ARCHIVE", *to, *map(str, sorted(new))],
                    check=True,
                    timeout=60,
                    env={**os.environ, "TCP_NODELAY": "1"},
                )
            before = there


@pytest.mark.long
@pytest.mark.peer("dcmtk")
def test_prove_with_dcmqrscp_by_c_move_is_green_with_a_rule_and_says_so_without_one(
    make_world: Callable[..., Any], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    here = free_port()
    host = f"prover = (PROVER, 127.0.0.1, {here})"
    with dcmqrscp(tmp_path / "archive", free_port(), "--disable-get", host=host) as peer:
        world = make_world(("pacs", peer.ae_title, peer.port))
        world.start()
        without = proven(world, peer, "--wait-s", "3")
        watcher = Watcher(tmp_path / "archive" / "storage", parse_peer(_address(world)))
        watcher.start()
        try:
            done = proven(world, peer, "--listen", f"PROVER:{here}")
        finally:
            watcher.over.set()
            watcher.join()
    assert without.returncode == 1, without.stdout
    assert (
        "FAILED at the station Routed: the PACS sent nothing of the phantom to the gateway" in without.stdout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed(done.stdout) == list(STATIONS)
    assert "4 results by C-MOVE" in done.stdout
    assert "keeps BINARY, SR, RTSTRUCT, SC, PDF; not LABELMAP, LABELMAP RLE" in done.stdout


def _address(world: Any) -> str:
    return str((world.data_dir / "dicom-address").read_text().strip())
