"""Takes reports of destinations that were asked to keep what they were sent (N-EVENT-REPORT, PS3.4 J.3.3).

They come on associations that a destination opens. One is believed where it has the AE title of who was
asked and names a transaction of ours, and is in the ledger before it is answered.
"""

from collections.abc import Mapping
from typing import Final

import structlog

from gateway.adapters import command_set
from gateway.adapters.dicom.pledge import NotUnderstood, read_report
from gateway.config import Config
from gateway.ledger.pledges import ForeignPledge, UnknownPledge, take_report
from gateway.ledger.store import Ledger

from .statuses import (
    INVALID_ARGUMENT_VALUE,
    NO_SUCH_EVENT,
    NOT_AUTHORIZED,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
)
from .wire.naming import COMMITMENT, NamingRequest, Written

_EVENT_TYPES: Final = (1, 2)
"""All is kept, and some is not (PS3.4 J.3.3.1.1)."""

log = structlog.get_logger(__name__)


class Pledged:
    """Who may report.

    Parameters
    ----------
    reporters
        AE titles of destinations that are asked, each with their names.
    """

    def __init__(self, ledger: Ledger, reporters: Mapping[str, frozenset[str]]) -> None:
        self._ledger = ledger
        self.reporters = reporters

    @staticmethod
    def is_report(request: NamingRequest) -> bool:
        """Whether a request reports what a destination keeps."""
        field = request.elements.get(command_set.COMMAND_FIELD, b"")
        is_event = int.from_bytes(field, "little") == command_set.N_EVENT_REPORT_RQ
        return is_event and request.sop_class_uid == COMMITMENT

    def take(self, request: NamingRequest) -> Written:
        """Write down what is reported; what it is answered."""
        status = self._taken(request)
        if status != SUCCESS:
            log.warning(
                "commitment_report_not_taken", calling_ae_title=request.sender, status=f"0x{status:04X}"
            )
        return Written(status)

    def _taken(self, request: NamingRequest) -> int:
        kind = request.elements.get(command_set.EVENT_TYPE_ID, b"")
        if int.from_bytes(kind, "little") not in _EVENT_TYPES:
            return NO_SUCH_EVENT
        try:
            report = read_report(request.data_set, request.transfer_syntax_uid)
            with self._ledger.transaction() as transaction:
                kept = take_report(transaction, report, self.reporters.get(request.sender, frozenset()))
        except NotUnderstood:
            return PROCESSING_FAILURE
        except UnknownPledge:
            return INVALID_ARGUMENT_VALUE
        except ForeignPledge:
            return NOT_AUTHORIZED
        except Exception:  # the ledger's: who reports tries again
            log.exception("commitment_report_not_kept", calling_ae_title=request.sender)
            return RESOURCE_LIMITATION
        log.info(
            "commitment_report_taken",
            calling_ae_title=request.sender,
            kept=kept,
            failed=len(report.failures),
        )
        return SUCCESS


def pledged(config: Config, ledger: Ledger) -> Pledged:
    """Who may report, as the configuration says."""
    reporters: dict[str, frozenset[str]] = {}
    for to in config.destination:
        if to.commitment and to.ae_title:
            title = to.ae_title.strip()
            reporters[title] = reporters.get(title, frozenset()) | {to.name}
    return Pledged(ledger, reporters)
