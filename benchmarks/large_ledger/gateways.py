"""A gateway on a data directory, watched from outside: processor time and memory of its process, and answers.

Processor time is what counts: it says the same while others use the machine, too. Nothing of the gateway is
imported; it is started as an operator starts it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from benchmarks.measuring import MB
from benchmarks.ports import free_port, is_open

DEADLINE_S: Final = 900.0
"""A gateway that migrates ten million rows first needs minutes."""
LOOK_EVERY_S: Final = 0.01
IDLE_WINDOW_S: Final = 5.0
IDLE_SHARE: Final = 0.01
SIDE: Final = 64
_CPU_CLOCK: Final = 2  # CPUCLOCK_SCHED, <linux/posix-timers.h>

# Nothing happens by itself while it is measured: no study is ever complete, and there is nowhere to send.
CONFIGURATION: Final = """
[site]
data_dir = "{data_dir}"
low_water_mb = 1
[dicom]
port = {port}
[api]
port = 0
[study]
quiet_s = 3000
timeout_s = 3000
"""


class GatewayFailed(Exception):
    """It ended, or did not come up; the text is the last line that it said."""


class Gateway:
    """One process of `iris serve`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.listening_cpu_s = 0.0
        """Processor time from the process's start until both ports were open."""
        self.port_open_s = 0.0
        """Until a sender could connect; it waits from then on."""
        self.listening_s = 0.0
        """Until both ports were open and served."""
        self.listening_mb = 0.0
        """Resident set at that moment."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises
        ------
        GatewayFailed
        """
        settings = self.data_dir.with_name(f"{self.data_dir.name}.toml")
        port = free_port()
        settings.write_text(CONFIGURATION.format(data_dir=self.data_dir, port=port), encoding="utf-8")
        listens = self.data_dir / "api-address"  # written last
        listens.unlink(missing_ok=True)
        begun = time.perf_counter()
        with self._said.open("wb") as said:
            command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(settings)]
            self._process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        self.port_open_s = 0.0
        while not listens.exists():
            if not self.port_open_s and is_open(port):
                self.port_open_s = time.perf_counter() - begun
            if self._process.poll() is not None or time.perf_counter() - begun > DEADLINE_S:
                self.stop()
                raise GatewayFailed((self._said.read_text(errors="replace").splitlines() or [""])[-1])
            time.sleep(LOOK_EVERY_S)
        self.listening_s = time.perf_counter() - begun
        self.listening_cpu_s = self.cpu_s()
        self.listening_mb = self._memory_mb("VmRSS")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def cpu_s(self) -> float:
        """Processor time of all its threads so far."""
        assert self._process is not None
        return time.clock_gettime((~self._process.pid << 3) | _CPU_CLOCK)

    def peak_mb(self) -> float:
        """The largest resident set so far."""
        return self._memory_mb("VmHWM")

    def settle(self) -> None:
        """Wait until what it does in the background after its start is done."""
        begun = time.perf_counter()
        while (share := self.idle_share(IDLE_WINDOW_S)) > IDLE_SHARE:
            if time.perf_counter() - begun > DEADLINE_S:
                raise GatewayFailed(f"it still uses {share:.0%} of a core, though nobody asks for anything")

    def idle_share(self, window_s: float) -> float:
        """Which share of a core it uses while nobody asks for anything."""
        before, begun = self.cpu_s(), time.perf_counter()
        time.sleep(window_s)
        return (self.cpu_s() - before) / (time.perf_counter() - begun)

    @property
    def _said(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    def _memory_mb(self, name: str) -> float:
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith(f"{name}:")]
        return int(line.split()[1]) * 1024 / MB

    # -- asking -------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """What the status API answers, parsed where it is JSON."""
        address = (self.data_dir / "api-address").read_text().strip()
        token = (self.data_dir / "admin-token").read_text().strip()
        answer = httpx.get(
            f"{address}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=120, trust_env=False
        )
        answer.raise_for_status()
        is_json = answer.headers["content-type"].startswith("application/json")
        return answer.json() if is_json else answer.text

    def store(self, images: list[Dataset]) -> None:
        """Send images on one association; each is on the disk when it is answered.

        Raises
        ------
        GatewayFailed
        """
        host, _, port = (self.data_dir / "dicom-address").read_text().partition("@")[2].rpartition(":")
        entity = AE("BENCH")
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate(host, int(port), ae_title="IRIS")
        if not association.is_established:
            raise GatewayFailed("it takes no association")
        statuses = {association.send_c_store(image).Status for image in images}
        association.release()
        if statuses != {0}:
            raise GatewayFailed(f"it answered a C-STORE with {statuses}")


@contextmanager
def served(data_dir: Path) -> Iterator[Gateway]:
    """A gateway that listens."""
    gateway = Gateway(data_dir)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def new_study(images: int) -> list[Dataset]:
    """Images of a study that nobody has seen yet; small, so that the ledger's part is not lost in copying."""
    study_uid, series_uid = generate_uid(), generate_uid()
    return [_image(study_uid, series_uid, number) for number in range(images)]


def _image(study_uid: str, series_uid: str, number: int) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
    image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 2, number + 1
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.Rows = image.Columns = SIDE
    image.PixelSpacing, image.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [0, 0, number]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelData = os.urandom(2 * SIDE * SIDE)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image
