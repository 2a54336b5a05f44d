"""The ledger behind the API's protocols: what is known, and what a person may ask for."""

import shutil
from collections.abc import Callable
from dataclasses import replace

from gateway.ledger.corrections import studies_of_corrections
from gateway.ledger.erasing import tombstone
from gateway.ledger.finding import StudyFilter
from gateway.ledger.keys import beginning_with
from gateway.ledger.ordering import Order
from gateway.ledger.outbox import backlog_of, mirror_of
from gateway.ledger.states import StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.traits import known_values
from gateway.ledger.watched import kept_counts, oldest_open_study

from .counting import counts_of
from .ledger_actions import only_one
from .quarantine.listing import list_quarantine, show_quarantined
from .store import Counts, Cut, Json, NotFound, WhichQuarantined
from .studies.links import NO_LINKS, Links
from .studies.listings import list_studies, show_job, show_study
from .studies.whereabouts import whereabouts


class LedgerStore:
    """A StatusStore that reads the ledger, at each question anew.

    Parameters
    ----------
    waits_for
        Tells for what a study waits that is receiving, by its Study Instance UID: no ledger knows that. Empty
        where nothing is to be said.
    links
        What addresses of other pages are made of.
    """

    def __init__(
        self, ledger: Ledger, waits_for: Callable[[str], str] = lambda study_uid: "", links: Links = NO_LINKS
    ) -> None:
        self._ledger = ledger
        self._waits_for = waits_for
        self._links = links

    def studies(
        self, wanted: StudyFilter, order: Order | None, cut: Cut, *, is_counted: bool = False
    ) -> Json:
        """One page of studies, the latest received first unless it is said; see `listings.list_studies`."""
        page = list_studies(
            self._ledger,
            wanted,
            order or Order(),
            limit=cut.limit,
            cursor=cut.cursor,
            is_counted=is_counted,
        )
        for item in page["items"]:
            self._complete(item)
        return page

    def traits(self) -> Json:
        """What studies can be found by."""
        return {"is_searched": True, **known_values(self._ledger)}

    def study(self, study: str) -> Json | None:
        """One study; see `listings.show_study`. Of one that is gone it is said when, by its key.

        The beginning of its key will do, or of one of a job or a delivery of it, where no other begins so.
        """
        found = show_study(self._ledger, study) or self._study_of(study)
        if found is None and (stone := tombstone(self._ledger, study)) is not None:
            why = "as a person asked" if stone.why == "forgotten" else "for its age"
            raise NotFound(f"this study was forgotten here on {stone.removed_at[:10]}, {why}")
        if found is not None:
            self._complete(found)
        return found

    def job(self, job_key: str) -> Json | None:
        """One job; see `listings.show_job`."""
        found = show_job(self._ledger, job_key)
        if found is not None:
            self._link_logs(found)
        return found

    def quarantine(self, which: WhichQuarantined, cut: Cut) -> Json:
        """One page of the quarantine; see `quarantine_listing.list_quarantine`."""
        return list_quarantine(self._ledger, which, cut)

    def quarantined(self, key: str) -> Json | None:
        """One thing in quarantine; see `quarantine_listing.show_quarantined`."""
        return show_quarantined(self._ledger, key)

    def counts(self) -> Counts:
        """Count what the ledger holds now; the disk is the one that the ledger lies on."""
        backlog = backlog_of(self._ledger)
        free = shutil.disk_usage(self._ledger.path.parent).free
        return replace(
            counts_of(kept_counts(self._ledger), oldest_open_study(self._ledger), free),
            mirror_waiting=backlog.waiting if mirror_of(self._ledger).is_on else None,
            mirror_lag_s=backlog.lag_s,
        )

    def _study_of(self, key: str) -> Json | None:
        """The study that something belongs to whose key begins so; corrections are looked at only."""
        studies = {one.study_uid: one for one in beginning_with(self._ledger, key)}
        if studies:
            return show_study(self._ledger, only_one(studies.values()).study_uid)
        corrected = studies_of_corrections(self._ledger, key) if key else []
        return show_study(self._ledger, corrected[0]) if len(corrected) == 1 else None

    def _complete(self, study: Json) -> None:
        """Add what is not the ledger's: for what it waits, and where other pages show it."""
        study["viewer_url"] = self._links.viewer_of(study)
        for job in study["jobs"]:
            self._link_logs(job)
        if study["state"] == StudyState.RECEIVING and not study["reason"]:
            study["reason"] = self._waits_for(study["study_uid"])
            study["whereabouts"] = whereabouts(study)

    def _link_logs(self, job: Json) -> None:
        for run in job["runs"]:
            run["log_url"] = (
                self._links.log_of(run["log_stream"], run["region"]) if run["log_stream"] else None
            )
