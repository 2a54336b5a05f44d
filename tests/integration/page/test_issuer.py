"""The page of a gateway signs in at an issuer of OpenID Connect, as Keycloak is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.callers.issuer import Issuer
from gateway.api.callers.people import IssuersPeople
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.config.oidc import Oidc
from gateway.config.roles import Role
from gateway.ledger.states import JobEvent
from tests.doubles.keycloak import CLIENT, KeycloakRealm
from tests.nifti import uploads_of
from tests.page_gateway import Gateway, picture

pytestmark = pytest.mark.peer("chromium")


@pytest.fixture
def realm() -> Iterator[KeycloakRealm]:
    groups = {"anna": ["radiology"], "ines": ["iris-admins"], "otto": ["kitchen"]}
    realm = KeycloakRealm("anna", groups)
    yield realm
    realm.close()


@pytest.fixture
def address(gateway: Gateway, realm: KeycloakRealm, tmp_path: Path) -> Iterator[str]:
    """Another door to the gateway, where people sign in at the realm."""
    groups = {Role.ADMIN: ["iris-admins"], Role.VIEWER: ["radiology"]}
    config = Oidc(issuer=realm.issuer, client_id=CLIENT, groups=groups)
    api = create_api(
        LedgerStore(gateway.ledger),
        LedgerActions(gateway.ledger),
        lambda: Readiness(True),
        None,
        Access("a-token", find=gateway.tokens.find),
        gateway,
        uploads_of(gateway.ledger, tmp_path),
        tokens=gateway.tokens,
        people=IssuersPeople(config, Issuer(realm.issuer)),
    )
    server = ApiServer(api, "127.0.0.1", 0)
    server.start()
    host, port = server.address
    yield f"http://{host}:{port}/"
    server.stop()


@pytest.fixture
def person(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    yield page
    context.close()


def test_person_signs_in_at_the_issuer_and_may_what_the_group_says(
    address: str, gateway: Gateway, realm: KeycloakRealm, person: Page
) -> None:
    job = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.move(job, JobEvent.FAILED, "the disk is full")
    troubles: list[str] = []
    person.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    person.goto(f"{address}#/studies/key0001")
    expect(person.locator("#who")).to_contain_text("Signed in as anna (viewer)")
    expect(person.get_by_text("the disk is full").first).to_be_visible()
    expect(person.get_by_role("button", name="Retry")).to_have_count(0)
    expect(person.get_by_role("link", name="Quarantine")).to_be_visible()
    assert realm.asked == ["authorize", "authorization_code"]
    assert troubles == []
    picture(person, "issuer")
    realm.username = "ines"
    person.get_by_role("button", name="Sign out").click()
    expect(person.locator("#who")).to_contain_text("Signed in as ines (admin)")
    assert "logout" in realm.asked
    person.goto(f"{address}#/studies/key0001")
    person.get_by_role("button", name="Retry").click()
    expect(person.get_by_text("ines, on the page").first).to_be_visible()


def test_person_of_no_group_is_told_which_may_ask(address: str, realm: KeycloakRealm, person: Page) -> None:
    realm.username = "otto"
    person.goto(address)
    expect(person.get_by_role("alert").first).to_contain_text(
        "otto is in none of the groups that may ask here"
    )
    picture(person, "issuer-no-group")


def test_issuer_that_is_away_is_said_on_the_page(address: str, realm: KeycloakRealm, person: Page) -> None:
    realm.is_away = True
    person.goto(address)
    expect(person.get_by_role("alert").first).to_contain_text("cannot be reached")
    picture(person, "issuer-away")
