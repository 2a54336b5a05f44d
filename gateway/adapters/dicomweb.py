"""A DICOMweb service that is called (PS3.18): objects are stored there, and looked for.

Objects are read from disk while they are sent. dicomweb-client would hold a request in memory several times
over, write each object anew, and drop what a 409 says of each instance: so it is httpx.
"""

import json
import re
import secrets
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .credentials import Credentials
from .errors import Away, CalledOff, Retriable
from .tls import Tls, what_failed

TIMEOUT: Final = httpx.Timeout(300.0, connect=10.0)
"""It answers when all objects of a request are stored."""
MOST_ANSWER_BYTES: Final = 1 << 22
"""No answer is longer that says a line of each object of a request."""
LONGEST_WAIT_S: Final = 3600.0
"""What a service asks for beyond that is looked at again all the same."""
NOBODYS_STUDY: Final = "2.25.164890573276544912906218307655921843"
PROCESSING_FAILURE: Final = 0x0110
_NEVER_IN_WEB_SERVICES: Final = (ImplicitVRLittleEndian, ExplicitVRBigEndian)  # PS3.18 8.7.3
_PIECE_BYTES: Final = 1 << 20
_BOUNDARY: Final = re.compile(r'boundary="?([^";,]{1,256})"?')
_JSON: Final = {"Accept": "application/dicom+json"}
_FAILED, _STORED = "00081198", "00081199"  # Failed, Referenced SOP Sequence (PS3.18 I.2)
_SOP_INSTANCE_UID, _FAILURE_REASON, _WARNING_REASON = "00081155", "00081197", "00081196"


@dataclass(frozen=True)
class WebAnswer:
    """What a service answered.

    Parameters
    ----------
    status
        Of HTTP.
    content
        What it says, in JSON; None where that is too long, or no JSON.
    wait_s
        So long it asks us to stay away (Retry-After, RFC 9110 10.2.3); 0 where it does not.
    methods
        Those that it allows at the address (Allow), in capitals.
    """

    status: int
    content: Any = None
    wait_s: float = 0.0
    methods: frozenset[str] = frozenset()

    def statuses(self) -> Mapping[str, int]:
        """By SOP Instance UID what became of each that it speaks of (PS3.18 I.2): 0, a warning, a failure."""
        try:
            said = self.content[0] if isinstance(self.content, list) else self.content
            failed = _reasons(said.get(_FAILED), _FAILURE_REASON, PROCESSING_FAILURE)
            return _reasons(said.get(_STORED), _WARNING_REASON, 0) | failed
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            return {}

    def instances(self) -> frozenset[str]:
        """SOP Instance UIDs that a search found."""
        try:
            return frozenset(str(one["00080018"]["Value"][0]) for one in self.content or ())
        except (KeyError, IndexError, TypeError):
            return frozenset()


