"""Answers storage commitment requests (PS3.4 J): what the PACS confirms is committed, and nothing else.

The gateway keeps no image for good. So it asks the PACS of `study.find` by C-FIND whether it has each
instance, again and again for `study.timeout_s`, and says that the PACS is where they can be had. What is
decided is written down first, and reported then until the requester has taken it: on the association on which
it asked while that is open, else on a new one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.adapters.contents import Contents, NotTold
from gateway.adapters.dicom.commitment import CommitmentReport, tell
from gateway.adapters.dicom.peer import Calls, NotReached, Peer
from gateway.adapters.errors import CalledOff
from gateway.adapters.tls import TlsError
from gateway.events import AssociationClosed, Event
from gateway.ledger.commitments import (
    AskedFor,
    CommitmentRow,
    asked_for,
    decide,
    is_reported,
    open_commitments,
)
from gateway.ledger.named import KEPT_S
from gateway.ledger.store import Ledger
from gateway.workers.attempts import Backoff
from gateway.workers.waits import Rests, Waits
from gateway.workers.worker import Worker

from .wire.reporting import Line

log = structlog.get_logger(__name__)

# Failure Reasons, PS3.3 C.14.1.1
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
CLASS_CONFLICT: Final = 0x0119

AGAIN: Final = Backoff(0.5, 15.0)
"""When it is looked again for what is not here, or not in the PACS."""
LATER: Final = Backoff(5.0, 300.0)
"""When a PACS or a requester is tried again that did not answer."""


@dataclass(frozen=True)
class Custody:
    """With whom a gateway commits itself.

    Parameters
    ----------
    pacs
        Who confirms.
    pacs_ae_title
        Where instances can be had: the Retrieve AE Title.
    ae_title
        This gateway's own.
    requester
        Where an AE title that asked from an address takes reports; None: nobody knows.
    timeout_s
        So long after a request what is missing is waited for.
    """

    pacs: Contents
    pacs_ae_title: str
    ae_title: str
    requester: Callable[[str, str], Peer | None]
    timeout_s: float


class Commitments(Worker):
    """Decides and reports, one request after the other."""

    def __init__(self, ledger: Ledger, custody: Custody, waits: Waits | None = None) -> None:
        super().__init__("commitment", ledger.bus)
        self._ledger = ledger
        self._custody = custody
        self._waits = waits or Waits()
        self._looks, self._rests = Rests(self._waits.monotonic), Rests(self._waits.monotonic)
        self._lines: dict[int, Line] = {}
        self._calls = Calls()

    def asked_on(self, key: int, line: Line) -> None:
        """A request was answered on this line, and its report may go there."""
        self._lines[key] = line
        for rests in (self._looks, self._rests):
            rests.try_now(str(key))
        self.look_again()

    def is_woken_by(self, event: Event) -> bool:
        """Whether something that was asked for may have come."""
        if not isinstance(event, AssociationClosed):
            return False
        for name in self._looks.known():
            self._looks.try_now(name)
        return True

    def interrupt(self) -> None:
        """Cut the question and the report at hand."""
        self._custody.pacs.interrupt()
        self._calls.end()

    def work(self) -> float | None:
        """Decide what can be decided, and report it; the seconds until something is tried again."""
        lines = list(self._lines)  # before the requests: one that is new now has its line by then, not before
        requests = {str(request.key): request for request in open_commitments(self._ledger)}
        for rests in (self._looks, self._rests):
            rests.keep(requests)
        self._waits.keep([key for name in requests for key in (name, _for_good(name))])
        for name in requests.keys() - self._resting().keys():
            if self.is_stopping:
                return None
            with self.at(f"commitment {name}"):
                self._go_on_with(requests[name])
        for key in lines:
            if str(key) not in requests:
                self._lines.pop(key, None)
        self.trouble = self._rests.complaint()
        return min(self._resting().values(), default=None)

    def _resting(self) -> dict[str, float]:
        return self._looks.left_s() | self._rests.left_s()

    def _go_on_with(self, request: CommitmentRow) -> None:
        asked = asked_for(self._ledger, request.key)
        failures = request.failures
        if failures is None:
            failures = self._decided(request, asked)
        if failures is not None:
            self._report(request, asked, failures)

    # -- what is committed --------------------------------------------------------------------------------

    def _decided(self, request: CommitmentRow, asked: Collection[AskedFor]) -> Mapping[str, int] | None:
        """What is not committed; None where that is not known yet."""
        is_late = not self._waits.left_after_s(
            str(request.key), request.requested_at, self._custody.timeout_s
        )
        if not is_late and not all(one.study_uid for one in asked):
            self._looks.put_off(str(request.key), AGAIN, "")
            return None
        try:
            there = self._confirmed(asked)
        except CalledOff:
            return None
        except NotTold as error:
            if not self._is_given_up(request):
                self._rests.put_off(str(request.key), LATER, str(error))
                return None
            failures = {one.sop_instance_uid: PROCESSING_FAILURE for one in asked}
        else:
            failures = {one.sop_instance_uid: why for one in asked if (why := _why_not(one, there))}
            if not is_late and NO_SUCH_INSTANCE in failures.values():
                self._looks.put_off(str(request.key), AGAIN, "")
                return None
        with self._ledger.transaction() as transaction:
            decide(transaction, request.key, failures)
        self._rests.resume(str(request.key))
        return failures

    def _confirmed(self, asked: Collection[AskedFor]) -> set[str]:
        """What of it the PACS has."""
        series: dict[str, set[str]] = defaultdict(set)
        for one in asked:
            if one.study_uid and (series_uid := one.series_uid or self._series_of_result(one)):
                series[one.study_uid].add(series_uid)
        there: set[str] = set()
        for study_uid, series_uids in series.items():
            for contents in self._custody.pacs.of_series(study_uid, sorted(series_uids)).values():
                there |= contents.instance_uids or set()
        return there

    def _series_of_result(self, asked: AskedFor) -> str:
        """The series of a result of ours, as its file says; empty where that is gone."""
        path = self._ledger.path.parent / asked.result_path
        try:
            header = dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
        except (OSError, InvalidDicomError):
            return ""
        return str(header.get("SeriesInstanceUID", ""))

    # -- who is told --------------------------------------------------------------------------------------

    def _report(
        self, request: CommitmentRow, asked: Collection[AskedFor], failures: Mapping[str, int]
    ) -> None:
        instances = {one.sop_instance_uid: one.sop_class_uid for one in asked}
        report = CommitmentReport(request.transaction_uid, instances, failures, self._custody.pacs_ae_title)
        try:
            why_not = self._told(request, report)
        except (NotReached, TlsError) as error:
            if self._calls.is_over:
                return
            why_not = str(error)
        if why_not and not self._is_given_up(request):
            self._rests.put_off(str(request.key), LATER, why_not)
            return
        with self._ledger.transaction() as transaction:
            is_reported(transaction, request.key, _by_study(asked, failures))
        self._rests.resume(str(request.key))
        tell_log = log.warning if why_not else log.info
        tell_log(
            "commitment_given_up" if why_not else "commitment_reported",
            calling_ae_title=request.sender,
            committed=len(instances) - len(failures),
            failed=len(failures),
        )

    def _told(self, request: CommitmentRow, report: CommitmentReport) -> str:
        """Tell the requester; why it does not know, in a sentence, and empty where it does.

        Raises
        ------
        NotReached, TlsError
        """
        line = self._lines.get(request.key)
        status = line.report(report) if line is not None else None
        if status is None:
            peer = self._custody.requester(request.sender, request.address)
            if peer is None:
                return (
                    f"{request.sender} asked for storage commitment and nobody knows where it takes the"
                    " answer; give dicom.allow its port"
                )
            status = tell(peer, self._custody.ae_title, report, self._calls)
        if status == 0:
            return ""
        said = "not" if status is None else f"with 0x{status:04X}"
        return f"{request.sender} answered the report of a storage commitment {said}; look at its log"

    def _is_given_up(self, request: CommitmentRow) -> bool:
        return not self._waits.left_after_s(_for_good(str(request.key)), request.requested_at, KEPT_S)


def _for_good(name: str) -> str:
    return f"{name} for good"


def _why_not(asked: AskedFor, there: Collection[str]) -> int:
    """The Failure Reason of one instance; 0 where it is committed."""
    if not asked.study_uid or asked.sop_instance_uid not in there:
        return NO_SUCH_INSTANCE
    return CLASS_CONFLICT if asked.class_here != asked.sop_class_uid else 0


def _by_study(asked: Collection[AskedFor], failures: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """How many instances of each study are committed, and how many are not."""
    failed = Counter(one.study_uid for one in asked if one.sop_instance_uid in failures)
    total = Counter(one.study_uid for one in asked)
    return {uid: (total[uid] - failed[uid], failed[uid]) for uid in total if uid}
