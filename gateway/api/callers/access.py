"""Who is known here: the tokens in two files and those in the ledger, sessions of the page, one-time codes.

A session's cookie is not the token: it names the token and an expiry time, with an HMAC under the admin
token, so whoever reads a cookie cannot call the API for longer than it lasts. It ends with the token it was
got by, and a new admin token ends every session. A code is good for one session within ten minutes: it stands
in an address, which journals and a browser's history keep.
"""

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.adapters.durable import sync_folder
from gateway.config import Config
from gateway.config.roles import Role

TOKEN_NAME = "admin-token"
SENDER_TOKEN_NAME = "sender-token"
SESSION_S = 7 * 24 * 3600
"""How long a page stays signed in: a screen on the wall should not ask every morning."""


CODE_S: Final = 600
"""How long a one-time code is good for."""
MOST_CODES: Final = 100
"""Of codes that nobody used; the oldest go first."""


@dataclass(frozen=True)
class Caller:
    """Somebody who is known.

    Parameters
    ----------
    name
        For the timeline.
    key
        Of the token in the ledger, or the name of its file; empty: a person, or anyone.
    expires_at
        ISO 8601, UTC; None: never.
    """

    name: str
    role: Role
    key: str = ""
    expires_at: str | None = None


ADMIN: Final = Caller(TOKEN_NAME, Role.ADMIN, TOKEN_NAME)
SENDER: Final = Caller(SENDER_TOKEN_NAME, Role.SENDER, SENDER_TOKEN_NAME)
ANYONE: Final = Caller("anyone", Role.ADMIN)
"""Where no token is asked for."""


class NotKnown(Exception):
    """Nobody is known by what was offered; the text says why, and what to do.

    Parameters
    ----------
    is_guess
        Whether it may be one; what was good once is none.
    """

    def __init__(self, sentence: str, *, is_guess: bool = True) -> None:
        super().__init__(sentence)
        self.is_guess = is_guess


class NotMapped(Exception):
    """Somebody is known, and may do nothing here; the text says who may."""


class CannotTell(Exception):
    """Whether somebody is known cannot be said now; the text says why."""


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


def configured_access(config: Config, find: Callable[[str], Caller], *, is_first: bool) -> "Access":
    """Who is known at a gateway that is configured so.

    Parameters
    ----------
    find
        See `Access`.
    is_first
        Whether this is the first start: a token for senders is made then. Whoever deletes its file later
        wants it gone.

    Raises
    ------
    AccessError
    """
    if config.api.auth == "none":
        return Access(None)
    admins, senders = config.data_dir / TOKEN_NAME, config.data_dir / SENDER_TOKEN_NAME
    sender_token = kept_token(senders) if is_first or senders.exists() else None
    return Access(kept_token(admins), sender_token, find)


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
    """Says who is known by what a request brings; secrets are compared in constant time.

    Parameters
    ----------
    token
        The admin token, or None where everybody who reaches the loopback address may ask, and send.
    sender_token
        The one in the file for senders; None: there is none.
    find
        Who has the token of this key in the ledger; NotKnown where it is unknown, or not good any more.
    """

    def __init__(
        self,
        token: str | None,
        sender_token: str | None = None,
        find: Callable[[str], Caller] | None = None,
    ) -> None:
        self._token = token
        self._sender_token = sender_token
        self._find = find or _nobody
        self._codes: dict[bytes, tuple[Caller, float]] = {}
        self._codes_lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    @property
    def cookie_name(self) -> str:
        """The cookie's name: cookies do not know ports, and several gateways may share a host."""
        return f"iris-{self._mac('cookie name')[:12]}"

    def by_token(self, offered: str) -> Caller:
        """Who has this token.

        Raises
        ------
        NotKnown
        """
        if _is_same(offered, self._token):
            return ADMIN
        if _is_same(offered, self._sender_token):
            return SENDER
        return self._find(_digest(offered).hex())

    # -- sessions of the page -----------------------------------------------------------------------------

    def new_cookie(self, caller: Caller) -> str:
        """A cookie's value that is good for SESSION_S from now, as long as the caller's token is."""
        said = f"{int(time.time()) + SESSION_S}.{caller.key}"
        return f"{said}.{self._mac(said)}"

    def by_cookie(self, value: str) -> Caller:
        """Whose session this is.

        Raises
        ------
        NotKnown
        """
        said, _, mac = value.rpartition(".")
        expiry, _, key = said.partition(".")
        if self._token is None or not hmac.compare_digest(_digest(mac), _digest(self._mac(said))):
            raise NotKnown("this session is none of this gateway; sign in again")
        try:
            if int(expiry) > time.time():
                return ADMIN if key == ADMIN.key else self._find(key)
        except NotKnown as ended:
            raise NotKnown(str(ended), is_guess=False) from None
        raise NotKnown("this session is over; sign in again", is_guess=False)

    def _mac(self, text: str) -> str:
        message = f"iris page session: {text}".encode()
        return hmac.new((self._token or "").encode(), message, hashlib.sha256).hexdigest()

    # -- one-time codes -----------------------------------------------------------------------------------

    def new_code(self, caller: Caller) -> str:
        """A code by which the page signs in once within CODE_S, as this caller."""
        code = secrets.token_urlsafe(24)
        with self._codes_lock:
            while len(self._codes) >= MOST_CODES:
                del self._codes[next(iter(self._codes))]
            self._codes[_digest(code)] = caller, time.monotonic() + CODE_S
        return code

    def by_code(self, code: str) -> Caller:
        """Who signs in by a code; it is used up by that.

        Raises
        ------
        NotKnown
        """
        with self._codes_lock:
            caller, until = self._codes.pop(_digest(code), (None, 0.0))
        if caller is None or until < time.monotonic():
            raise NotKnown(
                "this code was used already, or is older than ten minutes; `iris token code` prints a new one"
            )
        return caller


def bearer_in(authorization: str) -> str:
    """What a header offers as a token (RFC 6750, section 2.1); empty where it offers none."""
    scheme, _, offered = authorization.partition(" ")
    return offered.strip() if scheme.lower() == "bearer" else ""


def _nobody(key: str) -> Caller:
    raise NotKnown("this is no token of this gateway")


def _is_same(offered: str, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(_digest(offered), _digest(token))


def _digest(text: str) -> bytes:
    """Equal length for everything that is compared."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
