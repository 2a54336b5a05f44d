"""People who signed in at an identity provider: which tokens count, and what becomes of the others."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway.api.callers.access import CannotTell, NotKnown, NotMapped
from gateway.api.callers.issuer import AGAIN_S, FRESH_S, Issuer
from gateway.api.callers.people import SKEW_S, IssuersPeople
from gateway.config.oidc import Oidc
from gateway.config.roles import Role
from tests.doubles.cognito import UserPool
from tests.doubles.keycloak import CLIENT, KeycloakRealm

GROUPS = {Role.ADMIN: ["/it/iris"], Role.OPERATOR: ["radiographers"], Role.VIEWER: ["radiology", "everybody"]}


@dataclass
class Site:
    """A gateway's view of a realm, and a clock that goes by hand."""

    realm: KeycloakRealm
    now_s: float = 1000.0
    issuer: Issuer = field(init=False)
    people: IssuersPeople = field(init=False)

    def __post_init__(self) -> None:
        self.issuer = Issuer(self.realm.issuer, httpx.Client(trust_env=False), lambda: self.now_s)
        config = Oidc(issuer=self.realm.issuer, client_id=CLIENT, groups=GROUPS)
        self.people = IssuersPeople(config, self.issuer)


@pytest.fixture(scope="module")
def realm() -> Iterator[KeycloakRealm]:
    groups = {"anna": ["radiology", "radiographers"], "ines": ["/it/iris"], "otto": ["kitchen"]}
    realm = KeycloakRealm("anna", groups)
    yield realm
    realm.close()


@pytest.fixture
def site(realm: KeycloakRealm) -> Site:
    realm.is_away = False
    return Site(realm)


def test_person_is_known_by_name_and_the_highest_role_of_the_groups(site: Site) -> None:
    anna = site.people.by_jwt(site.realm.id_token("anna"))
    assert (anna.name, anna.role, anna.key) == ("anna", Role.OPERATOR, "")
    assert anna.expires_at is not None
    assert site.people.by_jwt(site.realm.id_token("ines")).role is Role.ADMIN


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": None, "email": "anna@example.org"}, "anna@example.org"),
        ({"preferred_username": ""}, "sub-of-anna"),
        ({"preferred_username": "admin-token"}, "sub-of-anna"),
        ({"preferred_username": "a\nb\u202e" + "c" * 200}, "ab" + "c" * 98),
        ({"preferred_username": ["x"]}, "sub-of-anna"),
    ],
)
def test_name_is_what_the_token_says_and_never_anothers(
    site: Site, claims: dict[str, Any], name: str
) -> None:
    assert site.people.by_jwt(site.realm.id_token("anna", **claims)).name == name


def test_person_of_no_group_that_may_ask_is_told_which_may(site: Site) -> None:
    with pytest.raises(
        NotMapped, match=r"otto is in none .*admin: /it/iris; operator: radiographers; viewer:"
    ):
        site.people.by_jwt(site.realm.id_token("otto"))
    for groups in (None, "", [], {}, [["radiology"]], 7, {"radiology": 1}):
        with pytest.raises(NotMapped):
            site.people.by_jwt(site.realm.id_token("anna", groups=groups))


def test_groups_are_found_in_a_claim_within_a_claim(site: Site) -> None:
    config = Oidc(
        issuer=site.realm.issuer, client_id=CLIENT, groups=GROUPS, groups_claim="realm_access.roles"
    )
    token = site.realm.id_token("otto", realm_access={"roles": ["everybody"]})
    assert IssuersPeople(config, site.issuer).by_jwt(token).role is Role.VIEWER


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOW - SKEW_S - 5}, "over"),
        ({"exp": None}, "exp"),
        ({"exp": "9999999999"}, "exp"),
        ({"exp": 1e300}, "does not count"),
        ({"nbf": NOW + SKEW_S + 100_000}, "nbf"),
        ({"iat": NOW + SKEW_S + 100_000}, "iat"),
        ({"iss": "https://login.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "account"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": None, "client_id": "another"}, "audience"),
        ({"sub": None}, "sub"),
    ],
)
def test_token_whose_claims_are_not_right_does_not_count(
    site: Site, claims: dict[str, Any], why: str
) -> None:
    with pytest.raises(NotKnown, match=why):
        site.people.by_jwt(site.realm.id_token("anna", **claims))


