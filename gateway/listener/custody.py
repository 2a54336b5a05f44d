"""Who answers storage commitment requests, as the configuration says."""

from functools import partial

from gateway.backends.pacs import pacs_contents, requester_of
from gateway.config import Config
from gateway.ledger.store import Ledger

from .commitments import Commitments, Custody


def commitments_of(config: Config, ledger: Ledger) -> Commitments | None:
    """The worker; None where `dicom.commitment` is off.

    Raises
    ------
    TlsError
        The certificates or keys for the PACS cannot be used.
    """
    pacs = pacs_contents(config) if config.dicom.commitment else None
    if pacs is None:
        return None
    custody = Custody(
        pacs,
        config.study.find.ae_title.strip(),
        config.dicom.ae_title,
        partial(requester_of, config),
        config.study.timeout_s,
    )
    return Commitments(ledger, custody)
