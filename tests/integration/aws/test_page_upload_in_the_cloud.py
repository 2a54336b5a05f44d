"""The page in the cloud uploads an image: made anew in the browser, put into the bucket, run, shown."""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.api.server import ApiServer
from gateway.cloud.status_function import cloud_status_api
from gateway.config import read_config
from tests.cloud_uploads import BUCKET, QUICK_JOB, Cloud
from tests.doubles.batch import BatchDouble
from tests.doubles.cognito import CognitoDomain, UserPool
from tests.doubles.http_api import HttpApi

pytestmark = [pytest.mark.usefixtures("quick_sessions"), pytest.mark.peer("chromium")]

TELLTALE = b"DOE^JANE"


@pytest.fixture
def cloud(
    fresh_moto: str, batch_double: BatchDouble, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cloud, str]]:
    """The cloud, and the page's address."""
    batch_double.set_definition(command=(sys.executable, str(QUICK_JOB)))
    pool = UserPool(fresh_moto)
    pool.add_user("chief@example.org", "admin")
    domain = CognitoDomain(pool, "chief@example.org")
    sign_in = {"IRIS_API__SIGN_IN_URL": domain.url, "IRIS_API__SIGN_IN_CLIENT": pool.client_id}
    cloud = Cloud(monkeypatch, fresh_moto, sign_in)
    api = cloud_status_api(read_config())
    keys = f"{fresh_moto}/{pool.id}/.well-known/jwks.json"
    api.add_middleware(HttpApi, issuer=pool.issuer, keys_url=keys, audience=[pool.client_id])
    server = ApiServer(api, "127.0.0.1", 0)
    server.start()
    yield cloud, f"http://127.0.0.1:{server.address[1]}/"
    server.stop()
    domain.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def test_page_uploads_an_image_without_its_header_and_shows_its_result(
    cloud: tuple[Cloud, str], page: Page, batch_double: BatchDouble, tmp_path: Path
) -> None:
    behind, url = cloud
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header["descrip"] = TELLTALE
    path = tmp_path / "DOE^JANE.nii"
    path.write_bytes(image.to_bytes())
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.goto(f"{url}#/upload")
    page.get_by_label("NIfTI file").set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="NIfTI upload")).to_be_visible()
    (run,) = batch_double.jobs()
    content = behind.s3.get_object(Bucket=BUCKET, Key=f"site/jobs/{run.name}/input.nii.gz")["Body"].read()
    assert TELLTALE not in gzip.decompress(content)
    put = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    assert np.array_equal(np.asarray(put.dataobj), np.asarray(image.dataobj))
    behind.work(batch_double, run.name)
    page.reload()
    expect(page.locator("[data-job]")).to_have_attribute("data-state", "delivered")
    with page.expect_download() as download:
        page.get_by_role("link", name="Label map").click()
    labels = nib.Nifti1Image.from_bytes(gzip.decompress(Path(download.value.path()).read_bytes()))
    assert labels.shape == image.shape
    assert [each for each in troubles if "404" not in each] == []
