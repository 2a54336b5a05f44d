"""A gateway on a data directory, watched from outside: processor time and memory of its process, and answers.

Processor time is what counts: it says the same while others use the machine, too. Nothing of the gateway is
imported; it is started as an operator starts it.
"""

import os
import subprocess
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
from benchmarks.programs import ProgramFailed, gateway_command, running

DEADLINE_S: Final = 900.0
"""A gateway that migrates ten million rows first needs minutes."""
IDLE_WINDOW_S: Final = 5.0
IDLE_SHARE: Final = 0.01
SIDE: Final = 64
_CPU_CLOCK: Final = 2  # CPUCLOCK_SCHED, <linux/posix-timers.h>


class Gateway:
    """One process of `iris serve`."""

    def __init__(
        self, data_dir: Path, process: "subprocess.Popen[bytes]", port_open_s: float, listening_s: float
    ) -> None:
        self.data_dir = data_dir
        self._process = process
        self.port_open_s = port_open_s
        """From the process's start until a sender could connect; it waits from then on."""
        self.listening_s = listening_s
        """Until both ports were open and served."""
        self.listening_cpu_s = self.cpu_s()
        """Processor time until then."""
        self.listening_mb = self._memory_mb("VmRSS")
        """Resident set at that moment."""

    def cpu_s(self) -> float:
        """Processor time of all its threads so far."""
        return time.clock_gettime((~self._process.pid << 3) | _CPU_CLOCK)

    def peak_mb(self) -> float:
        """The largest resident set so far."""
        return self._memory_mb("VmHWM")

    def settle(self) -> None:
        """Wait until what it does in the background after its start is done."""
        begun = time.perf_counter()
        while (share := self.idle_share(IDLE_WINDOW_S)) > IDLE_SHARE:
            if time.perf_counter() - begun > DEADLINE_S:
                raise ProgramFailed(f"it still uses {share:.0%} of a core, though nobody asks for anything")

    def idle_share(self, window_s: float) -> float:
        """Which share of a core it uses while nobody asks for anything."""
        before, begun = self.cpu_s(), time.perf_counter()
        time.sleep(window_s)
        return (self.cpu_s() - before) / (time.perf_counter() - begun)

    def _memory_mb(self, name: str) -> float:
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
        ProgramFailed
        """
        host, _, port = (self.data_dir / "dicom-address").read_text().partition("@")[2].rpartition(":")
        entity = AE("BENCH")
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate(host, int(port), ae_title="IRIS")
        if not association.is_established:
            raise ProgramFailed("it takes no association")
        statuses = {association.send_c_store(image).Status for image in images}
        association.release()
        if statuses != {0}:
            raise ProgramFailed(f"it answered a C-STORE with {statuses}")


@contextmanager
def served(data_dir: Path) -> Iterator[Gateway]:
    """A gateway that listens.

    Raises
    ------
    ProgramFailed
    """
    port, listens = free_port(), data_dir / "api-address"  # which is written last
    listens.unlink(missing_ok=True)
    opened_at: list[float] = []

    def is_ready() -> bool:
        if not opened_at and is_open(port):
            opened_at.append(time.perf_counter())
        return listens.exists()

    command, said = gateway_command(data_dir, port), data_dir.with_name(f"{data_dir.name}.log")
    begun = time.perf_counter()
    with running(command, said, is_ready, DEADLINE_S) as process:
        now = time.perf_counter()
        yield Gateway(data_dir, process, min([*opened_at, now]) - begun, now - begun)


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