class WebPeer:
    """One service; each call is a connection of its own.

    Parameters
    ----------
    address
        Where its resources begin: `https://pacs.example/dicom-web`.
    tls
        Whom it must be, and who we are; None: whoever the system trusts.
    """

    def __init__(self, address: str, credentials: Credentials, tls: Tls | None) -> None:
        self.address = address.rstrip("/")
        self._credentials = credentials
        self._tls = tls
        self._line: socket.socket | None = None
        self._is_over = False

    def store(self, paths: Sequence[Path]) -> WebAnswer:
        """Store DICOM files by one request (PS3.18 10.5); they may be of several studies.

        Raises
        ------
        Away
            No connection; `CalledOff` after `end`.
        Retriable
            It broke, or there was no answer.
        OSError
            A file cannot be read.
        """
        boundary = secrets.token_hex(16)
        parts = [_part(path) for path in paths]
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(
                sum(map(len, multipart(boundary, [b""] * len(parts)))) + sum(map(_size, parts))
            ),
        }
        return self._ask("POST", "/studies", headers=headers, content=multipart(boundary, parts))

    def search(self, path: str, **wanted: str) -> WebAnswer:
        """Search (PS3.18 10.6); for one match where no other `limit` is wanted.

        Raises
        ------
        Retriable
            As `store`.
        """
        return self._ask("GET", path, params={"limit": "1", **wanted})

    def retrieve(self, path: str) -> Sequence[bytes]:
        """DICOM files from an address (PS3.18 10.4), each in memory; none where it does not give them.

        Raises
        ------
        Retriable
            As `store`.
        """
        accepted = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        with self._answered("GET", path, accepted) as answer:
            body = answer.read()
            boundary = _BOUNDARY.search(answer.headers.get("Content-Type", ""))
            if answer.status_code != 200 or boundary is None:
                return ()
        parts = (b"\r\n" + body).split(f"\r\n--{boundary[1]}".encode())[1:-1]
        return [part.partition(b"\r\n\r\n")[2] for part in parts]

    def change(self, method: str, path: str) -> WebAnswer:
        """Send a request without a body.

        Raises
        ------
        Retriable
            As `store`.
        """
        return self._ask(method, path)

    def options(self) -> WebAnswer:
        """What is allowed where objects are stored (RFC 9110 9.3.7).

        Raises
        ------
        Retriable
            As `store`.
        """
        return self._ask("OPTIONS", "/studies")

    def end(self) -> None:
        """Cut what is open, for good, from another thread."""
        self._is_over = True
        self._cut()

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **what: Any
    ) -> WebAnswer:
        with self._answered(method, path, headers or {}, **what) as answer:
            return WebAnswer(answer.status_code, _content(answer), _wait_s(answer), _allowed(answer))

    @contextmanager
    def _answered(
        self, method: str, path: str, headers: Mapping[str, str], **what: Any
    ) -> Iterator[httpx.Response]:
        sent = {**_JSON, **self._credentials.headers(), **headers}
        with (
            self._understood(),
            httpx.Client(verify=self._context(), timeout=TIMEOUT, trust_env=False) as client,
        ):
            known = {"trace": self._look}
            address = f"{self.address}{path}"
            with client.stream(method, address, headers=sent, extensions=known, **what) as answer:
                yield answer

    @contextmanager
    def _understood(self) -> Iterator[None]:
        if self._is_over:
            raise CalledOff(f"{self.address} is not called any more")
        try:
            yield
        except httpx.HTTPError as error:
            raise self._failure(error) from None
        finally:
            self._line = None

    def _failure(self, error: httpx.HTTPError) -> Retriable:
        """Nobody is there; or the line broke, which may lie in what was sent."""
        if self._is_over:
            return CalledOff(f"{self.address} is not called any more")
        is_connected = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        failed = _tls_error(error)
        if failed is not None and (not is_connected or "ALERT" in str(failed.reason)):
            fix = "see destination.tls, and the name in its address"
            return Away(f"{self.address} cannot be called by TLS: {what_failed(failed)}; {fix}")
        if not is_connected:
            return Away(
                f"{self.address} does not answer; see whether it runs, and whether stow is its address"
            )
        how = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke off"
        return Retriable(f"{self.address} {how}; see its log, and what lies between")

    def _context(self) -> ssl.SSLContext:
        if self._tls is not None:
            return self._tls.context()
        if self.address.startswith("https:"):
            return ssl.create_default_context()
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it is not used, and loads no certificates

    def _look(self, event: str, info: Mapping[str, Any]) -> None:
        """Know the line, so that it can be cut (httpcore's extension `trace`)."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._line = info["return_value"].get_extra_info("socket")
        if self._is_over:
            self._cut()

    def _cut(self) -> None:
        line = self._line
        if line is not None:
            with suppress(OSError):
                # Not SSLSocket's: it would take TLS away from under who reads.
                socket.socket.shutdown(line, socket.SHUT_RDWR)


def multipart(boundary: str, parts: Sequence[Path | bytes]) -> Iterator[bytes]:
    """The body of a request to store DICOM files (PS3.18 8.6.1.2), read as it is sent."""
    for part in parts:
        yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        with BytesIO(part) if isinstance(part, bytes) else part.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                yield piece
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _part(path: Path) -> Path | bytes:
    """A file as it lies there; written anew where its transfer syntax is none of web services."""
    if read_file_meta_info(path).TransferSyntaxUID not in _NEVER_IN_WEB_SERVICES:
        return path
    dataset, written = dcmread(path), BytesIO()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(written, implicit_vr=False, little_endian=True)
    return written.getvalue()


def _size(part: Path | bytes) -> int:
    return len(part) if isinstance(part, bytes) else part.stat().st_size


def _content(answer: httpx.Response) -> Any:
    read = bytearray()
    for piece in answer.iter_bytes():
        read += piece
        if len(read) > MOST_ANSWER_BYTES:
            return None
    try:
        return json.loads(read)
    except (ValueError, RecursionError):
        return None


def _wait_s(answer: httpx.Response) -> float:
    said = answer.headers.get("Retry-After", "")
    if said.isdecimal():
        return min(float(said), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT_S)


def _allowed(answer: httpx.Response) -> frozenset[str]:
    return frozenset(method.strip().upper() for method in answer.headers.get("Allow", "").split(","))


def _reasons(sequence: Any, reason: str, otherwise: int) -> dict[str, int]:
    """Of each item of a sequence its SOP Instance UID and its reason, as an element in JSON (PS3.18 F.2)."""
    found = {}
    for item in (sequence or {}).get("Value") or ():
        uid = (item.get(_SOP_INSTANCE_UID) or {}).get("Value") or [""]
        found[str(uid[0])] = int(((item.get(reason) or {}).get("Value") or [otherwise])[0])
    return found


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
