"""A DICOM peer: AE title, host and port, and associations with it."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.adapters.tls import Tls

from .implementation import Implementation, implementation_of
from .no_association import CONNECT_TIMEOUT_S, Course, accepts_nothing, why_not
from .storing import send_at_once

ANSWER_TIMEOUT_S = 120.0
"""A PACS may index a large object before it answers."""
ABORT_TIMEOUT_S = 0.5
"""How long the end of the process waits until an abort was sent."""
MAXIMUM_CONTEXTS = 128
"""PS3.8 9.3.2: presentation context IDs are the odd numbers from 1 to 255."""

_PEER = re.compile(r"^(?P<title>[ -\[\]-~]{1,16})@(?P<host>\[[0-9A-Fa-f:]+\]|[^@:\s]+):(?P<port>\d{1,5})$")


class NotReached(Exception):
    """No association: the peer is away, busy, or does not want one. One sentence that names the peer."""


class NothingAccepted(NotReached):
    """The peer is there, and takes none of what was offered.

    Parameters
    ----------
    by
        What it says that it is.
    """

    def __init__(self, sentence: str, by: Implementation) -> None:
        super().__init__(sentence)
        self.by = by


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
    course, begun_at = Course(), time.monotonic()
    with (calls or Calls()).of(entity), _cut_after(entity, limit_s):
        try:
            opened = entity.associate(
                peer.host,
                peer.port,
                list(contexts),
                ae_title=peer.ae_title,
                ext_neg=list(roles),
                tls_args=None if peer.tls is None else (peer.tls.context(), peer.host),
                evt_handlers=[*handlers, *course.handlers],
            )
        except (socket.gaierror, UnicodeError):  # the second where it cannot be a name at all
            raise NotReached(
                f"{peer} cannot be reached: no address is known for that host; check host and name server"
            ) from None
        except BaseException:
            _hang_up(entity)
            raise
        if not opened.is_established:
            took_s = time.monotonic() - begun_at
            sentence = why_not(peer, calling_ae_title, opened, course, took_s)
            if accepts_nothing(opened):
                raise NothingAccepted(sentence, implementation_of(opened))
            raise NotReached(sentence)
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
