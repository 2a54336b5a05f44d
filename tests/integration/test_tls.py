"""DICOM TLS both ways, with dcmtk: who may come in, who is believed, and what is said of the others."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from gateway.adapters.dicom.peer import NotReached, Peer, echo
from gateway.adapters.tls import Tls, TlsError, TlsFiles
from gateway.config import ListenerTls
from gateway.delivery.sending import send_files
from gateway.listener.wire.guard import Limits
from tests.certificates import DAY, Authority


class Certificates:
    """The hospital's authority with what it signed, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        self.hospital, self.stranger = Authority(folder, "hospital"), Authority(folder, "stranger")
        self.ours, self.theirs = self.hospital.sign("gateway"), self.hospital.sign("pacs")
        self.strangers = self.stranger.sign("anybody")
        self.expired = self.hospital.sign("expired", ends_in=-DAY)

    @property
    def of_listener(self) -> ListenerTls:
        certificate, key = map(str, self.ours)
        return ListenerTls(certificate=certificate, key=key, client_ca=str(self.hospital.certificate))

    @property
    def of_caller(self) -> Tls:
        certificate, key = map(str, self.ours)
        return Tls(TlsFiles(str(self.hospital.certificate), certificate, key), is_server=False)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Certificates(folder)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def program(name: str) -> str:
    """One of dcmtk's: pynetdicom has some of the same names."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin")
    assert found, f"{name} of dcmtk is not installed"
    return found


def storescu(
    files: Sequence[Path], address: tuple[str, int], *options: str
) -> "subprocess.CompletedProcess[str]":
    command = [program("storescu"), *options, "-aec", "IRIS", address[0], str(address[1]), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def with_certificate(pair: tuple[Path, Path], authority: Authority) -> tuple[str, ...]:
    certificate, key = pair
    return "+tls", str(key), str(certificate), "+cf", str(authority.certificate)


# -- who calls us -----------------------------------------------------------------------------------------


@pytest.mark.peer("dcmtk")
def test_sender_with_a_certificate_of_the_hospital_stores_its_images(
    make_gate: Callable[..., Any], certificates: Certificates, small_study: Path
) -> None:
    gate = make_gate(tls=certificates.of_listener)
    files = sorted(small_study.iterdir())
    sent = storescu(files, gate.address, *with_certificate(certificates.theirs, certificates.hospital))
    assert sent.returncode == 0, sent.stderr
    kept = [dcmread(path).SOPInstanceUID for path in gate.files("instances")]
    assert sorted(kept) == sorted(dcmread(path).SOPInstanceUID for path in files)
    assert gate.listener.turned_away.last() == ()


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ("strangers", "no TLS: its certificate is not signed by whom we trust"),
        ("expired", "no TLS: its certificate has expired"),
        ("plain", "no TLS: it does not speak TLS"),
    ],
)
def test_sender_that_is_not_believed_stores_nothing_and_the_log_says_why(
    make_gate: Callable[..., Any], certificates: Certificates, small_study: Path, who: str, sentence: str
) -> None:
    gate = make_gate(tls=certificates.of_listener)
    options: tuple[str, ...] = ()
    if who != "plain":
        options = with_certificate(getattr(certificates, who), certificates.hospital)
    sent = storescu([next(small_study.iterdir())], gate.address, *options)
    assert sent.returncode != 0
    until(gate.listener.turned_away.last)
    assert gate.listener.turned_away.last()[0].why.startswith(sentence)
    assert gate.files("instances") == []


def _context(**given: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in given.items():
        setattr(context, name, value)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_older_version_and_missing_certificate_are_refused_with_a_sentence(
    make_gate: Callable[..., Any], certificates: Certificates
) -> None:
    gate = make_gate(tls=certificates.of_listener)
    old = _context(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    for context, sentence in (
        (old, "no TLS: it speaks a version of TLS older than 1.2"),
        (_context(), "no TLS: it shows no certificate"),
    ):
        before = len(gate.listener.turned_away.last())
        with socket.create_connection(gate.address, 10) as line, suppress(OSError):
            assert context.wrap_socket(line).recv(1) == b""
        until(lambda before=before: len(gate.listener.turned_away.last()) > before)
        assert gate.listener.turned_away.last()[0].why == sentence


def test_connection_that_is_closed_or_stays_silent_takes_no_place_and_no_time(
    make_gate: Callable[..., Any], certificates: Certificates
) -> None:
    gate = make_gate(tls=certificates.of_listener, limits=Limits(request_s=2.0), max_associations=1)
    socket.create_connection(gate.address, 10).close()  # as a load balancer does
    with socket.create_connection(gate.address, 10) as silent:
        _echo(gate.address, certificates)
        silent.settimeout(20)
        assert silent.recv(1) == b""  # it had its time
    assert [incident.why for incident in gate.listener.turned_away.last()] == [
        "it did not ask for an association in time"
    ]


def _echo(address: tuple[str, int], certificates: Certificates) -> None:
    echo(Peer("IRIS", *address, certificates.of_caller), "PACS")


def test_plain_and_tls_are_served_side_by_side(
    make_gate: Callable[..., Any], certificates: Certificates
) -> None:
    gate = make_gate(tls=certificates.of_listener, tls_port=0)
    assert gate.listener.tls_address != gate.address
    echo(Peer("IRIS", *gate.address), "PACS")
    _echo(gate.listener.tls_address, certificates)


def test_certificate_that_was_renewed_is_shown_from_the_next_connection_on(
    make_gate: Callable[..., Any], certificates: Certificates
) -> None:
    gate = make_gate(tls=certificates.of_listener)

    def shown() -> bytes | None:
        context = _context()
        context.load_cert_chain(*certificates.theirs)
        with socket.create_connection(gate.address, 10) as line, context.wrap_socket(line) as secured:
            return secured.getpeercert(binary_form=True)

    first = shown()
    certificates.hospital.sign("gateway")
    second = shown()
    assert second != first
    certificates.ours[1].write_text("no key")  # half written
    assert shown() == second
    certificates.hospital.sign("gateway")
    assert shown() not in (first, second)


# -- whom we call -----------------------------------------------------------------------------------------


@pytest.fixture
def storescp(
    tmp_path: Path, free_port: Callable[[], int], certificates: Certificates
) -> Iterator[Callable[..., tuple[Path, int]]]:
    """Start dcmtk's receiver with these options; gives its folder and port."""
    running = []

    def start(*options: str) -> tuple[Path, int]:
        folder, port = tmp_path / "received", free_port()
        folder.mkdir()
        command = [program("storescp"), *options, "+B", "-od", str(folder), str(port)]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until(lambda: _listens(port))
        return folder, port

    yield start
    for process in running:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.peer("dcmtk")
