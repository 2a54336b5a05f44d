"""Application entities that the configuration names: the PACS that is asked what it holds (`study.find`), and
who may be told what became of a storage commitment request.
"""

import ipaddress

from gateway.adapters.dicom.contents import PacsContents
from gateway.adapters.dicom.peer import Peer
from gateway.adapters.tls import Tls, TlsFiles
from gateway.config import Config, PeerTls


def tls_of_calls(tls: PeerTls, *, checks_name: bool = False) -> Tls | None:
    """What this gateway speaks where it calls; None: plain TCP, and by HTTPS whoever the system trusts.

    Raises
    ------
    TlsError
        Certificates or keys cannot be used.
    """
    if not tls.is_wanted:
        return None
    return Tls(TlsFiles(tls.ca, tls.certificate, tls.key), is_server=False, checks_name=checks_name)


def pacs_peer(config: Config) -> Peer | None:
    """Whom `study.find` names; None where it names nobody.

    Raises
    ------
    TlsError
        Its certificates or keys cannot be used.
    """
    find = config.study.find
    return Peer(find.ae_title, find.host, find.port, tls_of_calls(find.tls)) if find.is_wanted else None


def pacs_contents(config: Config) -> PacsContents | None:
    """The same, as what is asked what it holds of a study.

    Raises
    ------
    TlsError
        Its certificates or keys cannot be used.
    """
    peer = pacs_peer(config)
    return None if peer is None else PacsContents(peer, config.dicom.ae_title)


def requester_of(config: Config, ae_title: str, address: str) -> Peer | None:
    """Where somebody who asked takes an association of ours; None where nothing says so.

    Its port stands with it in `dicom.allow`, or a destination or the PACS of `study.find` has its AE title.

    Raises
    ------
    TlsError
        The certificates or keys for it cannot be used.
    """
    called_from = ipaddress.ip_address(address.partition("%")[0])
    called_from = getattr(called_from, "ipv4_mapped", None) or called_from
    for sender in config.dicom.allow:
        network = ipaddress.ip_network(sender.address, strict=False)
        if sender.port and sender.ae_title.strip() == ae_title and called_from in network:
            return Peer(ae_title, str(called_from), sender.port)
    known = [(to.ae_title, to.host, to.port, to.tls) for to in config.destination]
    find = config.study.find
    for title, host, port, tls in (*known, (find.ae_title, find.host, find.port, find.tls)):
        if title and host and port and title.strip() == ae_title:
            return Peer(ae_title, host, port, tls_of_calls(tls))
    return None
