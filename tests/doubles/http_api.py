"""What an HTTP API of API Gateway does in front of a function: its JWT authoriser, as AWS documents it.

A token is good whose key is among the pool's (kid, RS256), whose `iss` is the issuer, whose `aud`, or where
there is none `client_id`, is among the audience, and whose time has come and not passed (exp, nbf, iat). The
claims go into the event as texts; a list is written as "[admin viewer]". Routes of the page have none.
"""

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.cloud_status import http_event

OPEN = ("/", "/docs", "/healthz", "/readyz")


class HttpApi:
    """ASGI middleware: the gateway and its routes around the function's app."""

    def __init__(self, app: ASGIApp, *, issuer: str, keys_url: str, audience: Sequence[str]) -> None:
        self._app = app
        self._issuer = issuer
        self._audience = audience
        with urllib.request.urlopen(keys_url, timeout=60) as keys:
            self._keys = KeySet.import_key_set(json.load(keys))
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        event = http_event(scope["method"], scope["path"], None, {})
        if scope["path"] not in OPEN and not scope["path"].startswith("/page/"):
            claims = self._claims(dict(scope["headers"]).get(b"authorization", b"").decode())
            if claims is None:
                self.refused += 1
                await JSONResponse({"message": "Unauthorized"}, 401)(scope, receive, send)
                return
            event["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
        await self._app({**scope, "aws.event": event}, receive, send)

    def _claims(self, authorization: str) -> dict[str, str] | None:
        """The token's claims as the event has them; None: it is no good."""
        try:
            claims: dict[str, Any] = jwt.decode(
                authorization.removeprefix("Bearer ").strip(), self._keys, algorithms=["RS256"]
            ).claims
        except (JoseError, ValueError):
            return None
        meant_for = claims.get("aud", claims.get("client_id"))
        now = time.time()
        is_in_time = claims["exp"] > now and max(claims.get("nbf", 0), claims.get("iat", 0)) <= now
        is_ours = claims["iss"] == self._issuer and meant_for in self._audience
        return {name: _text(value) for name, value in claims.items()} if is_in_time and is_ours else None


def _text(value: Any) -> str:
    return f"[{' '.join(map(str, value))}]" if isinstance(value, list) else str(value)
