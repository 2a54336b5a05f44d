"""Knows each request's reader, and tells the answer's language."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import READERS, preferred


class Languages:
    """ASGI middleware that knows each request's reader by `Accept-Language` (RFC 9110, section 12.5.4)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        language = preferred(Headers(scope=scope).get("accept-language", ""))

        async def send_with_language(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Accept-Language")
                headers.setdefault("Content-Language", language)
            await send(message)

        known = READERS.set(language)
        try:
            await self._app(scope, receive, send_with_language)
        finally:
            READERS.reset(known)
