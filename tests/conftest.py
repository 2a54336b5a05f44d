"""What all tests share: peers that must be installed, a browser, real and made-up studies, Orthanc, storescu.

A test that needs a peer says so with `@pytest.mark.peer("orthanc")`. Where the peer is missing the test is
skipped with a hint how to install it; with CI=1 in the environment it fails instead, so that CI cannot be
green without it.
"""

import os
import shutil
import socketserver
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import structlog
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, expect, sync_playwright
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from gateway.adapters.dicom.peer import Peer
from gateway.demo.children import DemoError
from gateway.demo.loopback import free_port as free_port_now
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.quick_start import IRIS, quick_python

# A machine that does other things at the same time is slow at times: no deadline for single cases or for
# making them up, and two minutes for what a page is to show.
expect.set_options(timeout=120_000)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("house", PATIENT)
settings.register_profile("long", PATIENT, max_examples=1000)
# CI tries the same cases each time; here, and in `make test-long`, they are others each time.
settings.register_profile("ci", PATIENT, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "1" else "house")

pytest_plugins = [
    "tests.cloud",
    "tests.doubles.fixtures",
    "tests.doubles.recording_proxy",
    "tests.one_job",
    "tests.told",
]

# Servers in this process (listeners, recording PACSs, proxies) look every half second whether they are to
# end, and each of hundreds of tests would wait for that.
socketserver.BaseServer.serve_forever.__defaults__ = (0.02,)

DATA = Path(__file__).parent / "data"
collect_ignore = ["engine"]
"""These tests have an environment of their own: `make test-engine`."""

CALLERS = ("IRIS", "IRIS-DEMO", "DEMOPACS", "IRIS-TEST", "STORESCU")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PIXELMED = Path("/usr/share/java/pixelmed.jar")
IMAGE_TOOLS = ("buildah", "podman", "runc", "mmdebstrap")

ROOT = Path(__file__).parents[1]
RTSTRUCT = ROOT / ".venv-rtstruct" / "bin" / "python"
OHIF = ROOT / ".ohif"
OHIF_PAGES = OHIF / "package" / "dist"
DICOMWEB = "libOrthancDicomWeb.so"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/local/share/orthanc/plugins")


def program_of(environment: str) -> str | None:
    """The program of a name in the environment that the Makefile makes for it; None where there is none."""
    return shutil.which(environment, path=ROOT / f".venv-{environment}" / "bin")


def find_chromium() -> str | None:
    """The program of Chromium, or of what is made of it; None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def find_dicomweb() -> str | None:
    """Orthanc's plugin for DICOMweb; None where there is none."""
    return next((str(found) for place in PLUGINS if (found := Path(place) / DICOMWEB).exists()), None)


PEERS: dict[str, tuple[Callable[[], str | None], str]] = {
    "orthanc": (find_orthanc, "apt-get install orthanc"),
    "orthanc-dicomweb": (find_dicomweb, "apt-get install orthanc-dicomweb"),
    "ohif": (
        lambda: str(OHIF_PAGES) if (OHIF / ".installed").exists() else None,
        "apt-get install npm, then make .ohif/.installed",
    ),
    "dcmtk": (lambda: shutil.which("storescu"), "apt-get install dcmtk"),
    "prometheus": (lambda: shutil.which("promtool"), "apt-get install prometheus"),
    "nginx": (lambda: shutil.which("nginx"), "apt-get install nginx-light"),
    "caddy": (lambda: shutil.which("caddy"), "apt-get install caddy"),
    "systemd": (lambda: shutil.which("systemd-analyze"), "apt-get install systemd"),
    "dicom3tools": (lambda: shutil.which("dciodvfy"), "apt-get install dicom3tools"),
    "chromium": (find_chromium, "apt-get install chromium"),
    "pixelmed": (
        lambda: shutil.which("java") if PIXELMED.exists() else None,
        "apt-get install libpixelmed-java default-jre-headless",
    ),
    "ministack": (lambda: program_of("ministack"), "make .venv-ministack/.installed"),
    "checkov": (lambda: program_of("checkov"), "make .venv-checkov/.installed"),
    "rtstruct": (lambda: str(RTSTRUCT) if RTSTRUCT.exists() else None, "make .venv-rtstruct/.installed"),
    "tools": (
        lambda: shutil.which("mkdocs", path=ROOT / ".venv-tools" / "bin"),
        "make .venv-tools/.installed",
    ),
    "sam": (lambda: program_of("sam"), "make .venv-sam/.installed"),
    "images": (
        lambda: "all" if os.geteuid() == 0 and all(map(shutil.which, IMAGE_TOOLS)) else None,
        f"apt-get install {' '.join(IMAGE_TOOLS)}, and run the tests as root",
    ),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The viewers' one module first, which takes a minute: at the end all would wait for it."""
    items.sort(key=lambda item: item.path.parent.name != "viewers")


@pytest.hookimpl(tryfirst=True)  # before any fixture starts a peer
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail in CI, where a peer is missing."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            program, install = PEERS[name]
            if program() is not None:
                continue
            sentence = f"the peer {name} is missing ({install})"
            if os.environ.get("CI") == "1":
                pytest.fail(sentence, pytrace=False)
            pytest.skip(sentence)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window; who uses it is marked with that peer."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


# -- studies ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a command set up in this process says where its log goes; the next test does not inherit it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def quick_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that decode are forked from one that has loaded what they need (`tests.quick_start`)."""
    monkeypatch.setattr(sys, "executable", quick_python(IRIS))


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
    stack = SliceStack(
        pixels=_body_hu(),
        orientation_lps=[1, 0, 0, 0, 1, 0],
        pixel_spacing_mm=(5.0, 5.0),
        positions_lps_mm=[[-157.5, -157.5, 5.0 * number] for number in range(8)],
    )
    write_slices(stack, folder, MadeUpStudy(patient_name="Small^Study", patient_id="SMALL-1"))
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
