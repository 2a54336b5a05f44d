"""One worker for each destination: sends what is due, the most urgent first, and waits while nobody is there.

What goes wrong with one delivery concerns that delivery only; where nobody is there the destination rests as
a whole, and everything that waits for it says why. What the destination answered is kept until the ledger has
it.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.config import Destination
from gateway.config.outputs import NOTE
from gateway.events import Bus, DeliveryChanged, Event, JobChanged
from gateway.files.kept import is_whole
from gateway.ledger.deliveries import (
    due_of_job,
    is_any_pending,
    next_delivery,
    put_off_deliveries,
    put_off_delivery,
    still_pending,
)
from gateway.ledger.holding import hold_result, may_be_corrected
from gateway.ledger.lost import WITH_OBJECTS, make_again
from gateway.ledger.records import DeliveryRow, utc_now
from gateway.ledger.rejected import said_of
from gateway.ledger.results import result_object
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.under_way import fail
from gateway.ledger.withdrawals import make_note_again
from gateway.ledger.work import job as job_of
from gateway.workers.attempts import Backoff, Blame, Fault, Policy, fault_of
from gateway.workers.waits import Rests, Waits
from gateway.workers.worker import Worker

from .another_form import AnotherForm
from .carriers.carrier import Carrier, CarriesSome, Outcome, Receipt
from .patient_check import PatientCheck, why_held
from .transfers import Transfers
from .waiting import Waiting

log = structlog.get_logger(__name__)

POLICY = Policy(outside=Backoff(2.0, 60.0))
LIMIT_S: Final = 1800.0
"""How long an object may be on its way; a large one takes minutes over a slow line."""
GONE = "its file is gone from the results folder, and its job is {state}; retry the job"
TIDY_EVERY: Final = 50
"""What is over is forgotten at each look while fewer wait than these, then ever more seldom."""
_ALL = ""
"""What the destination as a whole, and the worker's own pauses, are counted under."""


