"""What is sent, and the sender: dcmtk's storescu, one process an association."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks.programs import ProgramFailed

from .receivers import Running, dcmtk

SEND_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True)
class Load:
    """Images of one size on some associations at once."""

    side: int
    associations: int
    images: int
    """On all associations together."""
    holds_back: bool = False
    """Whether the sender joins small writes (RFC 896), as many do by default."""

    def __str__(self) -> str:
        kb = 2 * self.side**2 // 1000
        how = ", small writes held back" if self.holds_back else ""
        return f"{self.images} images of {kb} kB, {self.associations} at once{how}"


def made(load: Load, folder: Path) -> Sequence[Path]:
    """A folder of images for each association: a study of its own each, new at every call."""
    folders = []
    noise = np.random.default_rng(0)
    for number in range(load.associations):
        of = folder / str(number)
        of.mkdir(parents=True)
        study_uid, series_uid = generate_uid(), generate_uid()
        for slice_number in range(load.images // load.associations):
            pixels = noise.integers(-1000, 1000, (load.side, load.side), dtype=np.int16)
            _image(study_uid, series_uid, slice_number, pixels).save_as(
                of / f"{slice_number:04}.dcm", enforce_file_format=True
            )
        folders.append(of)
    return folders


def _image(study_uid: str, series_uid: str, number: int, pixels: np.ndarray) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
    image.FrameOfReferenceUID = series_uid
    image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 2, number + 1
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.Rows, image.Columns = pixels.shape
    image.PixelSpacing, image.ImageOrientationPatient = [0.7, 0.7], [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [0, 0, number]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.RescaleSlope, image.RescaleIntercept = 1, 0
    image.PixelData = pixels.tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def send(folders: Sequence[Path], to: Running, *, holds_back: bool = False) -> float:
    """Seconds from the start of all senders to the end of the last.

    Raises
    ------
    ProgramFailed
        One of them was not taken whole.
    """
    begun = time.perf_counter()
    senders = [
        subprocess.Popen(
            [
                dcmtk("storescu"),
                "-R",
                "+sd",
                "-aec",
                to.receiver.ae_title,
                "127.0.0.1",
                str(to.port),
                str(of),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ if holds_back else {**os.environ, "TCP_NODELAY": "1"},
        )
        for of in folders
    ]
    said = [sender.communicate(timeout=SEND_TIMEOUT_S)[1] for sender in senders]
    seconds = time.perf_counter() - begun
    for sender, words in zip(senders, said, strict=True):
        if sender.returncode or b"E: " in words:
            raise ProgramFailed((words.decode(errors="replace").splitlines() or ["the sender failed"])[-1])
    return seconds