def test_objects_are_sent_by_tls_to_a_peer_that_asks_for_our_certificate(
    storescp: Callable[..., tuple[Path, int]], certificates: Certificates, small_study: Path
) -> None:
    folder, port = storescp(*with_certificate(certificates.theirs, certificates.hospital))
    files = sorted(small_study.iterdir())
    sent = send_files(files, Peer("STORESCP", "127.0.0.1", port, certificates.of_caller), "IRIS")
    assert {each.status for each in sent} == {0x0000}
    came = {dcmread(path).SOPInstanceUID: dcmread(path) for path in folder.iterdir()}
    for path in files:
        assert came[dcmread(path).SOPInstanceUID].PixelData == dcmread(path).PixelData


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ("strangers", "its certificate is not signed by whom we trust"),
        ("expired", "its certificate has expired"),
        ("plain", "no TLS: it"),
    ],
)
def test_peer_that_is_not_believed_is_sent_nothing_and_the_reason_is_said(
    storescp: Callable[..., tuple[Path, int]],
    certificates: Certificates,
    small_study: Path,
    who: str,
    sentence: str,
) -> None:
    options: tuple[str, ...] = ()
    if who != "plain":
        options = with_certificate(getattr(certificates, who), certificates.hospital)
    folder, port = storescp(*options)
    with pytest.raises(NotReached, match=sentence):
        send_files(
            sorted(small_study.iterdir()), Peer("STORESCP", "127.0.0.1", port, certificates.of_caller), "IRIS"
        )
    assert list(folder.iterdir()) == []


def test_peer_that_refuses_our_certificate_is_named_with_the_reason(
    make_gate: Callable[..., Any], certificates: Certificates
) -> None:
    gate = make_gate(tls=certificates.of_listener)
    certificate, key = map(str, certificates.strangers)
    ours = Tls(TlsFiles(str(certificates.hospital.certificate), certificate, key), is_server=False)
    with pytest.raises(NotReached, match="it refuses our certificate"):
        echo(Peer("IRIS", *gate.address, ours), "PACS")


# -- files ------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_used_are_named(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = map(str, certificates.ours)
    others_key, ca = str(certificates.theirs[1]), str(certificates.hospital.certificate)
    empty = tmp_path / "empty.pem"
    empty.touch()
    for files, named in (
        (TlsFiles(ca, certificate, others_key), others_key),
        (TlsFiles(str(empty), certificate, key), str(empty)),
        (TlsFiles(str(tmp_path / "absent.pem")), "absent.pem cannot be read"),
    ):
        with pytest.raises(TlsError, match=named):
            Tls(files, is_server=False)


def test_plain_listener_says_nothing_to_one_that_calls_by_tls(
    make_gate: Callable[..., Any], certificates: Certificates
) -> None:
    gate = make_gate()
    with pytest.raises(NotReached, match="no TLS"):
        _echo(gate.address, certificates)
    entity = AE("PACS")
    entity.add_requested_context(Verification)
    association = entity.associate(*gate.address)
    assert association.is_established
    association.release()
