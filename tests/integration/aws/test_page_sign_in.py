"""The page in the cloud signs in by itself: Cognito's domain, API Gateway's authoriser, a real browser."""

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.api.server import ApiServer
from gateway.cloud.status_function import cloud_status_api
from gateway.config import Api, Aws, Config, Mirror, Objects
from gateway.ledger.states import JobEvent
from tests.doubles.cognito import CognitoDomain, UserPool
from tests.doubles.http_api import HttpApi
from tests.mirrored_ledger import MirroredLedger, make_table

pytestmark = [pytest.mark.usefixtures("aws_environment"), pytest.mark.peer("chromium")]

DEADLINE_S = 120.0
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPj/HwADAgH/p8f5WQAAAABJRU5ErkJggg=="
)


@dataclass
class Site:
    """Everything behind the page's address."""

    url: str
    domain: CognitoDomain
    pool: UserPool
    ledger: MirroredLedger
    job: str


@pytest.fixture
def site(tmp_path: Path, fresh_moto: str) -> Iterator[Site]:
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, make_table(fresh_moto), site="north")
    ledger.open()
    job = ledger.job(ledger.study(1))
    ledger.move(job, JobEvent.SEGMENTED)
    ledger.ship()
    _put_results(job)
    pool = UserPool(fresh_moto)
    pool.add_user("reader@example.org", "viewer")
    pool.add_user("chief@example.org", "admin", "viewer")
    pool.add_user("stranger@example.org")
    domain = CognitoDomain(pool, "reader@example.org")
    config = Config(
        api=Api(auth="cognito", sign_in_url=domain.url, sign_in_client=pool.client_id),
        mirror=Mirror(backend="dynamodb", table=ledger.table),
        objects=Objects(backend="s3", bucket="iris-data"),
        aws=Aws(region="us-east-1"),
    )
    api = cloud_status_api(config)
    keys = f"{fresh_moto}/{pool.id}/.well-known/jwks.json"
    api.add_middleware(HttpApi, issuer=pool.issuer, keys_url=keys, audience=[pool.client_id])
    server = ApiServer(api, "127.0.0.1", 0)
    server.start()
    yield Site(f"http://127.0.0.1:{server.address[1]}/", domain, pool, ledger, job)
    server.stop()
    domain.close()
    ledger.close()


def _put_results(job: str) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="iris-data")
    output = {"sha256": "0" * 64, "bytes": 1}
    manifest = {
        "contract": 1, "job_key": job, "outputs": {"preview.png": output, "statistics.json": output},
        "labels": {"1": "bone"}, "engine": {"name": "threshold", "version": "1", "weights": ""},
        "seconds": {}, "peak_rss_mb": 1, "attempt": 1,
    }  # fmt: skip
    for name, content in (
        ("manifest.json", json.dumps(manifest).encode()),
        ("preview.png", PIXEL),
        ("statistics.json", b'{"bone": {}}'),
    ):
        s3.put_object(Bucket="iris-data", Key=f"jobs/{job}/{name}", Body=content)


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, troubles: list[str]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 760})

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    page.close()


def _picture(page: Page, name: str) -> None:
    """For a person to look at, where one is asked for."""
    if folder := os.environ.get("IRIS_TEST_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_page_signs_in_shows_who_and_leads_back_to_where_one_was(
    site: Site, page: Page, troubles: list[str]
) -> None:
    page.goto(f"{site.url}#/studies/key0001")
    expect(page.get_by_role("heading", name="key0001")).to_be_visible()
    assert page.url == f"{site.url}#/studies/key0001"
    expect(page.locator("#who")).to_contain_text("Signed in as reader@example.org (viewer)")
    expect(page.get_by_text("Looks again every 10 s")).to_be_visible()
    assert site.domain.asked == ["authorize", "authorization_code"]
    page.reload()
    expect(page.get_by_role("heading", name="key0001")).to_be_visible()
    assert site.domain.asked == ["authorize", "authorization_code"]
    assert troubles == []


