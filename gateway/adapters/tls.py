"""TLS as DICOM has it (PS3.15 B.9, B.12: the BCP 195 profiles): TLS 1.2 and 1.3, nothing older.

Certificates are those of a hospital's own authority, or the other side's own: what signed them is named in
the configuration, and nothing else is trusted. In DICOM host names are not compared, since in hospitals they
hardly ever stand in certificates: who is trusted is who holds a certificate of that authority. In HTTPS they
are, since a secret may follow.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

log = structlog.get_logger(__name__)

CIPHERS_OF_TLS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""With forward secrecy and authentication (RFC 9325 4.2); those of TLS 1.3 all have both."""

_CERTIFICATE_HAS_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET_VALID: Final = 9


class TlsError(Exception):
    """Certificates or keys cannot be used; one sentence that names the file."""


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM format; an empty name: there is none.

    Parameters
    ----------
    ca
        Certificates of who signs those of the other side.
    certificate, key
        One's own, with what signed it where that is not known to the other side.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def paths(self) -> Sequence[Path]:
        """Those that are named."""
        return [Path(name) for name in (self.ca, self.certificate, self.key) if name]


class Tls:
    """One side of TLS whose files may be renewed while it is used: read anew where one has changed.

    Parameters
    ----------
    is_server
        Whether the other side connects; it must then show a certificate where `files.ca` is named.
    checks_name
        Whether the name by which a server is called has to stand in its certificate, as with HTTPS.

    Raises
    ------
    TlsError
        A file is missing, cannot be read, or does not belong to the others.
    """

    def __init__(self, files: TlsFiles, *, is_server: bool, checks_name: bool = False) -> None:
        self._files = files
        self._checks_name = checks_name
        self._protocol = ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT
        self._lock = Lock()
        self._seen = _state_of(files)
        self._context = self._made()

    def context(self) -> ssl.SSLContext:
        """For the next connection; where files were changed for the worse, still the last good one."""
        with self._lock:
            seen = _state_of(self._files)
            if seen != self._seen:
                self._seen = seen
                try:
                    self._context = self._made()
                    log.info("certificates_renewed", files=len(self._files.paths))
                except TlsError as error:
                    log.error("certificates_not_renewed", sentence=f"{error}; the earlier ones stay in use")
            return self._context

    def _made(self) -> ssl.SSLContext:
        context = _context(self._protocol, self._files)
        context.check_hostname = self._checks_name
        return context


def what_failed(error: ssl.SSLError | OSError) -> str:
    """Why a handshake failed, in words; "it" is the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _CERTIFICATE_HAS_EXPIRED:
            return "its certificate has expired"
        if error.verify_code == _NOT_YET_VALID:
            return "its certificate is not valid yet"
        return f"its certificate is not signed by whom we trust ({error.verify_message})"
    reason = (getattr(error, "reason", None) or "").lower().replace("_", " ")
    if "no certificate" in reason or "did not return a certificate" in reason:
        return "it shows no certificate"
    if reason in ("http request", "wrong version number", "packet length too long", "record layer failure"):
        return "it does not speak TLS"
    if "unsupported protocol" in reason or "protocol version" in reason:
        return "it speaks a version of TLS older than 1.2"
    if "no shared cipher" in reason or "handshake failure" in reason:
        return "it has no cipher in common with us"
    if "alert" in reason:
        return f"it refuses our certificate ({reason})"
    return reason or "it closed the connection during the handshake"


def _state_of(files: TlsFiles) -> tuple[tuple[int, int] | None, ...]:
    """What changes where a file is replaced or written."""
    found: list[tuple[int, int] | None] = []
    for path in files.paths:
        try:
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    if files.ca or protocol == ssl.PROTOCOL_TLS_CLIENT:
        context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    for path in files.paths:
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsError(f"{path} cannot be read: {error.strerror}") from None
    if files.certificate:
        try:
            context.load_cert_chain(files.certificate, files.key or None, password="")
        except (ssl.SSLError, ValueError):
            raise TlsError(
                f"{files.certificate} and {files.key or 'no key'} are no certificate and its key"
                " (PEM, without a password)"
            ) from None
    if files.ca:
        try:
            context.load_verify_locations(files.ca)
        except ssl.SSLError:
            raise TlsError(f"{files.ca} has no certificates in PEM format") from None
    return context
