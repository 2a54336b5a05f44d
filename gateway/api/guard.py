"""The outermost layer: who may pass, what the browser is told, and what becomes of a fault.

* A policy decides who may pass: `TokenPolicy` at a gateway, `cognito.CognitoPolicy` in the cloud.
* Faults: a problem without the exception's text; the log gets the route's template and the type.
"""

import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import ANYONE, SENDER_TOKEN_NAME, TOKEN_NAME, Access
from .authors import AUTHOR
from .problems import INTERNAL, problem
from .senders import StudyDoor

log = structlog.get_logger(__name__)

PAGE_HEADER = "x-iris-page"
BACKFILL_HEADER = "x-iris-backfill"
"""Of a STOW-RS request by which `iris backfill` hands over what it fetched."""
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
OPEN_FOLDER = "/page/"
STOW_PATH = "/dicom-web/studies"
HOW_TO_ASK = "give the admin token as Authorization: Bearer TOKEN, or open the page's address with it"
HOW_TO_SEND = "give the token in the gateway's file sender-token as Authorization: Bearer TOKEN"
WITHOUT_TOKEN = "it gave no token, or another than the one in sender-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {pictures}; connect-src {connected};"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Policy(Protocol):
    """Who may pass."""

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass; None to one that may, whose caller it may name."""


class TokenPolicy:
    """The gateway's own: the admin token, one for senders, and no way for other sites' pages.

    * Host: on a loopback address only loopback names are answered, so that a web page which rebinds its own
      name to 127.0.0.1 gets nothing.
    * Token: everything but the two probes, the page's own files and its sign-in asks for the token or the
      cookie; STOW-RS is content with the sender token, which opens nothing else.
    * Cross-site requests: a request that changes something is refused when a browser says that another site
      made it; with the cookie it also needs a header that no form of another site can send.
    """

    def __init__(self, access: Access, stow: StudyDoor | None = None) -> None:
        self._access = access
        self._stow = stow

    def refusal(self, scope: Scope) -> Response | None:
        """See `Policy.refusal`."""
        headers = Headers(scope=scope)
        if self._is_local(scope) and not _is_loopback(_host_name(headers.get("host", ""))):
            return problem(421, "this address answers to localhost only; use http://127.0.0.1 with its port")
        authorization = headers.get("authorization", "")
        if _is_stow(scope["path"]) and self._access.knows_sender(authorization):
            _name_caller(scope, SENDER_TOKEN_NAME)
            return None
        by_bearer = self._access.knows_bearer(authorization)
        by_cookie = has_session(self._access, headers)
        path = scope["path"]
        is_open = self._access.is_open or path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
        if not (is_open or by_bearer or by_cookie):
            if _is_stow(path) and self._stow is not None:
                client = scope.get("client")
                self._stow.turn_away(client[0] if client else "", WITHOUT_TOKEN)
            how = HOW_TO_SEND if _is_stow(path) else HOW_TO_ASK
            return problem(401, how, {"WWW-Authenticate": 'Bearer realm="iris"'})
        _name_caller(scope, ANYONE if self._access.is_open else TOKEN_NAME)
        if scope["method"] not in SAFE_METHODS and not by_bearer:
            return _cross_site_refusal(headers, needs_header=by_cookie)
        return None

    def _is_local(self, scope: Scope) -> bool:
        server = scope.get("server")
        return self._access.is_open or (server is not None and _is_loopback(server[0]))


class Guard:
    """ASGI middleware around the whole API; "/" decides for itself, since it hands out the cookie."""

    def __init__(self, app: ASGIApp, policy: Policy, pictures_from: str = "", sign_in_at: str = "") -> None:
        self._app = app
        self._policy = policy
        # Signed in by a token the page fetches pictures itself, and shows what it then holds.
        pictures = _sources("'self'", pictures_from, "blob:" if sign_in_at else "")
        connected = _sources("'self'", pictures_from, sign_in_at)
        self._headers = {
            "Content-Security-Policy": CONTENT_POLICY.format(pictures=pictures, connected=connected),
            **SECURITY_HEADERS,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_secured(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._secure(MutableHeaders(scope=message))
            await send(message)

        refusal = self._policy.refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_secured)
            return
        AUTHOR.set(_author(scope))
        try:
            await self._app(scope, receive, send_secured)
        except Exception:
            route = getattr(scope.get("route"), "path", "")
            log.exception("request_failed", method=scope["method"], route=route)
            if not started:
                await problem(500, INTERNAL)(scope, receive, send_secured)

    def _secure(self, headers: MutableHeaders) -> None:
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")  # patients' data does not stay in a browser's cache


def _sources(*sources: str) -> str:
    return " ".join(filter(None, sources))


def has_session(access: Access, headers: Headers) -> bool:
    """Whether a request carries the page's cookie."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return False
    morsel = cookies.get(access.cookie_name)
    return morsel is not None and access.knows_cookie(morsel.value)


def _cross_site_refusal(headers: Headers, *, needs_header: bool) -> Response | None:
    """Refuse what another site's page may have sent in the user's name.

    Sec-Fetch-Site is the browser's own word; where it is not sent (plain http beyond localhost), Origin has
    to name this host. Programs send neither.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
    if foreign or (needs_header and PAGE_HEADER not in headers):
        return problem(403, "this request came from another site; use the page itself, or the Bearer token")
    return None


def _is_stow(path: str) -> bool:
    return path == STOW_PATH or path.startswith(f"{STOW_PATH}/")


def _name_caller(scope: Scope, name: str) -> None:
    """For whom it matters, as `request.state.caller`."""
    scope.setdefault("state", {})["caller"] = name


def _author(scope: Scope) -> str:
    """For the timeline: "admin-token, on the page"."""
    caller = str(scope.get("state", {}).get("caller", ""))
    return f"{caller}, on the page" if PAGE_HEADER in Headers(scope=scope) else caller


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
