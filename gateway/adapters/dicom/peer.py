"""A DICOM peer: AE title, host and port, and associations with it."""

import queue
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.adapters.tls import Tls, what_failed

from .storing import send_at_once

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 120.0
"""A PACS may index a large object before it answers."""
ABORT_TIMEOUT_S = 0.5
"""How long the end of the process waits until an abort was sent."""
REFUSAL_TIMEOUT_S = 1.0
"""How long a peer is listened to that may refuse our certificate."""
MAXIMUM_CONTEXTS = 128
"""PS3.8 9.3.2: presentation context IDs are the odd numbers from 1 to 255."""

MOST_NAMED = 3
"""Of SOP classes in a sentence."""

_FOR_NOW = 0x02
_REJECTED = (0x01, _FOR_NOW)
"""Permanently, for now (PS3.8 9.3.4)."""
_CALLED_TITLE_UNKNOWN = (0x01, 0x07)
"""By the service user, for that reason."""

_PEER = re.compile(r"^(?P<title>[ -\[\]-~]{1,16})@(?P<host>\[[0-9A-Fa-f:]+\]|[^@:\s]+):(?P<port>\d{1,5})$")


class NotReached(Exception):
    """No association: the peer is away, busy, or does not want one. One sentence that names the peer."""


class NothingAccepted(NotReached):
    """The peer is there, and takes none of what was offered."""


@dataclass(frozen=True)
class Peer:
    """Another application entity; `tls` where it is called by TLS."""

    ae_title: str
    host: str
    port: int
    tls: Tls | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


class Calls:
    """The associations that one caller has open, so that another thread can end them all, for good."""

    def __init__(self) -> None:
        self._entities: list[AE] = []
        self._lock = threading.Lock()
        self.is_over = False

    @contextmanager
    def of(self, entity: AE) -> Iterator[None]:
        """Know of an entity's association while the block lasts."""
        with self._lock:
            self._entities.append(entity)
        try:
            yield
        finally:
            with self._lock:
                self._entities.remove(entity)

    def end(self) -> None:
        """Cut every association; who waits for an answer there gets none, and no further one is opened."""
        with self._lock:
            self.is_over = True
            entities = list(self._entities)
        for entity in entities:
            _cut(entity)


def parse_peer(text: str) -> Peer:
    """Read `AE@HOST:PORT`.

    Raises
    ------
    ValueError
        It is not of that form.
    """
    match = _PEER.match(text)
    if match is None or not 1 <= int(match["port"]) <= 65535 or not match["title"].strip():
        raise ValueError(f"{text!r} is not of the form AE@HOST:PORT")
    return Peer(match["title"].strip(), match["host"].strip("[]"), int(match["port"]))


@contextmanager
def association(
    peer: Peer,
    calling_ae_title: str,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[Any] = (),
    calls: Calls | None = None,
    limit_s: float | None = None,
) -> Iterator[Association]:
    """Open an association, release it in the end, and abort it where the block was left before its end.

    Parameters
    ----------
    roles
        For objects that come to this side (PS3.7 D.3.3.4).
    handlers
        pynetdicom's pairs of an event and a function.
    calls
        Through which another thread can end it.
    limit_s
        After so long it is cut, whatever is under way: a peer that goes on answering ends, too.

    Raises
    ------
    NotReached
    """
    limit = float("inf") if limit_s is None else limit_s
    entity = AE(calling_ae_title)
    entity.connection_timeout = entity.acse_timeout = min(CONNECT_TIMEOUT_S, limit)
    entity.dimse_timeout = entity.network_timeout = min(ANSWER_TIMEOUT_S, limit)
    connected = threading.Event()
    with (calls or Calls()).of(entity), _cut_after(entity, limit_s):
        try:
            opened = entity.associate(
                peer.host,
                peer.port,
                list(contexts),
                ae_title=peer.ae_title,
                ext_neg=list(roles),
                tls_args=None if peer.tls is None else (peer.tls.context(), peer.host),
                evt_handlers=[*handlers, (evt.EVT_CONN_OPEN, lambda _: connected.set())],
            )
        except (socket.gaierror, UnicodeError):  # the second where it cannot be a name at all
            raise NotReached(
                f"{peer} cannot be reached: no address is known for that host; check host and name server"
            ) from None
        except BaseException:
            _hang_up(entity)
            raise
        if not opened.is_established:
            raise (NothingAccepted if _accepts_nothing(opened) else NotReached)(
                _why_not(peer, opened, is_there=connected.is_set())
            )
        send_at_once(opened)
        _keep_answers_for_who_waits(opened)
        try:
            if calls is not None and calls.is_over:
                raise NotReached(f"{peer} is not called any more: the gateway stops")
            yield opened
        except BaseException:
            # A message may be half sent, and a release would wait for its answer (PS3.8 7.2.2).
            opened.abort()
            raise
        if opened.is_established:
            opened.release()