class DeliveryWorker(Worker):
    """Sends every pending delivery of one destination.

    Parameters
    ----------
    data_dir
        Where the paths of result objects begin.
    another_form
        Has what is not taken made in another form; without it that fails.
    """

    def __init__(
        self,
        destination: Destination,
        carrier: Carrier,
        ledger: Ledger,
        bus: Bus,
        data_dir: Path,
        another_form: AnotherForm | None = None,
        *,
        policy: Policy | None = None,
        waits: Waits | None = None,
    ) -> None:
        super().__init__(f"delivery-{destination.name}", bus, limit_s=LIMIT_S)
        self._to = destination.name
        self._is_to_be_kept = destination.commitment
        self._carrier = carrier
        self._patients = PatientCheck(carrier, is_wanted=destination.check_patient)
        self._ledger = ledger
        self._data_dir = data_dir
        self._another_form = another_form
        self._policy = policy or POLICY
        self._waits = Waits()
        patience_s = destination.give_up_after_h * 3600
        self._waiting = Waiting(ledger, destination.name, patience_s, waits or Waits())
        self._rests = Rests()
        self._away = Rests()
        self._pauses = Rests()
        self._untold: dict[str, Receipt] = {}
        self._transfers = Transfers(ledger)
        self.job_at_hand = ""
        """The job of what is under way."""
        self._looks_until_tidy = 0

    def is_woken_by(self, event: Event) -> bool:
        """Whether a delivery became pending, a person wants it tried now, or it is complained of and over."""
        if isinstance(event, JobChanged):
            return event.event == JobEvent.RELEASED
        if not isinstance(event, DeliveryChanged):
            return False
        if event.state != DeliveryState.PENDING:
            return self._rests.times(event.key) + self._away.times(_ALL) > 0
        if event.event in ("tried_now", "retried"):
            self._rests.try_now(event.key)
            self._away.try_now(_ALL)
        return event.event != "put_off"

    def interrupt(self) -> None:
        """Abort what is on its way; it is sent again at the next start."""
        self._carrier.interrupt()

    def work(self) -> float | None:
        """Send what is due; after each the most urgent is looked for anew."""
        self._patients.forget()
        if not is_any_pending(self._ledger, self._to):
            self._away.resume(_ALL)
            self._waiting.is_empty_now()
            self._looks_until_tidy = 0
        self._forget_what_is_over()
        wait_s: float | None = 0.0
        while not self.is_stopping and wait_s == 0.0:
            wait_s = self._send_next()
            self.trouble = self._away.complaint() or self._rests.complaint()
        return wait_s

    def _send_next(self) -> float | None:
        """Send what is most urgent; 0 where there may be more, else the seconds until something is due."""
        away_s = self._away.left_s().get(_ALL)
        if away_s is not None:
            return away_s
        put_off = put_off_deliveries(self._ledger, self._to)
        self._waits.keep(put_off)
        left_s = {
            key: self._waits.left_s(key, until, self._policy.longest_s) for key, until in put_off.items()
        }
        resting = {key: left for key, left in left_s.items() if left > 0} | self._rests.left_s()
        delivery = next_delivery(self._ledger, self._to, resting, put_off.keys() - resting.keys())
        if delivery is None:
            return min(resting.values(), default=None)
        self.job_at_hand = delivery.job_key
        try:
            with self.at_job(delivery.job_key):
                fault = self._deliver(delivery)
        finally:
            self.job_at_hand = ""
            self._transfers.keep(self._untold)
        if fault is not None and fault.blame is Blame.MACHINE and fault.is_everywhere:
            self.pause(self._pauses.put_off(_ALL, self._policy.machine, fault.sentence))
            return None
        self._pauses.resume(_ALL)
        return 0.0

    def _forget_what_is_over(self) -> None:
        """Keep in memory what still waits; now and then only, since that may be very much."""
        if self._looks_until_tidy > 0:
            self._looks_until_tidy -= 1
            return
        known = {*self._rests.known(), *self._waiting.known(), *self._untold}
        waiting = still_pending(self._ledger, self._to, known) if known else set()
        self._rests.keep(waiting)
        self._waiting.keep(waiting)
        self._untold = {key: receipt for key, receipt in self._untold.items() if key in waiting}
        self._looks_until_tidy = len(waiting) // TIDY_EVERY

    # -- one delivery -------------------------------------------------------------------------------------

    def _deliver(self, delivery: DeliveryRow) -> Fault | None:
        """Send one object; what went wrong, or None. Whatever is raised here concerns this delivery."""
        try:
            self._waiting.left_s(delivery)  # its time runs from here on
            receipt = self._untold.get(delivery.key) or self._carry(delivery)
            if receipt is None:
                return None
            if self.is_stopping and receipt.outcome is not Outcome.ARRIVED:
                return None  # it may be the stop that broke it off
            self._untold[delivery.key] = receipt
            self._act_on(delivery, receipt)
        except StaleRow:
            log.info("delivery_moved_meanwhile", job_key=delivery.job_key, destination=self._to)
        except BaseException as error:
            if delivery.key not in self._untold:
                self._transfers.raised([delivery.key], error)
            return self._went_wrong(delivery, error)
        self._untold.pop(delivery.key, None)
        return None

    def _carry(self, delivery: DeliveryRow) -> Receipt | None:
        """Send the object; None where it is held, or is gone and made again."""
        path = self._path(delivery)
        if path is not None and self._is_held(delivery, path):
            return None
        if path is not None:
            return self._carry_with_others(delivery, path) or self._transfers.carry(
                self._carrier, path, delivery.key
            )
        if self._is_note(delivery):
            with self._ledger.transaction() as transaction:
                make_note_again(transaction, delivery.key)
            return None
        job = job_of(self._ledger, delivery.job_key)
        if job is None or job.state not in WITH_OBJECTS:
            return Receipt(Outcome.REFUSED, GONE.format(state=job.state if job is not None else "gone"))
        log.warning("result_gone", job_key=job.job_key)
        with self._ledger.transaction() as transaction:
            make_again(transaction, job, "an object of its result is gone from the results folder")
        return None

    def _is_held(self, delivery: DeliveryRow, path: Path) -> bool:
        """Keep back what would go to another patient than the destination has the study for."""
        reason = why_held(self._ledger, self._patients, delivery, path)
        if not reason:
            return False
        if may_be_corrected(self._ledger, delivery.study_uid):
            self._put_off(delivery, self._policy.own, reason)
            return True
        log.warning("result_of_another_patient_held", job_key=delivery.job_key, destination=self._to)
        with self._ledger.transaction() as transaction:
            hold_result(transaction, delivery, reason)
        return True

    def _is_note(self, delivery: DeliveryRow) -> bool:
        """Whether it is a note that rejects earlier results."""
        made = result_object(self._ledger, delivery.sop_instance_uid)
        return made is not None and made.output == NOTE

    def _carry_with_others(self, delivery: DeliveryRow, path: Path) -> Receipt | None:
        """Send what comes next of its job, too, where several go at once; each is told when its turn comes.

        What is wrong with one of the files shows when that goes alone.
        """
        if not isinstance(self._carrier, CarriesSome):
            return None
        keys = {path: delivery.key}
        resting = {delivery.key, *self._rests.left_s(), *self._untold}

        def paths() -> Iterator[Path]:
            yield path
            for other in due_of_job(self._ledger, self._to, delivery.job_key, resting):
                if (found := self._path(other)) is not None:
                    keys[found] = other.key
                    yield found

        with suppress(OSError):
            together = self._carrier.room_for(paths())
            if len(together) > 1:
                receipts = self._transfers.carry_some(self._carrier, {one: keys[one] for one in together})
                own = receipts.pop(path, None)
                self._untold |= {keys[other]: receipt for other, receipt in receipts.items()}
                return own
        return None

    def _path(self, delivery: DeliveryRow) -> Path | None:
        """Its file; None where that is gone, or damaged."""
        made = result_object(self._ledger, delivery.sop_instance_uid)
        return self._data_dir / made.path if made is not None and is_whole(self._data_dir, made) else None

    def _act_on(self, delivery: DeliveryRow, receipt: Receipt) -> None:
        self._away.resume(_ALL)
        match receipt.outcome:
            case Outcome.ARRIVED:
                self._succeed(delivery, receipt.sentence)
            case Outcome.AGAIN:
                self._try_again(delivery, receipt.sentence)
            case Outcome.UNKNOWN:
                self._transfers.have_no_answer([delivery.key])
                self._try_again(delivery, receipt.sentence)
            case Outcome.NOT_TAKEN:
                self._take_another_form(delivery, receipt.sentence)
            case Outcome.REFUSED:
                self._fail(delivery, receipt.sentence)

    def _take_another_form(self, delivery: DeliveryRow, sentence: str) -> None:
        """Have it made in a form that is taken, where there is one."""
        path = self._path(delivery)
        if self._another_form is None or path is None:
            self._fail(delivery, sentence)
            return
        form = self._another_form.remember(self._to, path)
        with self._ledger.transaction() as transaction:
            is_made = self._transfers.still_waits(transaction, delivery.key) and self._another_form.is_made(
                transaction, delivery, form, sentence
            )
        if is_made:
            log.warning("form_refused", job_key=delivery.job_key, destination=self._to, reason=sentence)
        else:
            self._fail(delivery, sentence)

    # -- what went wrong ----------------------------------------------------------------------------------

    def _went_wrong(self, delivery: DeliveryRow, error: BaseException) -> Fault | None:
        """Put off what an exception concerns; where the ledger cannot be told, in memory."""
        if self.is_stopping:
            return None
        fault = fault_of(error, f"the delivery to {self._to}")
        if fault.is_defect:
            log.exception("delivery_raised", job_key=delivery.job_key, destination=self._to)
        try:
            self._blame(delivery, fault)
        except StaleRow:
            log.info("delivery_moved_meanwhile", job_key=delivery.job_key, destination=self._to)
        except Exception as ledgers:
            fault = fault_of(ledgers, "the ledger")
            if fault.is_defect:
                log.exception("delivery_not_told", job_key=delivery.job_key, destination=self._to)
            self._rests.put_off(delivery.key, self._policy.machine, fault.sentence)
        return fault

    def _blame(self, delivery: DeliveryRow, fault: Fault) -> None:
        if fault.blame is Blame.OUTSIDE:
            self._wait_for_all(delivery, fault.sentence)
        elif fault.blame is Blame.MACHINE and not fault.is_counted:
            self._put_off(delivery, self._policy.machine, fault.sentence)
        elif fault.is_final:
            self._fail(delivery, fault.sentence)
        elif self._policy.is_enough(fault, times := self._rests.times(delivery.key) + 1):
            self._fail(delivery, f"{fault.sentence} ({times} times; retry when it is settled)")
        else:
            self._put_off(delivery, self._policy.own, fault.sentence)

    def _wait_for_all(self, tried: DeliveryRow, reason: str) -> None:
        """Nobody is there: everything waits, says so, and is given up when its time is over."""
        delay_s = self._away.put_off(_ALL, self._policy.outside, reason)
        log.warning("destination_away", destination=self._to, reason=reason, delay_s=round(delay_s))
        with self._ledger.transaction() as transaction:
            self._transfers.none_arrived(transaction, self._untold)
            if transaction.delivery(tried.key).state is DeliveryState.PENDING:
                put_off_delivery(transaction, tried.key, delay_s=delay_s, reason=reason)
        for delivery in self._waiting.over():
            if self.is_stopping:
                return
            with suppress(StaleRow):  # it moved meanwhile
                self._give_up(delivery, reason)
        self._waiting.tell(reason, lambda: self.is_stopping)

    def _try_again(self, delivery: DeliveryRow, sentence: str) -> None:
        """Try one delivery again that was not taken, until its time is over."""
        if self._waiting.left_s(delivery) > 0:
            self._put_off(delivery, self._policy.own, sentence, earlier=delivery.attempts)
        else:
            self._give_up(delivery, sentence)

    def _give_up(self, delivery: DeliveryRow, sentence: str) -> None:
        """Fail what has waited for too long."""
        self._fail(delivery, f"given up after {self._waiting.patience_s / 3600:.1f} h: {sentence}")

    def _put_off(
        self, delivery: DeliveryRow, backoff: Backoff, reason: str, earlier: int | None = None
    ) -> None:
        delay_s = self._rests.put_off(delivery.key, backoff, reason, earlier)
        log.warning(
            "delivery_put_off",
            job_key=delivery.job_key,
            destination=self._to,
            reason=reason,
            delay_s=round(delay_s),
        )
        with self._ledger.transaction() as transaction:
            if self._transfers.still_waits(transaction, delivery.key):
                put_off_delivery(transaction, delivery.key, delay_s=delay_s, reason=reason)

    # -- how it ends --------------------------------------------------------------------------------------

    def _succeed(self, delivery: DeliveryRow, sentence: str) -> None:
        since = utc_now() if self._is_to_be_kept else None
        with self._ledger.transaction() as transaction:
            transaction.move_delivery(
                delivery.key,
                DeliveryEvent.SENT,
                reason=said_of(transaction, delivery.sop_instance_uid),
                columns={"attempts": delivery.attempts + 1, "unkept_since": since},
                answer=sentence,
            )
        self._rests.resume(delivery.key)
        log.info("delivered", job_key=delivery.job_key, destination=self._to)

    def _fail(self, delivery: DeliveryRow, sentence: str) -> None:
        with self._ledger.transaction() as transaction:
            if self._transfers.still_waits(transaction, delivery.key):
                fail(transaction, delivery.key, sentence)
        self._rests.resume(delivery.key)
        log.error("delivery_failed_for_good", job_key=delivery.job_key, destination=self._to, reason=sentence)
