"""The outermost layer: who may pass, what the browser is told, and what becomes of a fault.

* A policy decides who may pass: `token_policy` has the gateway's, `cognito` the cloud's.
* Faults: a problem without the exception's text; the log gets the route's template and the type.
"""

from typing import Protocol

import structlog
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.ledger.store import LedgerError

from ..problems import INTERNAL, problem
from .access import Caller
from .authors import AUTHOR
from .roles import needed_role

log = structlog.get_logger(__name__)

PAGE_HEADER = "x-iris-page"
BACKFILL_HEADER = "x-iris-backfill"
"""Of a STOW-RS request by which `iris backfill` hands over what it fetched."""
OPEN_FOLDER = "/page/"
STOW_PATH = "/dicom-web/studies"

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

    async def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass; None to one that may, whose caller is then named."""


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

        try:
            refusal = await self._policy.refusal(scope)
        except LedgerError as error:
            refusal = problem(503, str(error))
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


def let_in(scope: Scope, caller: Caller) -> Response | None:
    """Name the caller of a request as `request.state.caller`; a refusal where it needs another role."""
    scope.setdefault("state", {})["caller"] = caller
    needed = needed_role(scope)
    if needed is None or caller.role.may(needed):
        return None
    return problem(
        403, f"that needs the role {needed}, and {caller.name} has the role {caller.role}; ask an admin"
    )


def _author(scope: Scope) -> str:
    """For the timeline: "admin-token, on the page"."""
    caller = scope.get("state", {}).get("caller")
    name = caller.name if isinstance(caller, Caller) else ""
    return f"{name}, on the page" if PAGE_HEADER in Headers(scope=scope) else name
