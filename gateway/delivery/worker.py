"""One worker for each destination: sends what is due, understands the answer, backs off while it is away."""

import random
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydicom import dcmread

from gateway.config import Destination
from gateway.events import Bus, DeliveryChanged, Event
from gateway.ledger.records import DeliveryRow, utc_time
from gateway.ledger.results import result_object
from gateway.ledger.states import DeliveryEvent, DeliveryState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import due_deliveries, put_off_delivery, seconds_to_next_delivery
from gateway.workers.worker import Worker

from .finding import holds_instance
from .peer import NotReached, Peer
from .sending import NotSendable, send_files
from .statuses import Answer, meaning, understand

log = structlog.get_logger(__name__)

FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 300.0


class DeliveryWorker(Worker):
    """Sends every pending delivery of one destination, oldest first.

    Parameters
    ----------
    data_dir
        Where the paths of deliveries begin.
    calling_ae_title
        This gateway's own AE title.
    """

    def __init__(
        self, destination: Destination, ledger: Ledger, bus: Bus, data_dir: Path, calling_ae_title: str
    ) -> None:
        assert destination.ae_title
        assert destination.host
        assert destination.port
        super().__init__(f"delivery-{destination.name}", bus)
        self._to = destination.name
        self._peer = Peer(destination.ae_title, destination.host, destination.port)
        self._give_up_after_s = destination.give_up_after_h * 3600
        self._ledger = ledger
        self._data_dir = data_dir
        self._calling_ae_title = calling_ae_title

    def is_woken_by(self, event: Event) -> bool:
        """Whether a delivery became pending."""
        return isinstance(event, DeliveryChanged) and event.state == DeliveryState.PENDING

    def work(self) -> float | None:
        """Send what is due."""
        for delivery in due_deliveries(self._ledger, self._to):
            if self.is_stopping:
                break
            try:
                self._deliver(delivery)
            except StaleRow:
                log.warning("delivery_moved_meanwhile", job_key=delivery.job_key, destination=self._to)
        return seconds_to_next_delivery(self._ledger, self._to)

    # -- one delivery -------------------------------------------------------------------------------------

    def _deliver(self, delivery: DeliveryRow) -> None:
        made = result_object(self._ledger, delivery.sop_instance_uid)
        path = self._data_dir / made.path if made is not None else None
        if path is None or not path.is_file():
            self._fail(delivery, "its file is gone from the results folder; cancel the job, then retry it")
            return
        try:
            status = send_files([path], self._peer, self._calling_ae_title)[0].status
        except NotReached as error:
            self._try_again(delivery, str(error))
        except NotSendable as error:
            self._fail(delivery, str(error))
        else:
            self._act_on(delivery, path, status)

    def _act_on(self, delivery: DeliveryRow, path: Path, status: int | None) -> None:
        sentence = f"{self._to} answered with {meaning(status)}" if status is not None else meaning(status)
        match understand(status):
            case Answer.STORED:
                self._succeed(delivery, sentence)
            case Answer.ALREADY_THERE if self._is_there(path) is False:
                self._try_again(delivery, f"{sentence}, but C-FIND does not show it")
            case Answer.ALREADY_THERE:
                self._succeed(delivery, sentence)
            case Answer.TRY_AGAIN:
                self._try_again(delivery, f"{sentence}; tried again later")
            case Answer.REFUSED:
                self._fail(delivery, f"{sentence}; settle it there, then retry")

    def _is_there(self, path: Path) -> bool | None:
        header = dcmread(path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
        return holds_instance(
            self._peer,
            self._calling_ae_title,
            study_uid=str(header.StudyInstanceUID),
            series_uid=str(header.SeriesInstanceUID),
            sop_instance_uid=str(header.SOPInstanceUID),
        )

    def _succeed(self, delivery: DeliveryRow, sentence: str) -> None:
        self.trouble = ""
        with self._ledger.transaction() as transaction:
            transaction.move_delivery(
                delivery.key,
                DeliveryEvent.SENT,
                expect=DeliveryState.PENDING,
                columns={"attempts": delivery.attempts + 1},
                answer=sentence,
            )
        log.info("delivered", job_key=delivery.job_key, destination=self._to)

    def _try_again(self, delivery: DeliveryRow, sentence: str) -> None:
        self.trouble = sentence
        waiting_s = (datetime.now(UTC) - utc_time(delivery.pending_since)).total_seconds()
        if waiting_s >= self._give_up_after_s:
            self._fail(delivery, f"given up after {waiting_s / 3600:.1f} h: {sentence}")
            return
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(delivery.attempts, 20))
        with self._ledger.transaction() as transaction:
            put_off_delivery(
                transaction, delivery.key, delay_s=delay_s * random.uniform(0.8, 1.0), reason=sentence
            )
        log.warning("delivery_put_off", job_key=delivery.job_key, destination=self._to, delay_s=delay_s)

    def _fail(self, delivery: DeliveryRow, sentence: str) -> None:
        with self._ledger.transaction() as transaction:
            transaction.move_delivery(
                delivery.key, DeliveryEvent.FAILED, expect=DeliveryState.PENDING, reason=sentence
            )
        log.error("delivery_failed_for_good", job_key=delivery.job_key, destination=self._to)