@contextmanager
def _cut_after(entity: AE, limit_s: float | None) -> Iterator[None]:
    if limit_s is None:
        yield
        return
    timer = threading.Timer(limit_s, _cut, [entity])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _keep_answers_for_who_waits(opened: Association) -> None:
    """Let nothing but the call that waits for it take an answer.

    pynetdicom's own thread of an association looks for requests of the peer, and is told to pause while
    something is sent. Where the machine is busy it may miss that, takes the answer for a request that nobody
    expected, and drops it; the sender then waits in vain until its timeout (pynetdicom #842, #875). On the
    associations that this side opens requests come only in the course of a call of its own.
    """
    get_message = opened.dimse.get_msg

    def get_for_who_waits(block: bool = False) -> Any:
        return get_message(block) if block else (None, None)

    opened.dimse.get_msg = get_for_who_waits  # type: ignore[method-assign]


def _hang_up(entity: AE) -> None:
    """End what was begun when Ctrl-C came during negotiation: else its thread keeps the process for ever."""
    for provider in _providers(entity):
        provider.kill_dul()


def _cut(entity: AE) -> None:
    """Abort, and close the line under it: a peer that does not answer would not answer an abort either."""
    for provider in _providers(entity):
        if provider.assoc.is_established:
            provider.assoc.abort(block=False)
            give_up_at = time.monotonic() + ABORT_TIMEOUT_S
            while not provider.to_provider_queue.empty() and time.monotonic() < give_up_at:
                time.sleep(0.01)  # its own thread sends it, unless that hangs
        line = provider.socket.socket if provider.socket is not None else None
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        provider.assoc.dimse.msg_queue.put((None, None))  # who waits for an answer there gets none


def _providers(entity: AE) -> Iterator[DULServiceProvider]:
    for thread in threading.enumerate():
        if isinstance(thread, DULServiceProvider) and thread.assoc.ae is entity:
            yield thread


def echo(peer: Peer, calling_ae_title: str) -> None:
    """C-ECHO (PS3.4 A.4).

    Raises
    ------
    NotReached
        No association, or no answer of success.
    """
    with association(peer, calling_ae_title, [build_context(Verification)]) as opened:
        status = opened.send_c_echo()
        if status.get("Status") != 0x0000:
            raise NotReached(f"{peer} did not answer C-ECHO with success; look at its log")


def _why_not(peer: Peer, opened: Association, *, is_there: bool) -> str:
    primitive = opened.acceptor.primitive or _unheard(opened)
    if primitive is not None and primitive.result in _REJECTED:
        return f"{peer} rejected the association ({primitive.reason_str}); {_way_in(primitive)}"
    if _accepts_nothing(opened):
        return f"{peer} accepts none of the SOP classes offered ({_offered(opened)}); allow them there"
    if peer.tls is not None and (trouble := _trouble_with_tls(peer, peer.tls)):
        return f"{peer}: no TLS: {trouble}; look at the certificates on both sides"
    if is_there and peer.tls is None:
        return f"{peer} took the connection, and did not answer; check its port, and whether it speaks TLS"
    return f"{peer} cannot be reached; check that it runs, and host, port and firewall"


def _way_in(rejection: A_ASSOCIATE) -> str:
    if rejection.result == _FOR_NOW:
        return "it has no place for now"
    if (rejection.result_source, rejection.diagnostic) == _CALLED_TITLE_UNKNOWN:
        return "its own AE title is another one: correct it here"
    return "enter this gateway's AE title and address there"


def _offered(opened: Association) -> str:
    """The SOP classes by name, new ones by UID; Verification only where it was the only one."""
    classes = dict.fromkeys(str(context.abstract_syntax) for context in opened.rejected_contexts)
    names = [UID(each).name for each in classes if each != Verification] or ["Verification"]
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _accepts_nothing(opened: Association) -> bool:
    return bool(
        opened.rejected_contexts and not opened.accepted_contexts and opened.acceptor.primitive is not None
    )


def _unheard(opened: Association) -> A_ASSOCIATE | None:
    """A rejection that came so soon that pynetdicom took the connection, closed by then, for a failed one."""
    with suppress(queue.Empty):
        primitive = opened.dul.to_user_queue.get_nowait()
        return primitive if isinstance(primitive, A_ASSOCIATE) else None
    return None


def _trouble_with_tls(peer: Peer, tls: Tls) -> str:
    """Call once more to hear why: pynetdicom keeps it to itself. Empty where it is not TLS."""
    try:
        with socket.create_connection((peer.host, peer.port), CONNECT_TIMEOUT_S) as line:
            try:
                with tls.context().wrap_socket(line, server_hostname=peer.host) as secured:
                    secured.settimeout(REFUSAL_TIMEOUT_S)
                    secured.recv(1)  # with TLS 1.3 a refusal comes behind the handshake
            except TimeoutError:
                return ""
            except OSError as error:
                return what_failed(error)
    except OSError:
        return ""
    return ""
