"""The ledger behind the API's protocols: what is known, and what a person may ask for."""

import shutil
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from batch_job.contract import FLAG_CODES
from gateway.config.arrival import ARRIVAL_CODES
from gateway.ledger import work
from gateway.ledger.choices import choose_volume
from gateway.ledger.completion import request_completion
from gateway.ledger.deliveries import drop_delivery, redirect_delivery
from gateway.ledger.erasing import request_forget, tombstone
from gateway.ledger.outbox import backlog_of, mirror_of
from gateway.ledger.states import CorrectionState, DeliveryState, JobState, StudyState, UnknownTransition
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible, StaleRow, Transaction
from gateway.ledger.watched import kept_counts, oldest_open_study_age_s

from .listings import find_study, list_studies, show_job, show_study
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

    def studies(self, *, state: str | None, since: datetime | None, cut: Cut) -> Json:
        """One page of studies; see `listings.list_studies`."""
        page = list_studies(self._ledger, state=state, since=since, limit=cut.limit, cursor=cut.cursor)
        for item in page["items"]:
            self._say_for_what_it_waits(item)
        return page

    def study(self, study: str) -> Json | None:
        """One study; see `listings.show_study`. Of one that is gone it is said when, by its key."""
        found = show_study(self._ledger, study)
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

    def _say_for_what_it_waits(self, study: Json) -> None:
        if study["state"] == StudyState.RECEIVING and not study["reason"]:
            study["reason"] = self._waits_for(study["study_uid"])


def _by_state(counted: Mapping[tuple[str, str], int], kind: str, states: type[StrEnum]) -> dict[str, int]:
    return {state.value: counted[kind, state.value] for state in states}


_JOBS: Final = "SELECT job_key AS key FROM jobs WHERE job_key >= ? AND job_key < ? LIMIT 2"
_DELIVERIES: Final = "SELECT key FROM deliveries WHERE key >= ? AND key < ? LIMIT 2"


class LedgerActions:
    """Actions that write the ledger.

    Parameters
    ----------
    release_object
        Takes a quarantined object in after all, by its key; it raises NotPossible with the reason where it
        cannot. None where this gateway has no way to do so.
    destinations
        The names of those that are configured.
    """

    def __init__(
        self,
        ledger: Ledger,
        release_object: Callable[[str], None] | None = None,
        destinations: Collection[str] = (),
    ) -> None:
        self._ledger = ledger
        self.destinations = destinations
        self._release_object = release_object

    @property
    def can_release_objects(self) -> bool:
        """Whether quarantined objects can be taken in after all."""
        return self._release_object is not None

    def retry(self, key: str) -> Json:
        """Take up a failed or cancelled job with its deliveries, or one failed delivery."""
        kind, key = self._named(key)
        self._write(lambda transaction: work.retry(transaction, key))
        return self._outcome(kind, key)

    def redirect(self, key: str, to: str) -> Json:
        """Send a delivery that failed or waits to another destination instead."""
        key = self._delivery(key)
        if to not in self.destinations:
            known = ", ".join(self.destinations) or "none is configured"
            raise NotPossible(f"there is no destination of that name; there is: {known}")
        self._write(lambda transaction: redirect_delivery(transaction, key, to))
        return self._outcome("delivery", key)

    def drop(self, key: str) -> Json:
        """Do not send a delivery that failed or waits any more."""
        key = self._delivery(key)
        self._write(lambda transaction: drop_delivery(transaction, key))
        return self._outcome("delivery", key)

    def cancel(self, job_key: str) -> Json:
        """Stop a job and what it has not delivered."""
        kind, job_key = self._named(job_key)
        if kind != "job":
            raise NotFound("there is no such job")
        self._write(lambda transaction: work.cancel(transaction, job_key))
        return self._outcome("job", job_key)

    def complete(self, study: str) -> Json:
        """Record that a study has arrived; whoever watches completeness takes it from there."""
        row = find_study(self._ledger, study)
        if row is None:
            raise NotFound("there is no such study")

        def request(transaction: Transaction) -> None:
            state = transaction.study(row.study_uid).state
            if state is not StudyState.RECEIVING:
                raise NotPossible(f"this study is {state}; only one that is receiving can be called complete")
            request_completion(transaction, row.study_uid)

        self._write(request)
        now = find_study(self._ledger, row.study_uid)
        return {"kind": "study", "key": row.study_key, "state": (now or row).state.value}

    def use(self, study: str, series_uid: str, number: int) -> Json:
        """Record which volume a person wants; whoever watches the studies plans it."""
        row = find_study(self._ledger, study)
        if row is None:
            raise NotFound("there is no such study")
        self._write(lambda transaction: choose_volume(transaction, row.study_uid, series_uid, number))
        return {"kind": "study", "key": row.study_key, "state": row.state.value}

    def forget(self, study: str) -> Json:
        """Record that a study is to be erased; whoever removes things takes it from there."""
        row = find_study(self._ledger, study)
        if row is None:
            raise NotFound("there is no such study")
        self._write(lambda transaction: request_forget(transaction, row.study_uid))
        return {"kind": "study", "key": row.study_key, "state": "forgetting"}

    def release(self, key: str) -> Json:
        """Let a held job go on, or take a quarantined object in."""
        held = self._beginning(_JOBS, key)
        if len(held) == 1:
            self._write(lambda transaction: work.release(transaction, held[0]))
            return self._outcome("job", held[0])
        if not self._ledger.read("SELECT 1 FROM quarantine WHERE key = ?", (key,)):
            raise NotFound("there is nothing in quarantine under this key")
        if self._release_object is None:
            raise NotPossible(
                "this object cannot be taken in as it is; correct it where it comes from, send again"
            )
        self._release_object(key)
        return {"kind": "object", "key": key, "state": "released"}

    def _delivery(self, key: str) -> str:
        kind, key = self._named(key)
        if kind != "delivery":
            raise NotFound("there is no such delivery")
        return key

    def _named(self, key: str) -> tuple[str, str]:
        """What a key, or the beginning of one, stands for: a job or a delivery, and its whole key."""
        found = [("job", job_key) for job_key in self._beginning(_JOBS, key)]
        found += [("delivery", delivery) for delivery in self._beginning(_DELIVERIES, key)]
        if not found:
            raise NotFound("there is no such job or delivery")
        if len(found) > 1 and found[0][1] != key:
            raise NotPossible("several jobs or deliveries begin so; give more of the key")
        return found[0]

    def _beginning(self, sql: str, key: str) -> list[str]:
        """The first two keys that begin so."""
        return [row["key"] for row in self._ledger.read(sql, (key, f"{key}\U0010ffff"))]

    def _outcome(self, kind: str, key: str) -> Json:
        table, column = {"job": ("jobs", "job_key"), "delivery": ("deliveries", "key")}[kind]
        rows = self._ledger.read(f"SELECT state FROM {table} WHERE {column} = ?", (key,))
        return {"kind": kind, "key": key, "state": rows[0]["state"]}

    def _write(self, change: Callable[[Transaction], None]) -> None:
        try:
            with self._ledger.transaction() as transaction:
                change(transaction)
        except UnknownTransition as error:
            raise NotPossible(str(error)) from None
        except StaleRow:
            raise NotPossible("it changed at this very moment; look at it again, then repeat") from None
