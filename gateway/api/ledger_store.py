"""The ledger behind the API's protocols: what is known, and what a person may ask for."""

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

from batch_job.contract import FLAG_CODES
from gateway.config.arrival import ARRIVAL_CODES
from gateway.ledger.erasing import tombstone
from gateway.ledger.keys import beginning_with
from gateway.ledger.outbox import backlog_of, mirror_of
from gateway.ledger.states import CorrectionState, DeliveryState, JobState, StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.watched import kept_counts, oldest_open_study_age_s

from .ledger_actions import only_one
from .listings import list_studies, show_job, show_study
from .quarantine_listing import list_quarantine
from .store import Counts, Cut, Json, NotFound


class LedgerStore:
    """A StatusStore that reads the ledger, at each question anew.

    Parameters
    ----------
    waits_for
        Tells for what a study waits that is receiving, by its Study Instance UID: no ledger knows that. Empty
        where nothing is to be said.
    """

    def __init__(self, ledger: Ledger, waits_for: Callable[[str], str] = lambda study_uid: "") -> None:
        self._ledger = ledger
        self._waits_for = waits_for

    def studies(
        self, *, state: str | None = None, since: datetime | None = None, sought: str = "", cut: Cut
    ) -> Json:
        """One page of studies; see `listings.list_studies`."""
        page = list_studies(
            self._ledger, state=state, since=since, sought=sought, limit=cut.limit, cursor=cut.cursor
        )
        for item in page["items"]:
            self._say_for_what_it_waits(item)
        return page

    def study(self, study: str) -> Json | None:
        """One study; see `listings.show_study`. Of one that is gone it is said when, by its key.

        The beginning of its key will do, or of one of a job or a delivery of it, where no other begins so.
        """
        found = show_study(self._ledger, study) or self._study_of(study)
        if found is None and (stone := tombstone(self._ledger, study)) is not None:
            why = "as a person asked" if stone.why == "forgotten" else "for its age"
            raise NotFound(f"this study was forgotten here on {stone.removed_at[:10]}, {why}")
        if found is not None:
            self._say_for_what_it_waits(found)
        return found

    def job(self, job_key: str) -> Json | None:
        """One job; see `listings.show_job`."""
        return show_job(self._ledger, job_key)

    def quarantine(self, cut: Cut) -> Json:
        """One page of the quarantine; see `quarantine_listing.list_quarantine`."""
        return list_quarantine(self._ledger, limit=cut.limit, cursor=cut.cursor)

    def study_key(self, study_uid: str) -> str | None:
        """The opaque key of a study, or None."""
        rows = self._ledger.read("SELECT study_key FROM studies WHERE study_uid = ?", (study_uid,))
        return rows[0]["study_key"] if rows else None

    def counts(self) -> Counts:
        """Count what the ledger holds now; the disk is the one that the ledger lies on."""
        backlog = backlog_of(self._ledger)
        counted = kept_counts(self._ledger)
        return Counts(
            studies=_by_state(counted, "study", StudyState),
            jobs=_by_state(counted, "job", JobState),
            deliveries=_by_state(counted, "delivery", DeliveryState),
            flags={code: counted["flag", code] for code in (*ARRIVAL_CODES, *FLAG_CODES)},
            corrections=_by_state(counted, "correction", CorrectionState),
            quarantined_objects=counted["quarantine", ""],
            instances_stored=counted["instance", ""],
            oldest_open_study_age_s=oldest_open_study_age_s(self._ledger),
            disk_free_bytes=shutil.disk_usage(self._ledger.path.parent).free,
            mirror_waiting=backlog.waiting if mirror_of(self._ledger).is_on else None,
            mirror_lag_s=backlog.lag_s,
        )

    def _study_of(self, key: str) -> Json | None:
        """The study that something belongs to whose key begins so."""
        studies = {one.study_uid: one for one in beginning_with(self._ledger, key)}
        return show_study(self._ledger, only_one(studies.values()).study_uid) if studies else None

    def _say_for_what_it_waits(self, study: Json) -> None:
        if study["state"] == StudyState.RECEIVING and not study["reason"]:
            study["reason"] = self._waits_for(study["study_uid"])


def _by_state(counted: Mapping[tuple[str, str], int], kind: str, states: type[StrEnum]) -> dict[str, int]:
    return {state.value: counted[kind, state.value] for state in states}
