"""One Orthanc with DICOMweb, one OHIF in front of it, one browser: they are slow to start."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import sync_playwright

from gateway.demo.children import DemoError
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.conftest import OHIF_PAGES, find_chromium, find_dicomweb
from tests.viewers.driving import GRAPHICS, Ohif
from tests.viewers.serving import serving

SIZE = {"width": 1000, "height": 600}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with DICOMweb."""
    program, plugin = find_orthanc(), find_dicomweb()
    if program is None or plugin is None:
        raise DemoError('mark the test with peer("orthanc", "orthanc-dicomweb")')
    configuration = {"Plugins": [plugin], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"), program, configuration=configuration)
    orthanc.start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def ohif(pacs: Orthanc) -> Iterator[Ohif]:
    """OHIF in Chromium without a window."""
    with serving(OHIF_PAGES, pacs.rest) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", *GRAPHICS]
        )
        yield Ohif(browser.new_page(viewport=SIZE), address)
        browser.close()
