"""The whole gateway as a process, small studies to send it, and a PACS that remembers what it was sent.

`World` is one gateway; it is started again when it dies, as a service manager would do, and waits for what
a test expects of it.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification

from gateway.adapters.dicom.peer import NotReached, parse_peer
from gateway.delivery.sending import send_files
from tests.quick_start import IRIS, quick_python

DEADLINE_S = 120.0
PIXELS, SPACING_MM, SLICES = 48, 8.0, 8


def write_study(
    folder: Path,
    *,
    name: str = "Test^Body",
    slices: int = SLICES,
    seed: str = "",
    air: bool = False,
    thickness_mm: float = 5.0,
) -> str:
    """Write a small axial CT: a body of soft tissue with fat and a bone in it, or air alone; its Study UID.

    The same seed gives the same UIDs and pixels, whatever the patient's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study_uid = generate_uid(entropy_srcs=[seed, "study"])
    for number in range(slices):
        uid = generate_uid(entropy_srcs=[seed, "instance", str(number)])
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, uid
        image.StudyInstanceUID = study_uid
        image.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, "series"])
        image.FrameOfReferenceUID = generate_uid(entropy_srcs=[seed, "frame"])
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 3, number + 1
        image.PatientName, image.PatientID = name, "TEST-1"
        image.PatientBirthDate, image.PatientSex = "", "O"
        image.StudyDate, image.StudyTime, image.StudyID = "20260102", "101112", "1"
        image.AccessionNumber, image.ReferringPhysicianName = "A1", ""
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.PatientPosition, image.PositionReferenceIndicator = "HFS", ""
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        corner_mm = -SPACING_MM * (PIXELS - 1) / 2
        image.ImagePositionPatient = [corner_mm, corner_mm, thickness_mm * number]
        image.PixelSpacing, image.SliceThickness = [SPACING_MM, SPACING_MM], thickness_mm
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
        image.Rows = image.Columns = PIXELS
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.KVP, image.Manufacturer = 120, "Phantom"
        image.PixelData = (_slice_hu(air=air) + 1024).astype("<u2").tobytes()
        image.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return str(study_uid)


def _slice_hu(*, air: bool) -> np.ndarray:
    hu = np.full((PIXELS, PIXELS), -1000, dtype=np.int32)
    if air:
        return hu
    y, x = np.mgrid[:PIXELS, :PIXELS] - (PIXELS - 1) / 2
    hu[(x / 18) ** 2 + (y / 13) ** 2 <= 1] = -100  # fat
    hu[(x / 16) ** 2 + (y / 11) ** 2 <= 1] = 50  # soft tissue
    hu[x**2 + (y - 7) ** 2 <= 6] = 700  # spine, at the back
    return hu


@dataclass
class RecordingPacs:
    """Takes segmentations, pictures and documents, and remembers every send.

    A send is the SOP Instance UID and the digest of the data set's bytes.
    """

    status: int = 0x0000
    sends: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def start(self) -> Callable[[], None]:
        entity = AE("RECORDER")
        entity.maximum_pdu_size = 0
        entity.add_supported_context(Verification)
        for sop_class in (SegmentationStorage, SecondaryCaptureImageStorage, EncapsulatedPDFStorage):
            entity.add_supported_context(sop_class, ExplicitVRLittleEndian)
        server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._on_store)]
        )
        self.port = server.server_address[1]
        return server.shutdown

    def _on_store(self, event: Event) -> int:
        if self.status == 0x0000:
            digest = hashlib.sha256(event.encoded_dataset(include_meta=False)).hexdigest()
            self.sends.append((event.request.AffectedSOPInstanceUID, digest))
        return self.status

    @property
    def objects(self) -> set[str]:
        return {uid for uid, _ in self.sends}

    def every_send_of_an_object_had_the_same_bytes(self) -> bool:
        return len(set(self.sends)) == len(self.objects)


@pytest.fixture
def recording_pacs() -> Iterator[RecordingPacs]:
    pacs = RecordingPacs()
    stop = pacs.start()
    yield pacs
    stop()


