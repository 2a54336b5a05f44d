"""Asks the PACS which instances a study has, in a thread of its own: nobody waits for an answer.

A study is asked about when no association of it is open. What the PACS holds of the series of which something
came is compared with what is here, image by image: where that is the same twice, the study has everything;
what more there is, is waited for. A PACS that holds less than what came, answers about something else, late
or not at all is no witness, and other evidence decides as if nobody had been asked.
"""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from gateway.adapters.contents import Contents, NoAnswer, NotTold, SeriesContents
from gateway.adapters.errors import CalledOff
from gateway.events import AssociationClosed, Bus, Event, PacsAnswered
from gateway.ledger.completion import receiving_studies, receiving_study
from gateway.ledger.evidence import Finding, instances_by_series, not_to_be_waited_for, note_answer
from gateway.ledger.records import StudyRow
from gateway.ledger.store import Ledger
from gateway.workers.attempts import Backoff
from gateway.workers.worker import Worker

from .answers import Asked, Standing, compare, standing_after
from .gaps import Gaps
from .witness import Testimony

log = structlog.get_logger(__name__)

SETTLE_S: Final = 0.3
"""Between two answers that must be the same; longer where studies come with longer pauses."""
PAUSES: Final = 1.5
"""So many times as long as one of them may be."""
AT_REST: Final = Backoff(5.0, 300.0)
"""After a question that was not answered the PACS is asked nothing at all for so long."""
LOOK_AGAIN_S: Final = 30.0
"""At the latest so often every open study is thought of, should an association end without a word."""