def test_clocks_may_differ_a_little(site: Site) -> None:
    now = int(time.time())
    token = site.realm.id_token("anna", exp=now - SKEW_S // 2, nbf=now + SKEW_S // 2, iat=now + SKEW_S // 2)
    assert site.people.by_jwt(token).name == "anna"
    both = site.realm.id_token("anna", aud=["account", CLIENT])
    assert site.people.by_jwt(both).name == "anna"


def _forged(realm: KeycloakRealm) -> dict[str, str]:
    """Tokens that a stranger can make who knows all that is public."""
    key = realm.keys[0]
    good = realm.id_token("ines")
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))

    def text(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    as_secret = f"{text({'alg': 'HS256', 'kid': key.kid})}.{body}"
    mac = hmac.digest(key.as_pem(private=False), as_secret.encode(), "sha256")
    others = RSAKey.generate_key(2048, {"kid": key.kid})
    changed = text({**claims, "groups": ["/it/iris", "x"]})
    return {
        "unsigned": f"{text({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "unsigned, signature kept": f"{text({'alg': 'none', 'kid': key.kid})}.{body}.{signature}",
        "by the public key as a secret": f"{as_secret}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}",
        "by a key of theirs": jwt.encode({"alg": "RS256", "kid": key.kid}, claims, others),
        "by a key that they name themselves": jwt.encode(
            {"alg": "RS256", "kid": "theirs", "jwk": others.as_dict(private=False), "jku": "http://127.0.0.1:1/"},
            claims, others,
        ),
        "changed": f"{head}.{changed}.{signature}",
        "of another type": jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "logout+jwt"}, claims, key),
        "cut": good[:-6],
        "nothing": "..",
        "no JSON": "a.b.c",
        "huge": f"{'a' * 100_000}.{body}.{signature}",
        "kid of another kind": jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key).replace(
            head, text({"alg": "RS256", "kid": [key.kid]}), 1
        ),
        "header that is a list": f"{base64.urlsafe_b64encode(b'[]').decode()}.{body}.{signature}",
        "claims that are a list": jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key).replace(
            body, base64.urlsafe_b64encode(b"[]").decode(), 1
        ),
    }  # fmt: skip


def test_token_that_the_issuer_did_not_sign_does_not_count(site: Site) -> None:
    for token in _forged(site.realm).values():
        with pytest.raises(NotKnown) as unknown:
            site.people.by_jwt(token)
        assert unknown.value.is_guess


# -- keys and the issuer ------------------------------------------------------------------------------------


def test_new_key_of_the_issuer_is_fetched_and_the_old_one_does_not_count(site: Site) -> None:
    old = site.realm.id_token("anna")
    site.people.by_jwt(old)
    site.realm.change_key()
    new = site.realm.id_token("anna")
    site.now_s += AGAIN_S
    assert site.people.by_jwt(new).name == "anna"
    with pytest.raises(NotKnown, match="another's key"):
        site.people.by_jwt(old)


def test_issuer_is_asked_no_more_often_for_keys_that_strangers_name(site: Site) -> None:
    site.people.by_jwt(site.realm.id_token("anna"))
    asked = len(site.realm.fetched)
    stranger = RSAKey.generate_key(2048)
    for number in range(20):
        with pytest.raises(NotKnown):
            site.people.by_jwt(jwt.encode({"alg": "RS256", "kid": f"k{number}"}, {"sub": "x"}, stranger))
    assert len(site.realm.fetched) == asked


def test_issuer_that_is_away_leaves_who_is_known_signed_in_and_says_so(site: Site) -> None:
    token = site.realm.id_token("anna")
    site.people.by_jwt(token)
    site.realm.is_away = True
    site.now_s += FRESH_S + 1
    assert site.people.by_jwt(token).name == "anna"
    assert "cannot be reached" in site.people.complaint
    assert "who is signed in stays so" in site.people.complaint
    site.realm.is_away = False
    site.now_s += AGAIN_S
    assert site.people.by_jwt(token).name == "anna"
    assert site.people.complaint == ""


def test_issuer_that_was_never_there_is_said_and_asked_again() -> None:
    issuer = Issuer("http://127.0.0.1:9/nobody", httpx.Client(trust_env=False))
    people = IssuersPeople(Oidc(issuer=issuer.name, client_id=CLIENT, groups=GROUPS), issuer)
    key = RSAKey.generate_key(2048)
    with pytest.raises(CannotTell, match="cannot be reached"):
        people.by_jwt(jwt.encode({"alg": "RS256", "kid": "k"}, {"sub": "x"}, key))
    with pytest.raises(CannotTell, match="cannot be reached"):
        people.settings()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"issuer": "http://127.0.0.1/another"}, "calls itself"),
        ({"token_endpoint": "https://evil.example/token"}, "is not at"),
        ({"jwks_uri": "http://evil.example/keys"}, "is not asked by TLS"),
        ({"authorization_endpoint": None}, "does not say what it should"),
    ],
)
def test_issuer_that_says_what_it_should_not_is_not_believed(
    realm: KeycloakRealm, said: dict[str, Any], why: str
) -> None:
    document = {**(realm.told("/realms/hospital/.well-known/openid-configuration") or {}), **said}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=document))
    issuer = Issuer(realm.issuer, httpx.Client(transport=transport))
    with pytest.raises(CannotTell, match=why):
        issuer.endpoints()


