"""One worker for each destination that is asked to keep what it was sent: asks, and waits for its word.

It asks once for all that a job sent there (N-ACTION, PS3.4 J.3.2), after the last of it, and again where no
report comes. What was asked before a start is asked again at once: its report may have come while nobody
listened. A report is taken where it comes: here on the same association, else in the listener.
"""

import threading
from typing import Final

import structlog
from pydicom.uid import generate_uid

from gateway.adapters.dicom.peer import Calls, NothingAccepted, NotReached, Peer
from gateway.adapters.dicom.pledge import ask_to_keep, request_for
from gateway.adapters.pledge_report import PROCESSING_FAILURE, PledgeReport
from gateway.adapters.tls import TlsError
from gateway.backends.pacs import tls_of_calls
from gateway.config import Destination
from gateway.events import Bus, DeliveryChanged, Event
from gateway.ledger.pledges import (
    ForeignPledge,
    Unkept,
    UnknownPledge,
    begin_asking,
    end_waiting,
    give_up,
    say_why_unkept,
    take_report,
    unkept,
)
from gateway.ledger.states import DeliveryEvent, DeliveryState
from gateway.ledger.store import Ledger
from gateway.workers.attempts import Backoff
from gateway.workers.waits import Rests, Waits
from gateway.workers.worker import Worker

log = structlog.get_logger(__name__)

ANSWER: Final = Backoff(300.0, 3600.0)
"""So long a report is waited for before it is asked again."""
LATER: Final = Backoff(5.0, 300.0)
"""When who does not answer is asked again."""
_NOT_OFFERED: Final = frozenset({0x0118, 0x0122, 0x0123, 0x0211})
"""Statuses of N-ACTION of who knows no storage commitment: no such SOP class, not supported, no such action,
unrecognized operation (PS3.7 C).
"""
_INVALID_ARGUMENT_VALUE: Final = 0x0115
_ALL: Final = ""


