"""Tells by HTTP: a POST of JSON that is signed, so that its receiver knows whom it is from, and when."""

import hashlib
import hmac
import ssl
import time
from typing import Final

import httpx

from gateway.adapters.credentials import secret_in
from gateway.adapters.errors import Away, Retriable
from gateway.adapters.tls import what_failed
from gateway.backends.pacs import tls_of_calls
from gateway.config.notify import Webhook

from ..message import Message
from .receiver import SILENT_S, TEST

SIGNATURE: Final = "X-IRIS-Signature"
TIMESTAMP: Final = "X-IRIS-Timestamp"
DELIVERY: Final = "X-IRIS-Delivery"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256, in hexadecimal, over timestamp, a full stop, and body."""
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


class WebhookReceiver:
    """One address.

    Raises
    ------
    TlsError
        Certificates or keys for it cannot be used.
    """

    def __init__(self, to: Webhook) -> None:
        self._to = to
        self._tls = tls_of_calls(to.tls, checks_name=True)

    def tell(self, message: Message) -> None:
        """POST it; any answer of success (2xx) means that it arrived."""
        body = message.model_dump_json().encode()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "iris-gateway",
            TIMESTAMP: timestamp,
            SIGNATURE: signature(self._secret(), timestamp, body),
            DELIVERY: message.key,
        }
        try:
            with httpx.Client(verify=self._context(), timeout=SILENT_S, trust_env=False) as client:
                answer = client.post(self._to.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise Away(f"{self._to.receiver} {_why(error)}; see its url; {TEST}") from None
        if not answer.is_success:
            raise Retriable(
                f"{self._to.receiver} answered with HTTP {answer.status_code}; see its url, and its own log"
            )

    def check(self) -> str:
        """Only what is needed here: it is called by messages alone."""
        self._secret()
        return f"is told by HTTP of {', '.join(self._to.on)}; {TEST}"

    def _secret(self) -> str:
        return secret_in(self._to.secret_file) if self._to.secret_file else self._to.secret.get_secret_value()

    def _context(self) -> ssl.SSLContext:
        if self._tls is not None:
            return self._tls.context()
        if self._to.url.startswith("https:"):
            return ssl.create_default_context()
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it is not used, and loads no certificates


def _why(error: httpx.HTTPError) -> str:
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, ssl.SSLError):
        behind = behind.__cause__ or behind.__context__
    if isinstance(behind, ssl.SSLError):
        return f"cannot be called by TLS: {what_failed(behind)}"
    if isinstance(error, httpx.TimeoutException):
        return "does not answer in time"
    return "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke the connection off"
