"""Who may ask, and what a browser is told."""

import stat
from pathlib import Path

import httpx
import pytest

from gateway.api.callers import access as access_module
from gateway.api.callers.access import (
    ADMIN,
    CODE_S,
    MOST_CODES,
    SESSION_S,
    Access,
    AccessError,
    NotKnown,
    kept_token,
)

PROTECTED = [
    "/api/v1/studies",
    "/api/v1/studies/key0001",
    "/api/v1/jobs/none",
    "/api/v1/jobs/none/labels.nii.gz",
    "/api/v1/quarantine",
    "/api/v1/events",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/nothing/here",
    "/page",
]


def test_admin_token_made_at_first_start_is_kept_and_private(tmp_path: Path) -> None:
    first = kept_token(tmp_path / "admin-token")
    assert len(first) >= 32
    assert kept_token(tmp_path / "admin-token") == first
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


def test_admin_token_readable_by_others_is_closed(tmp_path: Path) -> None:
    kept_token(tmp_path / "admin-token")
    (tmp_path / "admin-token").chmod(0o644)
    kept_token(tmp_path / "admin-token")
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


def test_admin_token_two_sites_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert kept_token(tmp_path / "a" / "admin-token") != kept_token(tmp_path / "b" / "admin-token")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_admin_token_unusable_file_is_refused_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin-token").write_bytes(content)
    with pytest.raises(AccessError, match="delete the file"):
        kept_token(tmp_path / "admin-token")


@pytest.mark.parametrize("address", PROTECTED)
def test_request_without_token_is_refused(stranger: httpx.Client, address: str) -> None:
    answer = stranger.get(address)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic a-token-of-this-test", "Bearer\u00e9"])