class Pledging(Worker):
    """Asks one destination.

    Parameters
    ----------
    calling_ae_title
        This gateway's own, to which it reports.
    """

    def __init__(
        self,
        destination: Destination,
        calling_ae_title: str,
        ledger: Ledger,
        bus: Bus,
    ) -> None:
        super().__init__(f"commitment-{destination.name}", bus)
        assert destination.ae_title
        assert destination.host
        assert destination.port
        self._to = destination.name
        tls = tls_of_calls(destination.tls)
        self._peer = Peer(destination.ae_title, destination.host, destination.port, tls)
        self._patience_s = destination.give_up_after_h * 3600
        self._calling_ae_title = calling_ae_title
        self._ledger = ledger
        self._waits = Waits()
        self._asked: dict[str, int] = {}
        """Jobs that were asked for since the start, and how often."""
        self._away, self._rests = Rests(), Rests()
        self._calls = Calls()
        self._is_told = threading.Event()

    def is_woken_by(self, event: Event) -> bool:
        """Whether something was sent, a person wants it asked now, or a report came."""
        if not isinstance(event, DeliveryChanged):
            return False
        if event.event == "tried_now":
            self._away.try_now(_ALL)
        if event.event in (DeliveryEvent.COMMITTED, DeliveryEvent.COMMITMENT_REFUSED):
            self._is_told.set()
        return event.state != DeliveryState.PENDING and not event.event.startswith("commitment_")

    def interrupt(self) -> None:
        """Cut the question at hand."""
        self._calls.end()
        self._is_told.set()

    def work(self) -> float | None:
        """Ask for what is due; the seconds until something else is."""
        groups = {group.job_key: group for group in unkept(self._ledger, self._to)}
        self._asked = {name: times for name, times in self._asked.items() if name in groups}
        self._rests.keep(groups)
        self._waits.keep([key for name in groups for key in (name, _for_good(name))])
        wait_s: float | None = None
        for group in groups.values():
            if self.is_stopping:
                return None
            left_s = max(self._left_s(group), self._away.left_s().get(_ALL, 0.0))
            if left_s <= 0:
                with self.at_job(group.job_key):
                    self._ask(group)
                left_s = 0.0
            wait_s = left_s if wait_s is None else min(wait_s, left_s)
        if not groups:
            self._away.resume(_ALL)
        self.trouble = self._away.complaint() or self._rests.complaint()
        return wait_s

    def _left_s(self, group: Unkept) -> float:
        if not group.until or group.job_key not in self._asked:
            return 0.0
        return self._waits.left_s(group.job_key, group.until, ANSWER.longest_s)

    # -- one job ------------------------------------------------------------------------------------------

    def _ask(self, group: Unkept) -> None:
        self._asked[group.job_key] = self._asked.get(group.job_key, 0) + 1
        transaction_uid = str(generate_uid(prefix=None))  # of a UUID: nobody guesses it
        with self._ledger.transaction() as transaction:
            instances = begin_asking(transaction, group.job_key, self._to, transaction_uid)
        if not instances:
            return
        self._is_told.clear()
        information = request_for(transaction_uid, instances)
        try:
            status = ask_to_keep(
                self._peer, self._calling_ae_title, information, self._take, self._is_told, self._calls
            )
        except NothingAccepted:
            self._is_not_offered(group)
        except (NotReached, TlsError) as error:
            if not self._calls.is_over:
                self._wait(group, str(error), self._away, _ALL)
        else:
            if not self._calls.is_over:
                self._act_on(group, status)

    def _take(self, report: PledgeReport) -> int:
        """Write down what is reported while it is asked: who was called says it."""
        try:
            with self._ledger.transaction() as transaction:
                take_report(transaction, report, [self._to])
        except (UnknownPledge, ForeignPledge):
            return _INVALID_ARGUMENT_VALUE
        except Exception:  # the ledger's: it is reported again, or asked for
            log.exception("commitment_report_not_kept", destination=self._to)
            return PROCESSING_FAILURE
        return 0

    def _act_on(self, group: Unkept, status: int | None) -> None:
        self._away.resume(_ALL)
        if status == 0:
            self._rests.resume(group.job_key)
            log.info("commitment_asked", job_key=group.job_key, destination=self._to)
            said = f"{self._to} was asked to commit itself to keep it; its report is awaited"
            times = self._asked[group.job_key]
            self._say(group, said, ANSWER.delay_s(times - 1), is_last=times > 1)
        elif status in _NOT_OFFERED:
            self._is_not_offered(group)
        else:
            how = "not" if status is None else f"with status 0x{status:04X}"
            said = f"{self._to} answered {how} when it was asked to commit itself; look at its log"
            self._wait(group, said, self._rests, group.job_key)

    def _wait(self, group: Unkept, sentence: str, rests: Rests, name: str) -> None:
        delay_s = rests.put_off(name, LATER, sentence)
        log.warning(
            "commitment_put_off",
            job_key=group.job_key,
            destination=self._to,
            reason=sentence,
            delay_s=round(delay_s),
        )
        self._say(group, sentence, delay_s)

    def _say(self, group: Unkept, sentence: str, delay_s: float, *, is_last: bool = True) -> None:
        """Show why it is not kept yet; fail it where its time is over, and this may be the last try."""
        is_over = not self._waits.left_after_s(_for_good(group.job_key), group.since, self._patience_s)
        with self._ledger.transaction() as transaction:
            if is_over and is_last:
                reason = (
                    f"sent, and given up after {self._patience_s / 3600:.1f} h: {sentence}. See that it knows"
                    f" this gateway as {self._calling_ae_title} with host and port, then retry"
                )
                give_up(transaction, group.job_key, self._to, reason)
            else:
                say_why_unkept(transaction, group, self._to, sentence, delay_s=delay_s)

    def _is_not_offered(self, group: Unkept) -> None:
        reason = f"{self._to} offers no storage commitment, so nobody says that it keeps it"
        log.warning("commitment_not_offered", destination=self._to, job_key=group.job_key)
        with self._ledger.transaction() as transaction:
            end_waiting(transaction, group.job_key, self._to, reason)


def _for_good(name: str) -> str:
    return f"{name} for good"
