"""An OpenID Connect issuer: where one signs in there, and the keys that it signs with.

Both are asked for when they are needed, and kept. Keys are asked for again from time to time, and when a
token names one that is not known, which is how issuers change them; not more often than every few seconds,
whatever strangers send. While the issuer cannot be reached the keys that are known still count.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from .access import CannotTell

DISCOVERY: Final = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 1.0, section 4."""
FRESH_S: Final = 900.0
"""After this long the keys are asked for again."""
AGAIN_S: Final = 10.0
"""Not sooner than this after the last time, whether it went well or not."""
TIMEOUT_S: Final = 5.0
MOST_WAITING: Final = 4
"""So many requests wait for an answer of the issuer; others are told to come again."""

log = structlog.get_logger(__name__)

PublicKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True)
class Endpoints:
    """Where the page goes to."""

    authorize: str
    token: str
    logout: str
    """Empty: the issuer ends no sessions."""


class Issuer:
    """What is known of one.

    Parameters
    ----------
    name
        The issuer, as it calls itself.
    client
        Asks it.
    clock
        Seconds that only go on.
    """

    def __init__(
        self, name: str, client: httpx.Client | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.complaint = ""
        """What is wrong with it since it was asked last, in a sentence; empty: nothing."""
        self._client = client or httpx.Client(timeout=TIMEOUT_S)
        self._clock = clock
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._asked_at: float | None = None
        self._known_at: float | None = None
        self._endpoints: Endpoints | None = None
        self._keys: Mapping[str | None, PublicKey] = {}

    @property
    def origin(self) -> str:
        """Scheme and host."""
        parts = urlsplit(self.name)
        return f"{parts.scheme}://{parts.netloc}"

    def endpoints(self) -> Endpoints:
        """Where one signs in.

        Raises
        ------
        CannotTell
            It cannot be reached, and never was.
        """
        if self._endpoints is None or self.complaint:
            self._ask(must_wait=self._endpoints is None)
        if self._endpoints is None:
            raise CannotTell(self.complaint or self._sentence("is being asked"))
        return self._endpoints

    def key(self, kid: str | None) -> PublicKey | None:
        """The key of this name; None: it has none.

        Raises
        ------
        CannotTell
            It is not known, and the issuer cannot be reached.
        """
        is_old = self._known_at is None or self._clock() - self._known_at > FRESH_S
        if is_old or self._found(kid) is None:
            self._ask(must_wait=self._found(kid) is None)
        found = self._found(kid)
        if found is None and self.complaint:
            raise CannotTell(self.complaint)
        return found

    def _found(self, kid: str | None) -> PublicKey | None:
        """A token need not name its key where there is only one."""
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _ask(self, *, must_wait: bool) -> None:
        """Ask the issuer for everything, unless somebody did just now.

        Who needs the answer waits where somebody else is asking; who finds no place for that goes without.
        """
        if not self._places.acquire(blocking=False):
            return
        try:
            if not self._lock.acquire(blocking=must_wait):
                return
            try:
                now_s = self._clock()
                if self._asked_at is None or now_s - self._asked_at >= AGAIN_S:
                    self._asked_at = now_s
                    self._take_what_it_says()
            finally:
                self._lock.release()
        finally:
            self._places.release()

    def _take_what_it_says(self) -> None:
        before = self.complaint
        self._read_what_it_says()
        if self.complaint and not before:
            log.warning("issuer_of_sign_ins", sentence=self.complaint)

    def _read_what_it_says(self) -> None:
        try:
            said = self._fetched(self.name.rstrip("/") + DISCOVERY)
            if said.get("issuer") != self.name:
                self.complaint = self._sentence(f"calls itself {said.get('issuer')}: correct api.oidc.issuer")
                return
            endpoints = Endpoints(
                self._own(said["authorization_endpoint"]),
                self._own(said["token_endpoint"]),
                self._own(said["end_session_endpoint"]) if said.get("end_session_endpoint") else "",
            )
            keys = _public_keys(self._fetched(_safe(said["jwks_uri"])))
        except (httpx.HTTPError, httpx.InvalidURL):
            self.complaint = self._sentence("cannot be reached")
        except (AttributeError, KeyError, TypeError, ValueError, JoseError) as error:
            self.complaint = self._sentence(f"does not say what it should ({error})")
        else:
            self._endpoints, self._keys = endpoints, keys
            self._known_at, self.complaint = self._clock(), ""

    def _fetched(self, url: str) -> dict[str, Any]:
        answer = self._client.get(url).raise_for_status().json()
        if not isinstance(answer, dict):
            raise TypeError(f"{url} is no JSON object")
        return answer

    def _own(self, url: str) -> str:
        """An address of the issuer's own: the page may ask no other (its Content-Security-Policy)."""
        if not url.startswith(f"{self.origin}/"):
            raise ValueError(f"{url} is not at {self.origin}")
        return url

    def _sentence(self, what: str) -> str:
        known = "; who is signed in stays so as long as the known keys are good" if self._keys else ""
        return f"the issuer of sign-ins {self.name} {what}{known}"


def _safe(url: str) -> str:
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise ValueError(f"{url} is not asked by TLS")
    return url


def _public_keys(said: dict[str, Any]) -> Mapping[str | None, PublicKey]:
    """Those that sign (RFC 7517, section 4.2), by name."""
    signing = [key for key in said["keys"] if key.get("use", "sig") == "sig"]
    keys = KeySet.import_key_set({"keys": signing}).keys
    return {key.kid: key for key in keys if isinstance(key, RSAKey | ECKey | OKPKey)}
