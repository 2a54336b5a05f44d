"""What all tests share: peers that must be installed, real and made-up studies, Orthanc, storescu.

A test that needs a peer says so with `@pytest.mark.peer("orthanc")`. Where the peer is missing the test is
skipped with a hint how to install it; with CI=1 in the environment it fails instead, so that CI cannot be
green without it.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless

from gateway.delivery.peer import Peer
from gateway.demo.children import DemoError
from gateway.demo.orthanc import Orthanc, find_orthanc
from gateway.demo.pacs import free_port as free_port_now

DATA = Path(__file__).parent / "data"
CALLERS = ("IRIS", "IRIS-DEMO", "DEMOPACS", "IRIS-TEST", "STORESCU")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

PEERS: dict[str, tuple[Callable[[], str | None], str]] = {
    "orthanc": (find_orthanc, "apt-get install orthanc"),
    "dcmtk": (lambda: shutil.which("storescu"), "apt-get install dcmtk"),
    "dicom3tools": (lambda: shutil.which("dciodvfy"), "apt-get install dicom3tools"),
    "chromium": (
        lambda: next(filter(None, map(shutil.which, CHROMIUM)), None),
        "apt-get install chromium",
    ),
}


@pytest.hookimpl(tryfirst=True)  # before any fixture starts a peer
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail in CI, where a peer is missing."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            program, install = PEERS[name]
            if program() is not None:
                continue
            sentence = f"{name} is not installed ({install})"
            if os.environ.get("CI") == "1":
                pytest.fail(sentence, pytrace=False)
            pytest.skip(sentence)


# -- studies ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; tests/data/README.md says what is in it."""
    return DATA


@pytest.fixture(scope="session")
def demo_study(data: Path) -> Path:
    """Twenty real CT slices in JPEG 2000, read only."""
    return data / "ct-abdomen-jpeg2000"


@pytest.fixture
def small_study(tmp_path: Path) -> Path:
    """A made-up CT of a body, 8 slices of 64 x 64: skin, fat, muscle, a spine, an air bubble on the left."""
    folder = tmp_path / "small-study"
    folder.mkdir()
    hounsfield = _body_hu()
    for number in range(hounsfield.shape[0]):
        _slice(hounsfield, number).save_as(folder / f"{number + 1:02}.dcm", enforce_file_format=True)
    return folder


def _body_hu() -> np.ndarray:
    """Hounsfield units, int16 (slices, rows, columns); the patient's front is at row 0."""
    row, column = np.mgrid[0:64, 0:64]

    def ellipse(middle: tuple[float, float], half: tuple[float, float]) -> np.ndarray:
        return ((row - middle[0]) / half[0]) ** 2 + ((column - middle[1]) / half[1]) ** 2 <= 1

    plane = np.full((64, 64), -1000, np.int16)
    plane[ellipse((32, 32), (22, 28))] = 30  # skin
    plane[ellipse((32, 32), (20.5, 26.5))] = -100  # fat
    plane[ellipse((32, 32), (16, 22))] = 50  # muscle and organs
    plane[ellipse((43, 32), (4, 4))] = 600  # spine
    plane[ellipse((26, 42), (3, 4))] = -950  # gas on the patient's left
    volume = np.repeat(plane[np.newaxis], 8, axis=0)
    noise = np.random.default_rng(0).normal(0, 8, volume.shape)
    return np.asarray(np.clip(volume + noise, -1024, 3000), np.int16)


def _slice(hounsfield: np.ndarray, number: int) -> Dataset:
    root = "2.25.1234567890"
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = f"{root}.2.{number + 1}"
    image.StudyInstanceUID = f"{root}.1"
    image.SeriesInstanceUID = f"{root}.2"
    image.FrameOfReferenceUID = f"{root}.3"
    image.PatientName = "Small^Study"
    image.PatientID = "SMALL-1"
    image.PatientBirthDate = ""
    image.PatientSex = "O"
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20240102"
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "101112"
    image.AccessionNumber = "SMALL0001"
    image.ReferringPhysicianName = ""
    image.StudyID = "1"
    image.StudyDescription = "Made-up body"
    image.SeriesDescription = "Made-up body 5 mm"
    image.Modality = "CT"
    image.Manufacturer = "IRIS tests"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.PatientPosition = "HFS"
    image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = 3, 1, number + 1
    image.ImagePositionPatient = [-157.5, -157.5, 5.0 * number]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = [5, 5]
    image.SliceThickness = 5
    image.SliceLocation = 5.0 * number
    image.KVP = 120
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = hounsfield.shape[1:]
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = 1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "HU"
    image.WindowCenter, image.WindowWidth = 40, 400
    image.PixelData = hounsfield[number].astype("<i2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


# -- peers ------------------------------------------------------------------------------------------------


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives, each time it is called, a port on the loopback address that nobody holds at the moment."""
    return free_port_now


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A running Orthanc of this test's own; the test needs `@pytest.mark.peer("orthanc")`."""
    program = find_orthanc()
    if program is None:
        raise DemoError('Orthanc is not installed; mark the test with peer("orthanc")')
    server = Orthanc(tmp_path / "orthanc", program, callers=CALLERS)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def storescu() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Send files with dcmtk; the test needs `@pytest.mark.peer("dcmtk")`.

    Called as `storescu(paths, peer, calling_ae_title="STORESCU", options=())`; gives what the program said
    and its exit status. Only what the files need is proposed, JPEG 2000 where they are in it.
    """

    def send(
        paths: Sequence[Path],
        peer: Peer,
        calling_ae_title: str = "STORESCU",
        options: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        program = shutil.which("storescu")
        assert program, 'dcmtk is not installed; mark the test with peer("dcmtk")'
        syntax = [] if options else _syntax_options(paths)
        return subprocess.run(
            [
                program, "-aet", calling_ae_title, "-aec", peer.ae_title, *syntax, *options,
                peer.host, str(peer.port), *map(str, paths),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TCP_NODELAY": "1"},  # else each image waits for a delayed acknowledgement
            timeout=120,
        )  # fmt: skip

    return send


def _syntax_options(paths: Sequence[Path]) -> list[str]:
    """What storescu 3.6.7 needs for JPEG 2000: `-xv` proposes it, `-R` nothing beyond what the files need."""
    metas = [dcmread(path, stop_before_pixels=True, force=True).get("file_meta") for path in paths[:1]]
    syntaxes = {meta.get("TransferSyntaxUID") for meta in metas if meta is not None}
    return ["-R", "-xv"] if JPEG2000Lossless in syntaxes else ["-R"]