def test_picture_and_files_come_from_the_bucket_with_the_token_left_behind(
    site: Site, page: Page, troubles: list[str]
) -> None:
    sent: list[dict[str, str]] = []
    page.on("request", lambda asked: sent.append(asked.headers) if "X-Amz-Signature" in asked.url else None)
    page.goto(f"{site.url}#/studies/key0001")
    image = page.get_by_alt_text("Preview of tissue")
    expect(image).to_be_visible()
    expect(page.locator("img.preview")).to_have_js_property("naturalWidth", 1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Statistics").click()
    assert download.value.suggested_filename == "statistics.json"
    assert Path(download.value.path()).read_bytes() == b'{"bone": {}}'
    _picture(page, "study")
    page.get_by_role("link", name="Label map").click()
    expect(page.get_by_text("The file was answered with 404")).to_be_visible()
    assert len(sent) == 3  # preview, figures, and what was downloaded
    assert all("authorization" not in headers for headers in sent)
    assert [each for each in troubles if "status of 404" not in each] == []


def test_viewer_has_no_button_to_act_and_admin_acts(site: Site, page: Page, browser: Browser) -> None:
    page.goto(f"{site.url}#/studies/key0001")
    expect(page.locator("#who")).to_contain_text("reader@example.org (viewer)")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    site.domain.username = "chief@example.org"
    other = browser.new_page()
    other.goto(f"{site.url}#/studies/key0001")
    expect(other.locator("#who")).to_contain_text("chief@example.org (admin)")
    other.get_by_role("button", name="Cancel").click()
    other.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(other.locator("#said")).to_contain_text("the gateway north has this study")
    other.close()


def test_who_is_in_no_group_is_told_who_gives_one(site: Site, page: Page) -> None:
    site.domain.username = "stranger@example.org"
    page.goto(f"{site.url}#/studies")
    expect(page.get_by_role("alert")).to_contain_text(
        "you are in none of the groups viewer, operator and admin; ask who"
    )
    expect(page.locator("#who")).to_contain_text("(no role)")
    _picture(page, "stranger")


def test_token_is_renewed_before_it_ends(site: Site, page: Page) -> None:
    page.clock.install()
    site.domain.token_lives_s = 65
    page.goto(f"{site.url}#/studies")
    expect(page.locator("#who")).to_contain_text("reader@example.org")
    page.clock.run_for(10_000)
    expect(page.get_by_role("link", name="key0001")).to_be_visible()
    deadline = time.monotonic() + DEADLINE_S
    while page.evaluate("Date.now() - JSON.parse(sessionStorage.getItem('iris-tokens')).since") >= 6000:
        assert time.monotonic() < deadline, "the token is not renewed"
        page.wait_for_timeout(20)
    assert "refresh_token" in site.domain.asked
    assert site.domain.asked.count("authorize") == 1


def test_sign_out_forgets_the_tokens_and_ends_the_session_there(site: Site, page: Page) -> None:
    page.goto(f"{site.url}#/studies")
    expect(page.locator("#who")).to_contain_text("reader@example.org")
    site.domain.refuses = "access_denied"  # nobody types a password
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("alert")).to_contain_text("Cognito did not sign you in (access_denied)")
    assert site.domain.asked[2:4] == ["logout", "authorize"]
    assert page.evaluate("sessionStorage.getItem('iris-tokens')") is None
    _picture(page, "refused")
    page.get_by_role("button", name="Sign in again").click()
    expect(page.locator("#who")).to_contain_text("reader@example.org")
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()


def test_answer_that_the_page_did_not_ask_for_is_not_taken(site: Site, page: Page) -> None:
    page.goto(f"{site.url}?code=stolen&state=made-up")
    expect(page.get_by_role("alert")).to_contain_text("not one that this page asked for")
    assert "stolen" not in page.url
    assert site.domain.asked == []


def test_token_that_the_api_does_not_take_leads_to_sign_in_and_never_round_and_round(
    site: Site, page: Page
) -> None:
    page.goto(f"{site.url}#/studies")
    expect(page.locator("#who")).to_contain_text("reader@example.org")
    page.evaluate(
        "() => { const kept = JSON.parse(sessionStorage.getItem('iris-tokens'));"
        " sessionStorage.setItem('iris-tokens', JSON.stringify({...kept, access: kept.access.slice(0, -4),"
        " since: 0})); }"
    )
    page.reload()
    expect(page.get_by_role("link", name="key0001")).to_be_visible()
    assert site.domain.asked.count("authorize") == 2
    foreign = site.pool.sign_in("reader@example.org", site.pool.other_client())["AccessToken"]
    page.evaluate(
        "token => { const kept = JSON.parse(sessionStorage.getItem('iris-tokens'));"
        " sessionStorage.setItem('iris-tokens', JSON.stringify({...kept, access: token,"
        " since: Date.now()})); }",
        foreign,
    )
    page.reload()
    expect(page.get_by_role("alert").first).to_contain_text("This sign-in is not accepted here")
    assert site.domain.asked.count("authorize") == 2


def test_list_of_operations_signs_in_too(site: Site, page: Page) -> None:
    page.goto(f"{site.url}docs")
    expect(page.get_by_text("POST /api/v1/nifti", exact=True)).to_be_visible()
    assert page.url == f"{site.url}docs"