class PacsQuestions(Worker):
    """A witness: what the PACS says.

    Parameters
    ----------
    has_open_association
        Tells whether an association that touched a study is open.
    longest_settle_s
        However long a study's pauses are, two answers are no further apart.
    monotonic
        Its clock; tests give their own.
    """

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        contents: Contents,
        has_open_association: Callable[[str], bool],
        gaps: Gaps,
        *,
        longest_settle_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._closed: dict[str, None] = {}  # studies whose associations ended since the last look
        self._closed_lock = threading.Lock()  # of these: events come in other threads
        super().__init__("study.find", bus)
        self._ledger = ledger
        self._contents = contents
        self._has_open_association = has_open_association
        self._gaps = gaps
        self._longest_settle_s = longest_settle_s
        self._monotonic = monotonic
        self._due: dict[str, float] = {}  # study -> when, monotonic
        self._standing: dict[str, Standing] = {}
        self._noted: dict[str, tuple[object, ...]] = {}
        self._all_at = self._rests_until = monotonic()
        self._unanswered = 0  # questions in a row
        self._is_untried = True

    def says(self, study: StudyRow) -> Testimony | None:
        """What is known of a study as it is now."""
        standing = self._standing.get(study.study_uid)
        if standing is None or standing.last.generation != study.generation:
            return None
        return standing.testimony

    def is_woken_by(self, event: Event) -> bool:
        """Whether the last association of a study may have ended."""
        if not isinstance(event, AssociationClosed):
            return False
        with self._closed_lock:
            self._closed |= dict.fromkeys(sorted(event.study_uids))
        return True

    def interrupt(self) -> None:
        """Cut the question at hand."""
        self._contents.interrupt()

    def work(self) -> float:
        """Ask about what is due; the seconds until something else is."""
        self._take_up()
        while not self.is_stopping and self._monotonic() >= self._rests_until:
            study_uid = min(self._due, key=lambda uid: self._due[uid], default="")
            if study_uid and self._due[study_uid] <= self._monotonic():
                self._look_at(study_uid)
            elif self._is_untried:
                self._try()
            else:
                break
            self._take_up()
        next_at = min([self._all_at, *self._due.values(), *([self._rests_until] if self._is_untried else [])])
        return max(next_at, self._rests_until) - self._monotonic()

    def _take_up(self) -> None:
        """Have what events named due, and now and then every open study."""
        now = self._monotonic()
        with self._closed_lock:
            closed, self._closed = self._closed, {}
        for study_uid in closed:
            standing = self._standing.get(study_uid)
            at = now if standing is None else max(now, standing.not_before)
            self._due[study_uid] = min(at, self._due.get(study_uid, at))
        if now < self._all_at:
            return
        receiving = {study.study_uid for study in receiving_studies(self._ledger)}
        self._all_at = now + LOOK_AGAIN_S
        for study_uid in (self._due.keys() | self._standing.keys() | self._noted.keys()) - receiving:
            self._forget(study_uid)
        for study_uid in receiving - self._due.keys():
            self._due[study_uid] = now

    def _forget(self, study_uid: str) -> None:
        self._due.pop(study_uid, None)
        self._standing.pop(study_uid, None)
        self._noted.pop(study_uid, None)

    def _look_at(self, study_uid: str) -> None:
        """Ask about one study, unless it is complete or still coming in."""
        study = receiving_study(self._ledger, study_uid)
        if study is None:
            self._forget(study_uid)
        elif study.complete_requested or self._has_open_association(study_uid):
            del self._due[study_uid]  # the end of its association brings it back
        else:
            with self.at_study(study.study_key):
                self._ask_about(study)

    def _ask_about(self, study: StudyRow) -> None:
        study_uid = study.study_uid
        came = instances_by_series(self._ledger, study_uid)
        if not came:
            del self._due[study_uid]
            return
        began_at = self._monotonic()
        asked = partial(Asked, study.generation, began_at)
        try:
            held = self._as_before(study) or self._contents.of_series(study_uid, sorted(came))
        except CalledOff:
            return
        except NotTold as error:
            self._was_not_told(error)
            new = asked(self._monotonic() - began_at, error.code, {})
        else:
            self._was_told()
            took_s = self._monotonic() - began_at
            code, missing = compare(came, held, partial(not_to_be_waited_for, self._ledger, study_uid))
            new = asked(took_s, code, held, missing)
        settle_s = min(self._longest_settle_s, max(SETTLE_S, PAUSES * self._gaps.pause_s(study_uid)))
        standing = standing_after(new, self._standing.get(study_uid), settle_s)
        self._standing[study_uid] = standing
        self._due[study_uid] = standing.next_at(settle_s)
        self._tell(study_uid, standing, here=sum(map(len, came.values())))

    def _as_before(self, study: StudyRow) -> Mapping[str, SeriesContents] | None:
        """What it said, where all was here and its numbers are the same: no need to hear it all again."""
        before = self._standing.get(study.study_uid)
        if before is None or before.is_settled or not before.last.shows_all_of(study.generation):
            return None
        numbers = self._contents.numbers(study.study_uid)
        held = before.last.held
        return held if all(numbers.get(uid) == series.number for uid, series in held.items()) else None

    def _was_told(self) -> None:
        self._unanswered, self._is_untried, self.trouble = 0, False, ""

    def _was_not_told(self, error: NotTold) -> None:
        """Say so, and let a PACS rest that did not answer at all."""
        self.trouble = str(error)
        if error.code is NoAnswer.NONSENSE:
            self._unanswered, self._is_untried = 0, False
            return
        self._is_untried = True
        self._rests_until = self._monotonic() + AT_REST.delay_s(self._unanswered)
        self._unanswered += 1
        log.warning("pacs_not_answering", code=error.code, times=self._unanswered)

    def _try(self) -> None:
        """See whether it answers, though nobody wants to know anything."""
        try:
            self._contents.answers()
        except CalledOff:
            return
        except NotTold as error:
            self._was_not_told(error)
        else:
            self._was_told()

    def _tell(self, study_uid: str, standing: Standing, *, here: int) -> None:
        """Write down what is news of an answer, and let completeness look at the study."""
        last = standing.last
        if last.code is Finding.ALL_HERE and not standing.is_settled:
            return  # until it is said twice
        news = (last.code, last.missing, last.generation if standing.is_settled else 0)
        with self._ledger.transaction() as transaction:
            if self._noted.get(study_uid) != news:
                there = sum(series.number for series in last.held.values())
                note_answer(transaction, study_uid, last.code, here=here, there=there, missing=last.missing)
            transaction.publish(PacsAnswered(study_uid))
        self._noted[study_uid] = news
