"""Decides when a study has arrived, by evidence rather than by a long timeout, and has it planned.

A person says so; or everything came that somebody named, who knows (a witness); or the last association
that touched the study was released, a quiet time passed, and no witness misses anything; and no chosen volume
has a gap. Else the long timeout decides: a volume without gaps goes on, with a line in the timeline and a
flag, and one with a gap is held for a person. An abort is no evidence. A study that is complete is planned
once more when a person chose another of its volumes.
"""

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.events import (
    AssociationClosed,
    Bus,
    CompletionRequested,
    Event,
    InstancesNamed,
    InstanceStored,
    PacsAnswered,
    VolumeChosen,
)
from gateway.files.kept import FilesLost
from gateway.ledger.choices import (
    replan_study,
    studies_with_an_open_choice,
    study_with_an_open_choice,
)
from gateway.ledger.completion import (
    NAMED_DID_NOT_COME,
    NOTHING_ELSE_NAMED,
    WITHOUT_RELEASE,
    StudyPlan,
    complete_study,
    receiving_studies,
    receiving_study,
)
from gateway.ledger.records import StudyRow
from gateway.ledger.states import StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.workers.waits import Waits
from gateway.workers.worker import Worker

from .gaps import Gaps
from .planning import Planner
from .waiting_for import IS_COMING, IS_PLANNED, quiet, quiet_timeout
from .witness import Witness

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 30.0
"""At the latest so often is every open study looked at, should an association end without a word; and no
sooner again one that could not be planned, unless it changed."""
SMALL = range(2_000)
LARGE = range(SMALL.stop, sys.maxsize)
EVERY_SIZE = range(sys.maxsize)
CHOSEN = "a person chose a volume"
"""Why a study that is complete is planned once more."""
NOT_PLANNED = "it could not be planned, and is tried again; the log names the place"


@dataclass(frozen=True)
class _Due:
    """When a study is to be looked at, on what evidence it is then complete, and for what it waits."""

    in_s: float
    evidence: str
    only_if_whole: bool
    missing: int = 0
    waits_for: str = IS_PLANNED


