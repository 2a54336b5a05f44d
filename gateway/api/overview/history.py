"""What the last day brought by the hour, and the last month by the day, by the clock of the site.

An hour and a day that are over do not change any more: they are read once. The present one is read again
after a minute.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import quantiles
from typing import Final, Literal

from gateway.config.sections import Site
from gateway.ledger.history import Past, past
from gateway.ledger.records import utc_text
from gateway.ledger.store import Ledger

from ..probes.timeline_metrics import STAGES
from .models import History, PastTime, StageTime

Span = Literal["day", "month"]
HOURS: Final = 24
DAYS: Final = 30
HOUR: Final = timedelta(hours=1)
PRESENT_FOR_S: Final = 60.0
SETTLED_AFTER: Final = timedelta(minutes=1)
"""What happened in a time that is over for less may still be on its way into the ledger."""


class Histories:
    """Answers for both spans; it may be asked from several threads at once, which wait for each other."""

    def __init__(self, ledger: Ledger, site: Site) -> None:
        self._ledger = ledger
        self._site = site
        self._lock = threading.Lock()
        self._over: dict[tuple[datetime, datetime], PastTime] = {}
        self._answers: dict[Span, tuple[float, History]] = {}

    def of(self, span: Span) -> History:
        """The last 24 hours, or the last 30 days, the present one among them."""
        with self._lock:
            until, answer = self._answers.get(span, (0.0, None))
            if answer is None or time.monotonic() > until:
                answer = self._read(span)
                self._answers[span] = time.monotonic() + PRESENT_FOR_S, answer
            return answer

    def _read(self, span: Span) -> History:
        now = datetime.now(UTC)
        bounds = self._hours(now) if span == "day" else self._days(now)
        items = [
            self._time(begins, ends, is_over=ends + SETTLED_AFTER < now) for begins, ends in pairwise(bounds)
        ]
        oldest = now - timedelta(days=DAYS + 1)
        self._over = {pair: each for pair, each in self._over.items() if pair[0] > oldest}
        return History(span=span, items=items)

    def _hours(self, now: datetime) -> Sequence[datetime]:
        present = now.replace(minute=0, second=0, microsecond=0)
        return [present + HOUR * (number - HOURS + 1) for number in range(HOURS + 1)]

    def _days(self, now: datetime) -> Sequence[datetime]:
        today = self._site.local(now).date()
        days = (today + timedelta(days=number - DAYS + 1) for number in range(DAYS + 1))
        return [self._site.begin_of(day).astimezone(UTC) for day in days]

    def _time(self, begins: datetime, ends: datetime, *, is_over: bool) -> PastTime:
        found = self._over.get((begins, ends))
        if found is None:
            local = self._site.local(begins).replace(tzinfo=None).isoformat(timespec="minutes")
            found = _shown(past(self._ledger, begins, ends), begins, local)
            if is_over:
                self._over[begins, ends] = found
        return found


def _shown(found: Past, begins: datetime, local: str) -> PastTime:
    return PastTime(
        begins=utc_text(begins),
        local=local,
        studies=found.received.studies,
        instances=found.received.instances,
        bytes=found.received.bytes,
        delivered=found.lines.get("job.delivered", 0),
        failed=found.lines.get("job.failed", 0),
        stages=_stages(found),
        usd=round(found.usd, 4) if found.usd is not None else None,
    )


def _stages(found: Past) -> Mapping[str, StageTime]:
    spans = {stage: found.spans_s(measure) for measure, stage in STAGES.items()}
    return {stage: _time_of(of) for stage, of in spans.items() if of}


def _time_of(spans_s: Sequence[float]) -> StageTime:
    # Of one the quantiles are that one.
    twentieths = quantiles([*spans_s, *spans_s] if len(spans_s) == 1 else spans_s, n=20, method="inclusive")
    return StageTime(number=len(spans_s), median_s=round(twentieths[9], 1), p95_s=round(twentieths[18], 1))
