"""Who may ask: one admin token, as a Bearer token of programs or exchanged for a cookie of the page.

And who may send: a sender token, which opens STOW-RS and nothing else.

The cookie is not the token: it is an expiry time with an HMAC under the token, so whoever reads a cookie
cannot call the API for longer than it lasts, and a new token ends every session.
"""

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

from gateway.adapters.durable import sync_folder

TOKEN_NAME = "admin-token"
SENDER_TOKEN_NAME = "sender-token"
ANYONE = "anyone"
SESSION_S = 7 * 24 * 3600
"""How long a page stays signed in: a screen on the wall should not ask every morning."""


class AccessError(Exception):
    """A token cannot be made or read; the text says what to do."""


def kept_token(path: Path) -> str:
    """The token in a file; made at the first start, readable by its user only.

    Parameters
    ----------
    path
        Its folder must exist.

    Raises
    ------
    AccessError
        The file cannot be written or read, or is empty.
    """
    try:
        if not path.exists():
            _make_token(path)
        path.chmod(0o600)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no plain text"
        raise AccessError(f"the token {path} cannot be used ({why}); correct or delete the file") from None
    if not token:
        raise AccessError(f"the token {path} is empty; delete the file, and a new one is made")
    return token


def _make_token(path: Path) -> None:
    """Write a new token beside the path, then link it there: it is whole, or not there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        path.hardlink_to(temporary)
        sync_folder(path.parent)
    except FileExistsError:
        return  # another start was quicker: its token counts
    finally:
        temporary.unlink()


class Access:
    """Compares what a request brings with the tokens, in constant time.

    Parameters
    ----------
    token
        The admin token, or None where everybody who reaches the loopback address may ask, and send.
    sender_token
        The one that may only send; None: there is none.
    """

    def __init__(self, token: str | None, sender_token: str | None = None) -> None:
        self._token = token
        self._sender_token = sender_token

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    @property
    def cookie_name(self) -> str:
        """The cookie's name: cookies do not know ports, and several gateways may share a host."""
        return f"iris-{self._mac('cookie name')[:12]}"

    def knows_token(self, offered: str) -> bool:
        """Whether this is the admin token."""
        return _is_same(offered, self._token)

    def knows_bearer(self, authorization: str) -> bool:
        """Whether an Authorization header carries the admin token (RFC 6750, section 2.1)."""
        return _is_same(_bearer(authorization), self._token)

    def knows_sender(self, authorization: str) -> bool:
        """Whether it carries the sender token."""
        return _is_same(_bearer(authorization), self._sender_token)

    def new_cookie(self) -> str:
        """A cookie's value that is good for SESSION_S from now."""
        expiry = str(int(time.time()) + SESSION_S)
        return f"{expiry}.{self._mac(expiry)}"

    def knows_cookie(self, value: str) -> bool:
        """Whether a cookie is one of ours and has not expired."""
        expiry, _, mac = value.partition(".")
        genuine = hmac.compare_digest(_digest(mac), _digest(self._mac(expiry)))
        return self._token is not None and genuine and expiry.isdecimal() and int(expiry) > time.time()

    def _mac(self, text: str) -> str:
        message = f"iris page session: {text}".encode()
        return hmac.new((self._token or "").encode(), message, hashlib.sha256).hexdigest()


def _bearer(authorization: str) -> str:
    """What a header offers as a token; empty where it offers none."""
    scheme, _, offered = authorization.partition(" ")
    return offered.strip() if scheme.lower() == "bearer" else ""


def _is_same(offered: str, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(_digest(offered), _digest(token))


def _digest(text: str) -> bytes:
    """Equal length for everything that is compared."""
    return hashlib.sha256(text.encode()).digest()