class World:
    """One gateway that is restarted when it dies."""

    def __init__(
        self, folder: Path, destinations: list[tuple[str, str, int]], *, name: str = "test", config: str = ""
    ) -> None:
        self.folder = folder
        self._name = name
        self._further_config = config
        self.program = ["-m", "gateway.cli"]
        self.python = quick_python(IRIS)
        self.data_dir = folder / "data"
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.destinations = destinations
        self._client = httpx.Client(trust_env=False)
        self.log = folder / "gateway.log"
        folder.mkdir(parents=True, exist_ok=True)

    # -- the process --------------------------------------------------------------------------------------

    def start(self, kill_at: str = "", **settings: str) -> None:
        """Start the gateway, and wait until it listens; it kills itself at the transition named."""
        self.launch(kill_at, **settings)
        self._await_addresses()

    def launch(self, kill_at: str = "", **settings: str) -> None:
        """Start the gateway, and wait for nothing."""
        config = self.write_config()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IRIS_")}
        environment |= {"IRIS_KILL_AT": kill_at, **settings}
        for name in ("dicom-address", "api-address"):  # what a killed one left
            (self.data_dir / name).unlink(missing_ok=True)
        command = [self.python, *self.program, "serve", "--config", str(config)]
        with self.log.open("ab") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
            )

    def write_config(self) -> Path:
        """Write the gateway's configuration; its file."""
        text = (
            f'[site]\nname = "{self._name}"\ndata_dir = "{self.data_dir}"\nlow_water_mb = 0\n'
            "[dicom]\nport = 0\n[api]\nport = 0\n[study]\nquiet_s = 0.2\ntimeout_s = 1.0\n"
        )
        for name, ae_title, port in self.destinations:
            text += f'[[destination]]\nname = "{name}"\nae_title = "{ae_title}"\n'
            text += f'host = "127.0.0.1"\nport = {port}\n'
        config = self.folder / "iris.toml"
        config.write_text(text + self._further_config)
        return config

    def _await_addresses(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not (self.data_dir / "api-address").exists() and self.is_alive():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    @property
    def is_listening(self) -> bool:
        """Whether the DICOM port is open."""
        return (self.data_dir / "dicom-address").exists()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int | None:
        """Ask the gateway to end; its exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._process.wait(DEADLINE_S)

    def gateway_pid(self) -> int | None:
        """The gateway's own process, which a quick Python is not; None where it has not begun yet."""
        assert self._process is not None
        if self.python == sys.executable:
            return self._process.pid
        return next((int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_gateway(path)), None)

    def _is_gateway(self, process: Path) -> bool:
        """Whether what it says comes into our log, and its parent is one that brings forks about."""
        try:
            parent = Path("/proc", (process / "stat").read_text().rpartition(")")[2].split()[1])
            is_fork = b"tests.quick_start.server" in (parent / "cmdline").read_bytes()
            return is_fork and self._is_heard(process) and not self._is_heard(parent)
        except OSError:  # it has just ended
            return False

    def _is_heard(self, process: Path) -> bool:
        try:
            return (process / "fd" / "1").readlink() == self.log
        except FileNotFoundError:  # it says nothing
            return False

    def kill(self) -> None:
        """Kill the gateway, which must not have ended by itself."""
        pid = self.gateway_pid()
        assert pid is not None, self.log.read_text()
        assert self._process is not None
        os.kill(pid, signal.SIGKILL)
        assert self._process.wait(DEADLINE_S) == -signal.SIGKILL, self.log.read_text()

    def close(self) -> None:
        """Leave nothing running."""
        if self.is_alive():
            self.stop()
        self._client.close()

    def revive(self) -> None:
        """Start it again after it killed itself; any other end is a failure."""
        if self._process is None or (exit_code := self._process.poll()) is None:
            return
        assert exit_code == -signal.SIGKILL, self.log.read_text()
        self.deaths += 1
        self.start()

    # -- what users do ------------------------------------------------------------------------------------

    def send(self, files: Path) -> None:
        """Send every file in and below a folder, again and again until each was answered with success."""
        paths = sorted(files.rglob("*.dcm"))
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.revive()
            try:
                peer = parse_peer((self.data_dir / "dicom-address").read_text().strip())
                results = send_files(paths, peer, "SENDER")
                if len(results) == len(paths) and all(result.status == 0 for result in results):
                    return
            except (NotReached, OSError):
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def post(self, path: str, *, was_done: tuple[int, ...] = (409,), **content: Any) -> None:
        """POST to the API until it is answered; `was_done` says that it was done before the gateway died."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.revive()
            answer = self._request("POST", path, **content)
            if answer is not None and (answer.is_success or answer.status_code in was_done):
                return
            assert time.monotonic() < deadline, (answer and answer.text, self.log.read_text())
            time.sleep(0.1)

    def upload(self, image: Path) -> dict[str, str]:
        """Upload a NIfTI, again and again until it is answered; the answer."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.revive()
            answer = self._request("POST", "/api/v1/nifti", files={"file": image.read_bytes()})
            if answer is not None and answer.is_success:
                return dict(answer.json())
            assert time.monotonic() < deadline, (answer and answer.text, self.log.read_text())
            time.sleep(0.1)

    def file(self, path: str) -> bytes:
        """A file that the API gives."""
        answer = self._request("GET", path)
        assert answer is not None
        assert answer.is_success, answer.text
        return answer.content

    def study(self, study_uid: str) -> dict[str, Any] | None:
        """What the API says of a study; None while it cannot be asked or does not know it."""
        answer = self._request("GET", f"/api/v1/studies/{study_uid}")
        return answer.json() if answer is not None and answer.is_success else None

    def readyz(self) -> dict[str, Any]:
        """What /readyz says; empty while it cannot be asked."""
        answer = self._request("GET", "/readyz")
        return dict(answer.json()) if answer is not None else {}

    def until(self, study_uid: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait, reviving the gateway when it dies, until the study satisfies the condition."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.revive()
            study = self.study(study_uid)
            if study is not None and condition(study):
                return study
            assert time.monotonic() < deadline, (study, self.log.read_text())
            time.sleep(0.1)

    def until_dead(self) -> None:
        """Wait until the gateway killed itself."""
        assert self._process is not None
        assert self._process.wait(DEADLINE_S) == -signal.SIGKILL, self.log.read_text()

    def until_revived(self) -> None:
        """Wait until the gateway killed itself once and was started again.

        What a transition wrote can be seen an instant before the process dies after it.
        """
        deadline = time.monotonic() + DEADLINE_S
        while self.deaths == 0:
            self.revive()
            assert time.monotonic() < deadline, "the transition was never reached"
            time.sleep(0.02)

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response | None:
        try:
            address = (self.data_dir / "api-address").read_text().strip()
            token = (self.data_dir / "admin-token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            return self._client.request(method, address + path, headers=headers, **content)
        except (httpx.HTTPError, OSError):
            return None


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds and ends their gateways."""
    worlds: list[World] = []

    def make(*destinations: tuple[str, str, int], folder: Path = tmp_path, **settings: str) -> World:
        world = World(folder / f"world-{len(worlds)}", list(destinations), **settings)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()


@pytest.fixture(name="write_study")
def write_study_fixture() -> Callable[..., str]:
    """The function that writes small studies."""
    return write_study