def test_request_with_wrong_token_is_refused(stranger: httpx.Client, header: str) -> None:
    answer = stranger.get("/api/v1/studies", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_probes_need_no_token(stranger: httpx.Client) -> None:
    assert stranger.get("/healthz").json() == {"status": "ok"}
    assert stranger.get("/readyz").json() == {"ready": True, "reasons": [], "degraded": []}


def test_token_in_the_sign_in_form_becomes_a_cookie(stranger: httpx.Client, token: str) -> None:
    answer = _signed_in(stranger, token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert token not in cookie
    assert stranger.get("/").status_code == 200  # the client keeps the cookie
    assert stranger.get("/api/v1/studies").status_code == 200


def test_token_in_the_address_signs_nobody_in(stranger: httpx.Client, token: str) -> None:
    answer = stranger.get("/", params={"token": token})
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


def test_page_without_cookie_offers_sign_in(stranger: httpx.Client) -> None:
    answer = stranger.get("/")
    assert answer.status_code == 401
    assert 'name="token"' in answer.text
    assert 'role="alert"' not in answer.text


def test_page_with_wrong_token_sets_no_cookie_and_says_so(stranger: httpx.Client) -> None:
    answer = _signed_in(stranger, "wrong")
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "This is no token of this gateway" in answer.text


def test_sign_in_form_that_is_large_is_not_read(stranger: httpx.Client) -> None:
    assert stranger.post("/", content=b"token=" + b"a" * 100_000).status_code == 413


def test_sign_in_form_of_another_site_signs_nobody_in(stranger: httpx.Client, token: str) -> None:
    answer = stranger.post("/", data={"token": token}, headers={"Origin": "http://evil.example"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_code_signs_in_once(world, stranger: httpx.Client, client: httpx.Client) -> None:
    made = client.post("/api/v1/sign-in-codes").json()
    assert made["good_for_s"] == 600
    answer = stranger.get(made["path"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert stranger.get("/api/v1/me").json() == {"name": "admin-token", "role": "admin", "expires": None}
    again = stranger.get(made["path"])
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)
    assert "iris token code" in again.text


def test_code_after_ten_minutes_signs_nobody_in(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(token)
    early, late = access.new_code(ADMIN), access.new_code(ADMIN)
    assert access.by_code(early) == ADMIN
    at = access_module.time.monotonic() + CODE_S + 1
    monkeypatch.setattr(access_module.time, "monotonic", lambda: at)
    with pytest.raises(NotKnown, match="ten minutes"):
        access.by_code(late)


def test_codes_that_nobody_uses_do_not_pile_up(token: str) -> None:
    access = Access(token)
    codes = [access.new_code(ADMIN) for _ in range(MOST_CODES + 1)]
    assert access.by_code(codes[-1]) == access.by_code(codes[1]) == ADMIN
    with pytest.raises(NotKnown):
        access.by_code(codes[0])


def test_cookie_of_another_token_or_changed_is_unknown(token: str) -> None:
    access = Access(token)
    cookie = access.new_cookie(ADMIN)
    said, _, mac = cookie.rpartition(".")
    expiry, _, key = said.partition(".")
    assert access.by_cookie(cookie) == ADMIN
    with pytest.raises(NotKnown):
        Access("another").by_cookie(cookie)
    other = f"{int(expiry) + 1}.{key}.{mac}"
    for forged in ("", ".", "..", token, f"{said}.", f".{mac}", other, f"{expiry}..{mac}", f"{said}x.{mac}"):
        with pytest.raises(NotKnown) as unknown:
            access.by_cookie(forged)
        assert unknown.value.is_guess


def test_cookie_after_its_time_is_over_and_no_guess(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(token)
    cookie = access.new_cookie(ADMIN)
    late = access_module.time.time() + SESSION_S + 1
    monkeypatch.setattr(access_module.time, "time", lambda: late)
    with pytest.raises(NotKnown, match="over") as unknown:
        access.by_cookie(cookie)
    assert not unknown.value.is_guess


def _signed_in(stranger: httpx.Client, token: str) -> httpx.Response:
    return stranger.post("/", data={"token": token})


def test_post_with_cookie_and_page_header_is_taken(stranger: httpx.Client, token: str) -> None:
    _signed_in(stranger, token)
    headers = {"X-IRIS-Page": "1", "Origin": str(stranger.base_url).rstrip("/")}
    assert stranger.post("/api/v1/jobs/none/retry", headers=headers).status_code == 404


@pytest.mark.parametrize("foreign", ['seen={"a": "b"}', "x y=1", "alone", "b[c=1", "=1"])
def test_session_is_known_whatever_cookies_others_left_at_this_host(
    stranger: httpx.Client, token: str, foreign: str
) -> None:
    ours = _signed_in(stranger, token).headers["set-cookie"].partition(";")[0]
    stranger.cookies.clear()
    for together in (f"{foreign}; {ours}", f"{ours}; {foreign}"):
        assert stranger.get("/api/v1/me", headers={"Cookie": together}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-IRIS-Page": "1", "Origin": "http://evil.example"},
        {"X-IRIS-Page": "1", "Origin": "null"},
        {"X-IRIS-Page": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-IRIS-Page": "1", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_post_with_cookie_from_another_site_is_refused(
    stranger: httpx.Client, token: str, headers: dict[str, str]
) -> None:
    _signed_in(stranger, token)
    assert stranger.post("/api/v1/jobs/none/retry", headers=headers).status_code == 403


def test_post_without_access_control_from_another_site_is_refused(open_client: httpx.Client) -> None:
    address = "/api/v1/jobs/none/retry"
    assert open_client.post(address).status_code == 404
    assert open_client.post(address, headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "192.0.2.1"]
)
def test_request_to_loopback_under_another_name_is_refused(
    stranger: httpx.Client, client: httpx.Client, open_client: httpx.Client, host: str
) -> None:
    for one in (stranger, client, open_client):
        assert one.get("/healthz", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1", "[::1]:80"])
def test_request_to_loopback_under_its_names_is_answered(stranger: httpx.Client, host: str) -> None:
    assert stranger.get("/healthz", headers={"Host": host}).status_code == 200


def test_open_access_needs_no_token_and_shows_the_page(open_client: httpx.Client) -> None:
    assert open_client.get("/").status_code == 200
    assert open_client.get("/api/v1/studies").status_code == 200
    assert open_client.get("/metrics").status_code == 200


@pytest.mark.parametrize("address", ["/", "/page/main.js", "/api/v1/studies", "/healthz", "/nothing"])
def test_every_answer_tells_the_browser_to_load_nothing_from_elsewhere(
    client: httpx.Client, address: str
) -> None:
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert "access-control-allow-origin" not in headers


def test_page_files_name_no_other_host_and_no_inline_script() -> None:
    folder = Path(access_module.__file__).parents[1] / "page"
    pages = list(folder.rglob("*.html"))
    assert len(pages) == 3
    for path in filter(Path.is_file, folder.rglob("*")):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "research use" in text
        assert "<style" not in text
        assert " style=" not in text
        assert text.count("<script") == text.count('<script type="module" src="/page/')
