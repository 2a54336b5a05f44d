"""Failed sign-ins: counted, logged with the address and never what was offered, and slowed.

Who failed too often from an address is not looked at for a while, and where very many fail in all, nobody is
who failed just now. What was good before is looked at always: neither people at work nor programs are locked
out by somebody who guesses behind the same proxy, and no stranger can lock out another address.
"""

import hashlib
import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from gateway.adapters.measures import Figure

from .access import Caller, NotKnown

BURST: Final = 10
"""So many failures at once are answered to one address."""
AGAIN_S: Final = 6.0
"""After this long it may fail once more."""
BURST_IN_ALL: Final = 200
AGAIN_IN_ALL_S: Final = 0.3
MOST_ADDRESSES: Final = 10_000
"""That are remembered; the ones that failed longest ago go first."""
MOST_PROVED: Final = 1_000
WAYS: Final = ("token", "jwt", "cookie", "code")
"""By what somebody may sign in."""

log = structlog.get_logger(__name__)


class TooManyFailures(Exception):
    """Nothing was looked at, since too much failed before."""

    def __init__(self, again_s: float) -> None:
        super().__init__("too many sign-ins failed from here; wait a little, then try again")
        self.again_s = again_s

    @property
    def headers(self) -> dict[str, str]:
        """Of an answer that says so (RFC 9110, section 10.2.3)."""
        return {"Retry-After": str(math.ceil(self.again_s))}


class _Bucket:
    """Failures, of which one is forgiven from time to time."""

    def __init__(self, burst: int, again_s: float, now_s: float) -> None:
        self._burst, self._again_s = burst, again_s
        self._failures, self._at_s = 0.0, now_s

    def failures(self, now_s: float) -> float:
        """Those that are not forgiven yet."""
        self._failures = max(0.0, self._failures - (now_s - self._at_s) / self._again_s)
        self._at_s = now_s
        return self._failures

    def wait_s(self, now_s: float) -> float:
        """How long until one more may fail; 0: it may."""
        return max(0.0, (self.failures(now_s) + 1 - self._burst) * self._again_s)

    def add(self, now_s: float) -> None:
        """One more failed."""
        self._failures = self.failures(now_s) + 1


class Attempts:
    """Lets sign-ins be tried.

    Parameters
    ----------
    clock
        Seconds that only go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_address: OrderedDict[str, _Bucket] = OrderedDict()
        self._in_all = _Bucket(BURST_IN_ALL, AGAIN_IN_ALL_S, clock())
        self._proved: OrderedDict[bytes, None] = OrderedDict()
        self._failed = Counter(dict.fromkeys(WAYS, 0))
        self._slowed = 0

    def known(self, address: str, way: str, offered: str, find: Callable[[str], Caller]) -> Caller:
        """Who is known by what is offered.

        Parameters
        ----------
        address
            From where.
        way
            One of WAYS.

        Raises
        ------
        NotKnown, TooManyFailures
            And what else `find` raises, which is nobody's fault.
        """
        proof = _proof(way, offered)
        place = _place(address)
        with self._lock:
            if proof not in self._proved:
                self._let_try(place)
        try:
            caller = find(offered)
        except NotKnown as unknown:
            with self._lock:
                self._proved.pop(proof, None)
                self._note(place, way, is_guess=unknown.is_guess)
            log.warning("sign_in_failed", address=address, way=way, is_guess=unknown.is_guess)
            raise
        self.vouch(way, offered)
        return caller

    def vouch(self, way: str, offered: str) -> None:
        """Remember that this is good, so that it is looked at whatever fails from the same address."""
        proof = _proof(way, offered)
        with self._lock:
            self._proved[proof] = None
            self._proved.move_to_end(proof)
            if len(self._proved) > MOST_PROVED:
                self._proved.popitem(last=False)

    def figures(self) -> Iterable[Figure]:
        """For the metrics."""
        for way, number in self._failed.items():
            yield Figure("iris_failed_sign_ins_total", "Sign-ins that failed, by what.", number, {"way": way})
        what = "Sign-ins that were not looked at, since too many had failed."
        yield Figure("iris_slowed_sign_ins_total", what, self._slowed)

    def _let_try(self, place: str) -> None:
        now_s = self._clock()
        mine = self._by_address.get(place)
        if mine is None:
            return
        wait_s = mine.wait_s(now_s)
        if mine.failures(now_s) > 0:
            wait_s = max(wait_s, self._in_all.wait_s(now_s))
        if wait_s > 0:
            self._slowed += 1
            raise TooManyFailures(wait_s)

    def _note(self, place: str, way: str, *, is_guess: bool) -> None:
        self._failed[way] += 1
        if not is_guess:
            return
        now_s = self._clock()
        self._in_all.add(now_s)
        mine = self._by_address.setdefault(place, _Bucket(BURST, AGAIN_S, now_s))
        mine.add(now_s)
        self._by_address.move_to_end(place)
        if len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)


def _proof(way: str, offered: str) -> bytes:
    return hashlib.sha256(f"{way} {offered}".encode("utf-8", "surrogatepass")).digest()


def _place(address: str) -> str:
    """What counts as one address: of IPv6 a whole /64, which one machine may have for itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return address
