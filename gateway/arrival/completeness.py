"""Decides when a study has arrived, by evidence rather than by a long timeout.

Today's evidence: a person says so; or the last association that touched the study was released, a quiet time
passed, and no chosen volume has a gap. Else the long timeout decides: a volume without gaps goes on, with a
line in the timeline, and one with a gap is held for a person. An abort is no evidence. Further evidence (what
the PACS answers to C-FIND, lists of instances) belongs into `_due`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from gateway.events import AssociationClosed, Bus, CompletionRequested, Event, InstanceStored
from gateway.files.kept import FilesLost
from gateway.ledger.completion import StudyPlan, complete_study, receiving_studies
from gateway.ledger.records import StudyRow, utc_time
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.workers.worker import Worker

from .planning import Planner

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 30.0
"""At the latest so often is every open study looked at, should an association end without a word; and no
sooner again one that could not be planned, unless it changed."""
NOT_PLANNED = "it could not be planned, and is tried again; the log names the place"


@dataclass(frozen=True)
class _Due:
    """When a study is to be looked at, and on what evidence it is then complete."""

    in_s: float
    evidence: str
    only_if_whole: bool


class Completeness(Worker):
    """Watches the studies that are receiving.

    Parameters
    ----------
    has_open_association
        Tells whether an association that touched a study is open.
    """

    def __init__(
        self,
        ledger: Ledger,
        planner: Planner,
        bus: Bus,
        has_open_association: Callable[[str], bool],
        *,
        quiet_s: float,
        timeout_s: float,
    ) -> None:
        super().__init__("completeness", bus)
        self._ledger = ledger
        self._planner = planner
        self._has_open_association = has_open_association
        self._quiet_s = quiet_s
        self._timeout_s = timeout_s
        self._not_whole: dict[str, int] = {}  # study -> the generation that was seen with a gap
        self._failed: dict[str, tuple[int, float]] = {}  # study -> the generation that failed, and when

    def is_woken_by(self, event: Event) -> bool:
        """Whether a study may have become complete, or grown."""
        return isinstance(event, InstanceStored | AssociationClosed | CompletionRequested)

    def work(self) -> float:
        """Complete what is due; the seconds until the next study is to be looked at."""
        wait_s = LOOK_AGAIN_S
        for study in receiving_studies(self._ledger):
            if self.is_stopping:
                break
            due = self._due(study)
            if due is None:
                continue
            in_s = max(due.in_s, self._seconds_to_next_try(study))
            if in_s > 0:
                wait_s = min(wait_s, in_s)
            elif not self._complete_or_put_off(study, due):
                wait_s = 0.0
        return wait_s

    def _seconds_to_next_try(self, study: StudyRow) -> float:
        """How long a study that could not be planned rests; 0 for every other."""
        generation, failed_at = self._failed.get(study.study_uid, (-1, 0.0))
        return LOOK_AGAIN_S - (time.monotonic() - failed_at) if generation == study.generation else 0.0

    def _complete_or_put_off(self, study: StudyRow, due: _Due) -> bool:
        """Complete one study; what goes wrong with it must not hold up the others."""
        try:
            return self._complete(study, due)
        except FilesLost as error:
            reason = str(error)
            log.error("study_lacks_files", study_key=study.study_key, files=error.files)
        except Exception:
            reason = NOT_PLANNED
            log.exception("study_not_planned", study_key=study.study_key)
        self._failed[study.study_uid] = (study.generation, time.monotonic())
        if study.reason != reason:
            with self._ledger.transaction() as transaction:
                transaction.update("studies", "study_uid", study.study_uid, {"reason": reason})
        return True

    def _due(self, study: StudyRow) -> _Due | None:
        """When this study should be complete; None while only its sender can tell."""
        if study.complete_requested:
            return _Due(0.0, "requested", only_if_whole=False)
        if self._has_open_association(study.study_uid):
            return None
        released = study.evidence == "released" and study.evidence_at is not None
        if released and self._not_whole.get(study.study_uid) != study.generation:
            return _Due(_seconds_after(study.evidence_at, self._quiet_s), "released", only_if_whole=True)
        since = max(study.last_instance_at, study.evidence_at or "")
        evidence = "timeout with a gap" if released else "timeout without release"
        return _Due(_seconds_after(since, self._timeout_s), evidence, only_if_whole=False)

    def _complete(self, study: StudyRow, due: _Due) -> bool:
        """Plan and complete one study; False when it has to be looked at again at once."""
        plan = self._planner.plan(study)
        if due.only_if_whole and _has_gap(plan):
            self._not_whole[study.study_uid] = study.generation
            return False
        try:
            with self._ledger.transaction() as transaction:
                complete_study(transaction, plan, evidence=due.evidence)
        except StaleRow:  # an instance came in meanwhile
            return False
        self._not_whole.pop(study.study_uid, None)
        self._failed.pop(study.study_uid, None)
        log.info("study_completed", study_key=study.study_key, evidence=due.evidence, jobs=len(plan.jobs))
        return True


def _has_gap(plan: StudyPlan) -> bool:
    return any(job.hold for job in plan.jobs)


def _seconds_after(at: str | None, delay_s: float) -> float:
    assert at is not None
    return delay_s - (datetime.now(UTC) - utc_time(at)).total_seconds()