class Completeness(Worker):
    """Watches the studies that are receiving.

    Parameters
    ----------
    has_open_association
        Tells whether an association that touched a study is open.
    witness
        Knows which instances a study has; None: nobody does.
    gaps
        What is known of senders, where they shorten the quiet time.
    waits
        Measures the times; tests give one with clocks of their own.
    sizes
        The studies that it watches, by how many images they have. Planning reads every header (0.7 ms of CPU
        each), so large studies have a thread of their own, and no small one waits for them.
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
        witness: Witness | None = None,
        gaps: Gaps | None = None,
        waits: Waits | None = None,
        sizes: range = EVERY_SIZE,
    ) -> None:
        self._changed: dict[str, None] = {}  # studies that events named and that were not looked at since
        self._waiting: set[str] = set()  # studies that were looked at, and wait for a time or their sender
        self._events_lock = threading.Lock()  # of these two: events come in other threads
        self._next_look_at: dict[str, float] = {}  # monotonic, of those that wait for a time
        self._all_looked_at = -math.inf
        super().__init__("completeness" if 0 in sizes else "completeness-large", bus)
        self._sizes = sizes
        self._ledger = ledger
        self._planner = planner
        self._has_open_association = has_open_association
        self._quiet_s = quiet_s
        self._timeout_s = timeout_s
        self._witness = witness
        self._gaps = gaps
        self._waits = waits or Waits()
        self._not_whole: dict[str, int] = {}  # study -> the generation that was seen with a gap
        self._failed: dict[str, tuple[int, float]] = {}  # study -> the generation that failed, and when
        self._waits_for: dict[str, str] = {}  # study -> a sentence; read by other threads

    def waits_for(self, study_uid: str) -> str:
        """For what a study waits that is receiving, in a sentence; empty where it is none of its own."""
        return self._waits_for.get(study_uid, "")

    def is_woken_by(self, event: Event) -> bool:
        """Whether a study may have become complete, or is new.

        A further instance of one that waits already changes nothing before its time, or its sender's release.
        """
        match event:
            case AssociationClosed(study_uids=study_uids) | InstancesNamed(study_uids=study_uids):
                changed = sorted(study_uids)
            case InstanceStored() | CompletionRequested() | VolumeChosen() | PacsAnswered():
                changed = [event.study_uid]
            case _:
                return False
        with self._events_lock:
            if isinstance(event, InstanceStored) and event.study_uid in self._waiting:
                return False
            self._changed |= dict.fromkeys(changed)
        return True

    def work(self) -> float:
        """Complete what is due; the seconds until the next study is to be looked at."""
        try:
            for study in self._to_look_at():
                if self.is_stopping:
                    break
                with self.at_study(study.study_key):
                    self._look_at(study)
        except BaseException:
            self._all_looked_at = -math.inf  # what events named is forgotten: look at everything
            raise
        next_at = min(self._next_look_at.values(), default=math.inf)
        return max(0.0, min(next_at, self._all_looked_at + LOOK_AGAIN_S) - self._waits.monotonic())

    def _to_look_at(self) -> list[StudyRow]:
        """The receiving studies that changed or whose time has come; now and then every one."""
        now = self._waits.monotonic()
        is_time_for_all = now >= self._all_looked_at + LOOK_AGAIN_S
        with self._events_lock:
            due = {**self._changed, **{uid: None for uid, at in self._next_look_at.items() if at <= now}}
            self._changed.clear()
            if is_time_for_all:
                self._waiting.clear()
            else:  # what comes in while they are looked at is not overlooked
                self._waiting.difference_update(due)
        if not is_time_for_all:
            for study_uid in due:
                self._next_look_at.pop(study_uid, None)
            return [row for uid in due if (row := self._study_to_plan(uid)) is not None]
        self._all_looked_at = now
        self._next_look_at.clear()
        studies = [*receiving_studies(self._ledger), *studies_with_an_open_choice(self._ledger)]
        open_now = {study.study_uid for study in studies}
        self._not_whole = {uid: seen for uid, seen in self._not_whole.items() if uid in open_now}
        self._failed = {uid: seen for uid, seen in self._failed.items() if uid in open_now}
        self._waits_for = {uid: said for uid, said in self._waits_for.items() if uid in open_now}
        self._waits.keep(open_now)
        return studies

    def _study_to_plan(self, study_uid: str) -> StudyRow | None:
        """A study that is receiving, or whose plan lacks what a person chose."""
        receiving = receiving_study(self._ledger, study_uid)
        return receiving or study_with_an_open_choice(self._ledger, study_uid)

    def _look_at(self, study: StudyRow) -> None:
        """Complete one study, or find out when it is to be looked at again."""
        is_ours = study.images in self._sizes
        due = self._due(study) if is_ours else None
        if is_ours:
            self._waits_for[study.study_uid] = due.waits_for if due is not None else IS_COMING
        else:
            self._waits_for.pop(study.study_uid, None)
        in_s = max(due.in_s, self._seconds_to_next_try(study)) if due is not None else math.inf
        if due is not None and in_s <= 0:
            in_s = self._complete_or_put_off(study, due)
            if in_s == math.inf:
                return
        if in_s < math.inf:
            self._next_look_at[study.study_uid] = self._waits.monotonic() + in_s
        if study.study_uid not in self._failed:
            with self._events_lock:
                self._waiting.add(study.study_uid)

    def _seconds_to_next_try(self, study: StudyRow) -> float:
        """How long a study that could not be planned rests; 0 for every other."""
        generation, failed_at = self._failed.get(study.study_uid, (-1, 0.0))
        return LOOK_AGAIN_S - (self._waits.monotonic() - failed_at) if generation == study.generation else 0.0

    def _complete_or_put_off(self, study: StudyRow, due: _Due) -> float:
        """Complete one study; the seconds until it is to be looked at again, infinite where it is complete.

        What goes wrong with it must not hold up the others.
        """
        try:
            return math.inf if self._complete(study, due) else 0.0
        except FilesLost as error:
            reason = str(error)
            log.error("study_lacks_files", study_key=study.study_key, files=error.files)
        except Exception:
            reason = NOT_PLANNED
            log.exception("study_not_planned", study_key=study.study_key)
        self._failed[study.study_uid] = (study.generation, self._waits.monotonic())
        if study.reason != reason:
            with self._ledger.transaction() as transaction:
                transaction.update("studies", "study_uid", study.study_uid, {"reason": reason})
        return LOOK_AGAIN_S

    def _due(self, study: StudyRow) -> _Due | None:
        """When this study should be complete; None while only its sender can tell."""
        if study.state is not StudyState.RECEIVING:
            return _Due(0.0, CHOSEN, only_if_whole=False)
        if study.complete_requested:
            return _Due(0.0, "requested", only_if_whole=False)
        if self._has_open_association(study.study_uid):
            return None
        testimony = self._witness.says(study) if self._witness is not None else None
        missing = testimony.missing if testimony is not None else 0
        may_be_whole = not missing and self._not_whole.get(study.study_uid) != study.generation
        if testimony is not None and testimony.is_everything and may_be_whole:
            return _Due(0.0, NOTHING_ELSE_NAMED, only_if_whole=True)
        released_at = study.evidence_at if study.evidence == "released" else None
        if released_at is not None and may_be_whole:
            quiet_s = self._quiet_s if self._gaps is None else self._gaps.quiet_after_s(study.study_uid)
            left_s = self._waits.left_after_s(study.study_uid, released_at, quiet_s)
            return _Due(left_s, "released", only_if_whole=True, waits_for=quiet(quiet_s, self._quiet_s))
        since = max(study.last_instance_at, study.evidence_at or "")
        left_s = self._waits.left_after_s(study.study_uid, since, self._timeout_s)
        evidence = NAMED_DID_NOT_COME if missing else "timeout with a gap"
        evidence = evidence if released_at is not None else WITHOUT_RELEASE
        waits_for = quiet_timeout(self._timeout_s, missing=missing, is_released=released_at is not None)
        return _Due(left_s, evidence, only_if_whole=False, missing=missing, waits_for=waits_for)

    def _complete(self, study: StudyRow, due: _Due) -> bool:
        """Plan and complete one study; False when it has to be looked at again at once."""
        plan = self._planner.plan(study)
        if due.only_if_whole and _has_gap(plan):
            self._not_whole[study.study_uid] = study.generation
            return False
        try:
            with self._ledger.transaction() as transaction:
                if due.evidence == CHOSEN:
                    replan_study(transaction, plan)
                else:
                    complete_study(transaction, plan, evidence=due.evidence, missing=due.missing)
        except StaleRow:  # an instance came in meanwhile
            return False
        for known in (self._not_whole, self._failed, self._waits_for):
            known.pop(study.study_uid, None)
        log.info("study_completed", study_key=study.study_key, evidence=due.evidence, jobs=len(plan.jobs))
        return True


def _has_gap(plan: StudyPlan) -> bool:
    return any(job.hold for job in plan.jobs)