def test_person_of_a_user_pool_is_known_by_its_keys(
    fresh_moto: str, aws_environment: None, realm: KeycloakRealm
) -> None:
    pool = UserPool(fresh_moto)
    pool.add_user("reader@example.org", "viewer")

    def cognito(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("jwks.json"):
            return httpx.get(f"{fresh_moto}/{pool.id}/.well-known/jwks.json", trust_env=False)
        here = pool.issuer
        return httpx.Response(
            200,
            json={
                "issuer": here,
                "authorization_endpoint": f"{here}/a".replace(f"/{pool.id}", ""),
                "token_endpoint": f"{here}/t",
                "jwks_uri": f"{here}/.well-known/jwks.json",
            },
        )

    issuer = Issuer(pool.issuer, httpx.Client(transport=httpx.MockTransport(cognito)))
    groups = {Role.VIEWER: ["viewer"]}
    config = Oidc(issuer=pool.issuer, client_id=pool.client_id, groups_claim="cognito:groups", groups=groups)
    tokens = pool.sign_in("reader@example.org")
    people = IssuersPeople(config, issuer)
    assert people.by_jwt(tokens["IdToken"]).role is Role.VIEWER
    assert people.by_jwt(tokens["AccessToken"]).role is Role.VIEWER  # of whom it says no audience
    foreign = pool.sign_in("reader@example.org", pool.other_client())
    for token in (foreign["IdToken"], foreign["AccessToken"]):
        with pytest.raises(NotKnown, match="audience"):
            people.by_jwt(token)


# -- through the API ----------------------------------------------------------------------------------------


@pytest.fixture
def ask(world: Any, site: Site) -> Iterator[Callable[..., httpx.Response]]:
    from gateway.api.callers.access import Access

    server = world.serve(Access("a-token", find=world.tokens.find), people=site.people)
    server.start()
    host, port = server.address
    with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=60) as client:

        def ask(method: str, path: str, token: str = "") -> httpx.Response:
            return client.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})

        yield ask
    server.stop()


def test_api_lets_people_and_tokens_in_and_says_why_not(
    ask: Callable[..., httpx.Response], site: Site, world: Any
) -> None:
    assert ask("GET", "/api/v1/me", site.realm.id_token("anna")).json()["name"] == "anna"
    assert ask("GET", "/api/v1/me", "a-token").json()["name"] == "admin-token"
    assert ask("GET", "/api/v1/me").status_code == 401
    nobody = ask("GET", "/api/v1/me", site.realm.id_token("otto"))
    assert (nobody.status_code, "radiographers" in nobody.json()["detail"]) == (403, True)
    over = ask("GET", "/api/v1/me", site.realm.id_token("anna", exp=int(time.time()) - 1000))
    assert (over.status_code, "sign in again" in over.json()["detail"]) == (401, True)
    job_key = world.job(world.study())
    assert ask("POST", f"/api/v1/jobs/{job_key}/cancel", site.realm.id_token("anna")).status_code == 202
    (by,) = [
        line["detail"]["by"]
        for line in ask("GET", f"/api/v1/jobs/{job_key}", "a-token").json()["timeline"]
        if "by" in line["detail"]
    ]
    assert by == "anna"
    assert ask("POST", "/api/v1/sign-in-codes", "a-token").status_code == 501


def test_page_of_a_gateway_with_an_issuer_may_ask_nobody_else(
    ask: Callable[..., httpx.Response], site: Site
) -> None:
    answer = ask("GET", "/")
    assert answer.status_code == 200
    assert f"connect-src 'self' {site.realm.url};" in answer.headers["content-security-policy"]
    told = ask("GET", "/page/sign-in.json").json()
    assert told["authorize"].startswith(f"{site.realm.url}/realms/hospital/")
    assert (told["client"], told["sends"]) == (CLIENT, "id")


def test_issuer_that_is_away_at_first_is_answered_with_503_and_the_sentence(
    ask: Callable[..., httpx.Response], site: Site
) -> None:
    site.realm.is_away = True
    assert "cannot be reached" in ask("GET", "/page/sign-in.json").json()["trouble"]
    answer = ask("GET", "/api/v1/me", site.realm.id_token("anna"))
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
