"""Tells one receiver what happens: gathers it, makes messages of it, and sends each until it has arrived.

What happens is told at once, and then no more often than every so many minutes, the seldomer the longer it
goes on: one thing that fails a thousand times is a few messages. Nothing waits for this worker.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog

from gateway.adapters.measures import Figure
from gateway.config import Config
from gateway.config.notify import OCCASIONS, Mail, Webhook
from gateway.events import Bus, Event, StudyChanged
from gateway.ledger.messages import (
    MessageRow,
    MessageState,
    OccasionRow,
    ReceiverRow,
    add_message,
    add_occasion,
    end_message,
    gather_lines,
    gather_waiting,
    last_message,
    occasions_of,
    pending_message,
    put_off_message,
    receiver,
    strike_out_occasions,
)
from gateway.ledger.records import age_s, utc_in, utc_now, utc_time
from gateway.ledger.store import Ledger
from gateway.workers.attempts import Backoff, fault_of
from gateway.workers.waits import Waits
from gateway.workers.worker import Worker

from .composing import Composer
from .message import Message
from .receivers.receiver import Receiver

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 30.0
SETTLE_S: Final = 3.0
"""So long after the first thing that happened the message is made: what comes of the same cause is in it."""
LONGEST_GAP_S: Final = 4 * 3600.0
BACKOFF: Final = Backoff(15.0, 3600.0)


@dataclass(frozen=True)
class Standing:
    """Something of the gateway that lasts.

    Parameters
    ----------
    complaint
        What is wrong, in a sentence; empty: nothing is.
    told_after_s
        So long it has to be wrong before it is told.
    """

    complaint: Callable[[], str]
    told_after_s: float = 0.0


class NotifyWorker(Worker):
    """Tells one receiver.

    Parameters
    ----------
    standing
        What of the gateway it may be told, by occasion.
    """

    def __init__(
        self,
        to: Webhook | Mail,
        by: Receiver,
        ledger: Ledger,
        bus: Bus,
        composer: Composer,
        standing: Mapping[str, Standing],
    ) -> None:
        super().__init__(f"notify {to.receiver}", bus)
        self._name = to.receiver
        self._to = to
        self._by = by
        self._ledger = ledger
        self._composer = composer
        self._config: Config = composer.config
        self._standing = {kind: each for kind, each in standing.items() if kind in to.on}
        self._wrong_since: dict[str, float] = {}
        self._waits = Waits()
        self._outcomes = dict.fromkeys(("sent", "put_off", "failed"), 0)

    def is_woken_by(self, event: Event) -> bool:
        """Whether a study came to be as it may be told of."""
        return isinstance(event, StudyChanged) and any(
            OCCASIONS[kind].event and event.state in OCCASIONS[kind].states for kind in self._to.on
        )

    def work(self) -> float | None:
        """Look what happened, and tell it where its time has come."""
        try:
            self._gather()
            waits = [self._make(), self._send(), LOOK_EVERY_S]
        except Exception as error:
            fault = fault_of(error, "telling what happens")
            if fault.is_defect and fault.sentence != self.trouble:
                log.exception("notify_failed", receiver=self._name)
            self.trouble = fault.sentence
            return LOOK_EVERY_S
        return min(waits)

    def figures(self) -> Iterable[Figure]:
        """What became of its messages since the start."""
        for outcome, number in self._outcomes.items():
            labels = {"receiver": self._name, "outcome": outcome}
            yield Figure("iris_messages_total", "Messages to people, by outcome of a try.", number, labels)

    # -- what happened --------------------------------------------------------------------------------------

    def _gather(self) -> None:
        events = {OCCASIONS[kind].event: kind for kind in self._to.on if OCCASIONS[kind].event}
        while not gather_lines(self._ledger, self._name, events, self._to.rules) and not self.is_stopping:
            self.heartbeat()
        if "waiting" in self._to.on:
            still_since = utc_in(-self._config.notify.waiting_minutes * 60.0)
            gather_waiting(self._ledger, self._name, "waiting", self._to.rules, still_since)
        for kind, standing in self._standing.items():
            self._look_at(kind, standing)

    def _look_at(self, kind: str, standing: Standing) -> None:
        """Tell when something begins to be wrong, and when it is over."""
        told = dict(receiver(self._ledger, self._name).standing)
        complaint = standing.complaint()
        if complaint and kind not in told:
            wrong_since = self._wrong_since.setdefault(kind, self._waits.monotonic())
            if self._waits.monotonic() - wrong_since < standing.told_after_s:
                return
            self._tell_standing(kind, told | {kind: utc_now()}, complaint)
        elif not complaint:
            self._wrong_since.pop(kind, None)
            if kind in told:
                since_then = utc_time(told.pop(kind))
                since = f"{self._config.site.local(since_then):%Y-%m-%d %H:%M %Z}"
                self._tell_standing(kind, told, f"over: {OCCASIONS[kind].about}, since {since}")

    def _tell_standing(self, kind: str, told: Mapping[str, str], sentence: str) -> None:
        with self._ledger.transaction() as transaction:
            add_occasion(transaction, self._name, kind, sentence=sentence)
            transaction.update("receivers", "name", self._name, {"standing": dict(told)})

    # -- messages -------------------------------------------------------------------------------------------

    def _make(self) -> float:
        """Make the next message, where the last has arrived and its time has come; seconds until it may."""
        if pending_message(self._ledger, self._name) is not None:
            return LOOK_EVERY_S
        row = receiver(self._ledger, self._name)
        is_daily = "daily" in self._to.on and utc_time(row.summed_up_at) < self._last_daily()
        occasions = occasions_of(self._ledger, self._name)
        if not (occasions or is_daily):
            return LOOK_EVERY_S
        quiet_s = self._waits.left_s("quiet", row.quiet_until, row.gap_s)
        settling_s = self._waits.left_after_s("settle", occasions[0].since, SETTLE_S) if occasions else 0.0
        if not is_daily and max(quiet_s, settling_s) > 0:
            return max(quiet_s, settling_s)
        self._write(row, occasions, is_daily=is_daily)
        return 0.0

    def _write(self, row: ReceiverRow, occasions: Sequence[OccasionRow], *, is_daily: bool) -> None:
        so = [each for each in occasions if self._composer.is_still_so(each)]
        summary, newest = self._composer.summary(row) if is_daily else (None, row.summed_up)
        values: dict[str, str | float] = {}
        if is_daily:
            values |= {"summed_up_at": utc_now(), "summed_up": newest}
        if so:
            gap_s = self._next_gap_s(row)
            values |= {"quiet_until": utc_in(gap_s), "gap_s": gap_s}
        with self._ledger.transaction() as transaction:
            strike_out_occasions(transaction, self._name, occasions)
            if values:  # else all of it was settled meanwhile
                message = self._composer.message(so, summary)
                add_message(transaction, message.key, self._name, message.model_dump_json())
                transaction.update("receivers", "name", self._name, values)

    def _next_gap_s(self, row: ReceiverRow) -> float:
        """How long it is quiet after this message: longer each time, as long as things go on."""
        first_s = self._config.notify.every_minutes * 60.0
        goes_on = row.gap_s > 0 and age_s(row.quiet_until) < row.gap_s
        return min(row.gap_s * 2, max(LONGEST_GAP_S, first_s)) if goes_on else first_s

    def _last_daily(self) -> datetime:
        """When the last summary was due."""
        site = self._config.site
        now, at = site.local(datetime.now(UTC)), time.fromisoformat(self._config.notify.daily_at)
        due = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
        return due if due <= now else due - timedelta(days=1)

    def _send(self) -> float:
        """Send what waits; seconds until there is something to send."""
        message = pending_message(self._ledger, self._name)
        if message is None:
            self.trouble = self._given_up()
            return LOOK_EVERY_S
        if message.not_before:
            left_s = self._waits.left_s(message.key, message.not_before, BACKOFF.longest_s)
            if left_s > 0:
                self.trouble = message.reason
                return left_s
        try:
            self._by.tell(Message.model_validate_json(message.message))
        except Exception as error:  # whatever is wrong with one message, it is given up one day
            fault = fault_of(error, "telling what happens")
            if fault.is_defect:
                log.exception("message_failed", receiver=self._name, message=message.key)
            return self._put_off(message, fault.sentence)
        with self._ledger.transaction() as transaction:
            end_message(transaction, message.key, MessageState.SENT)
        self._outcomes["sent"] += 1
        log.info("message_sent", receiver=self._name, message=message.key)
        self.trouble = ""
        return 0.0

    def _put_off(self, message: MessageRow, reason: str) -> float:
        if age_s(message.made_at) > self._config.notify.give_up_after_h * 3600.0:
            with self._ledger.transaction() as transaction:
                end_message(transaction, message.key, MessageState.FAILED, reason)
            self._outcomes["failed"] += 1
            log.error("message_given_up", receiver=self._name, message=message.key, reason=reason)
            self.trouble = self._given_up()
            return 0.0
        delay_s = BACKOFF.delay_s(message.attempts)
        with self._ledger.transaction() as transaction:
            put_off_message(transaction, message, reason, delay_s)
        self._outcomes["put_off"] += 1
        log.warning("message_put_off", receiver=self._name, message=message.key, reason=reason)
        self.trouble = reason
        return delay_s

    def _given_up(self) -> str:
        last = last_message(self._ledger, self._name)
        if last is None or last.state is not MessageState.FAILED:
            return ""
        return f"a message of {last.made_at} was given up: {last.reason}"
