"""What `iris doctor` says of destinations that are asked to keep what they are sent (storage commitment)."""

from collections.abc import Iterator

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.peer import NotReached, Peer
from gateway.adapters.dicom.pledge import offers_to_keep
from gateway.adapters.tls import TlsError
from gateway.backends.pacs import tls_of_calls
from gateway.config import Config, Destination
from gateway.config.sections import is_loopback


def examine_commitment(config: Config, to: Destination) -> Iterator[Check]:
    """Whether a destination can be asked, and its report can come in; nothing of one that is not asked."""
    if not (to.commitment and to.ae_title and to.host and to.port):
        return
    name = f"commitment of {to.name}"
    yield from _way_in(config, to.ae_title.strip(), to.host, name)
    try:
        peer = Peer(to.ae_title, to.host, to.port, tls_of_calls(to.tls))
        offers = offers_to_keep(peer, config.dicom.ae_title)
    except (NotReached, TlsError):  # said already
        return
    if offers:
        yield Check(name, Verdict.OK, f"{peer} offers storage commitment")
        return
    yield Check(
        name,
        Verdict.WARNING,
        f"{peer} offers no storage commitment (dcmqrscp has none): deliveries there end as sent",
        "switch it on there, or set commitment = false",
    )


def _way_in(config: Config, ae_title: str, host: str, name: str) -> Iterator[Check]:
    """What keeps its report from coming in; it opens an association of its own for that."""
    dicom = config.dicom
    if dicom.allow and ae_title not in {sender.ae_title.strip() for sender in dicom.allow}:
        yield Check(
            name,
            Verdict.FAILED,
            f"its report is turned away at the door: {ae_title} is not in dicom.allow",
            "add it there, with the address that it calls from",
        )
    if is_loopback(dicom.host) and not is_loopback(host):
        yield Check(
            name,
            Verdict.FAILED,
            f"its report cannot reach dicom.host = {dicom.host}",
            "set dicom.host to an address of this machine that it can call",
        )
