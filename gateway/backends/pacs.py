"""The PACS that the configuration names, as what is asked what it holds (`study.find`)."""

from gateway.adapters.dicom.contents import PacsContents
from gateway.adapters.dicom.peer import Peer
from gateway.adapters.tls import Tls, TlsFiles
from gateway.config import Config, PeerTls


def tls_of_calls(tls: PeerTls) -> Tls | None:
    """What this gateway speaks where it calls; None: plain TCP.

    Raises
    ------
    TlsError
        Certificates or keys cannot be used.
    """
    if not tls.is_wanted:
        return None
    return Tls(TlsFiles(tls.ca, tls.certificate, tls.key), is_server=False)


def pacs_contents(config: Config) -> PacsContents | None:
    """Whom `study.find` names; None where it names nobody.

    Raises
    ------
    TlsError
        Its certificates or keys cannot be used.
    """
    find = config.study.find
    if not find.is_wanted:
        return None
    return PacsContents(
        Peer(find.ae_title, find.host, find.port, tls_of_calls(find.tls)), config.dicom.ae_title
    )
