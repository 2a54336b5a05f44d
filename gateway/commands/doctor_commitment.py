"""What `iris doctor` says of destinations that are asked to keep what they are sent (storage commitment)."""

from collections.abc import Iterator

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.peer import NotReached, Peer
from gateway.adapters.dicom.pledge import offers_to_keep
from gateway.adapters.tls import TlsError
from gateway.backends.pacs import tls_of_calls
from gateway.config import Config, Destination


def examine_commitment(config: Config, to: Destination) -> Iterator[Check]:
    """Whether a destination can be asked; nothing of one that is not."""
    if not (to.commitment and to.ae_title and to.host and to.port):
        return
    name = f"commitment of {to.name}"
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
