"""Who may pass at a gateway: who is known, in the role that it takes; and no way for other sites' pages."""

import ipaddress
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from ..live.live import STILL_KNOWN
from ..problems import problem
from ..stow.senders import StudyDoor
from .access import ANYONE, Access, Caller, CannotTell, NotKnown, NotMapped, bearer_in
from .attempts import Attempts, TooManyFailures
from .guard import OPEN_FOLDER, PAGE_HEADER, STOW_PATH, let_in
from .sign_in import People

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
HOW_TO_ASK = "give a token as Authorization: Bearer TOKEN, or sign in at the page"
HOW_TO_SEND = (
    "give a token of the role sender, or that in the file sender-token, as Authorization: Bearer TOKEN"
)
WITHOUT_TOKEN = "it gave no token, or none that is good here"
TRY_AGAIN_S = "10"
DOTS_OF_A_JWT = 2
"""RFC 7519, section 3.1; tokens of ours have none."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class TokenPolicy:
    """The gateway's own.

    * Host: on a loopback address only loopback names are answered, so that a web page which rebinds its own
      name to 127.0.0.1 gets nothing.
    * Who: everything but the two probes, the page's own files and its sign-in asks for somebody who is known,
      in the role that the operation needs (`roles`).
    * Cross-site requests: a request that changes something is refused when a browser says that another site
      made it; with the cookie it also needs a header that no form of another site can send.
    """

    def __init__(
        self,
        access: Access,
        attempts: Attempts,
        stow: StudyDoor | None = None,
        people: People | None = None,
    ) -> None:
        self._access = access
        self._attempts = attempts
        self._stow = stow
        self._people = people
        # Where people sign in elsewhere, the page does so by itself.
        self._open_paths = OPEN_PATHS if people is None else OPEN_PATHS | {"/docs"}

    async def refusal(self, scope: Scope) -> Response | None:
        """See `guard.Policy.refusal`."""
        headers = Headers(scope=scope)
        if self._is_local(scope) and not _is_loopback(_host_name(headers.get("host", ""))):
            return problem(421, "this address answers to localhost only; use http://127.0.0.1 with its port")
        path = scope["path"]
        is_bearer = bool(bearer_in(headers.get("authorization", ""))) and not self._access.is_open
        if self._access.is_open:
            refusal = let_in(scope, ANYONE)
        elif path in self._open_paths or path.startswith(OPEN_FOLDER):
            refusal = None
        else:
            refusal = await self._who(scope, headers)
        if refusal is None and scope["method"] not in SAFE_METHODS and not is_bearer:
            return _cross_site_refusal(headers, needs_header=path != "/" and not self._access.is_open)
        return refusal

    async def _who(self, scope: Scope, headers: Headers) -> Response | None:
        """Find out who asks; a refusal where nobody is known by what came, or who is may not do that."""
        find = self._finder(headers)
        how = HOW_TO_SEND if _is_stow(scope["path"]) else HOW_TO_ASK
        if find is None:
            return self._unknown(scope, how)
        try:
            refusal = let_in(scope, await to_thread.run_sync(find, _address(scope)))
        except NotKnown as unknown:
            return self._unknown(scope, f"{unknown}; {how}" if unknown.is_guess else str(unknown))
        except TooManyFailures as slowed:
            return problem(429, str(slowed), slowed.headers)
        except NotMapped as nothing:
            return problem(403, str(nothing))
        except CannotTell as why:
            return problem(503, str(why), {"Retry-After": TRY_AGAIN_S})
        scope["state"][STILL_KNOWN] = partial(_is_still_known, find, _address(scope))
        return refusal

    def _finder(self, headers: Headers) -> Callable[[str], Caller] | None:
        """What finds out who asks from an address, by token or else by cookie; None: there is neither."""
        token = bearer_in(headers.get("authorization", ""))
        if self._people is not None and token.count(".") == DOTS_OF_A_JWT:
            people = self._people
            return lambda address: self._attempts.known(address, "jwt", token, people.by_jwt)
        if token:
            return lambda address: self._attempts.known(address, "token", token, self._access.by_token)
        if cookie := cookie_in(self._access, headers):
            return lambda address: self._attempts.known(address, "cookie", cookie, self._access.by_cookie)
        return None

    def _unknown(self, scope: Scope, sentence: str) -> Response:
        if _is_stow(scope["path"]) and self._stow is not None:
            self._stow.turn_away(_address(scope), WITHOUT_TOKEN)
        return problem(401, sentence, {"WWW-Authenticate": 'Bearer realm="iris"'})

    def _is_local(self, scope: Scope) -> bool:
        server = scope.get("server")
        return self._access.is_open or (server is not None and _is_loopback(server[0]))


async def _is_still_known(find: Callable[[str], Caller], address: str) -> bool:
    """Look again: a token may have been revoked since a long answer began."""
    try:
        await to_thread.run_sync(find, address)
    except (NotKnown, NotMapped, TooManyFailures):
        return False
    except CannotTell:
        return True  # nobody says otherwise
    return True


def cookie_in(access: Access, headers: Headers) -> str:
    """The page's cookie that a request carries, good or not; empty: none.

    Read as browsers write it: cookies do not know ports, and what others at this host put into theirs
    (JSON, say) hides none that comes after it, as it does where a parser goes by RFC 6265, section 4.1.
    """
    return cookie_parser(headers.get("cookie", "")).get(access.cookie_name, "")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


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
