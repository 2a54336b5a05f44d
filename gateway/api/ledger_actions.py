"""What a person may ask for at a gateway: it is written into the ledger, and whoever it concerns goes on."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from gateway.ledger import work
from gateway.ledger.beside import plan_beside
from gateway.ledger.bulk import Action, Wanted, act, selected
from gateway.ledger.choices import choose_volume
from gateway.ledger.completion import PlannedJob, request_completion
from gateway.ledger.deliveries import drop_delivery, failed_by_destination, redirect_delivery, standing_of
from gateway.ledger.destinations import KnownDestination, known_destinations
from gateway.ledger.erasing import request_forget
from gateway.ledger.keys import OF_STUDIES, Kind, Named, beginning_with
from gateway.ledger.quarantine import dismiss, took_in
from gateway.ledger.records import JobRow, StudyRow, utc_text
from gateway.ledger.resending import resend_delivery
from gateway.ledger.states import StudyState, UnknownTransition
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible, StaleRow, Transaction

from .callers.authors import AUTHOR
from .store import BulkWish, Json, NotFound
from .studies.listings import find_study

MOST_KEYS: Final = 1000
"""So many keys of what was asked for in bulk are told."""
AnotherTask = Callable[[JobRow, str, Mapping[str, Any]], PlannedJob]
_GOES_SOMEWHERE: Final = frozenset({Action.REDIRECT, Action.RESEND})


def _taken(known: KnownDestination) -> Json:
    """What a destination takes, and refuses, each once."""
    refused = {each.what: each.way_out for each in known.forms if each.is_refused}
    return {
        "implementation": known.by,
        "asked": known.asked_at or None,
        "takes": list(dict.fromkeys(each.what for each in known.forms if each.is_taken)),
        "refuses": [{"what": what, "way_out": way_out} for what, way_out in refused.items()],
    }


class LedgerActions:
    """Actions that write the ledger.

    Parameters
    ----------
    release_object
        Takes a quarantined object in after all, by its key; it raises NotPossible with the reason where it
        cannot. None where this gateway has no way to do so.
    destinations
        Those that are configured, each with where it is.
    another_task
        Says which job another task, with options, on the volume of a job is; it raises NotPossible with the
        reason where there can be none. None where this gateway has no engine to ask.
    """

    def __init__(
        self,
        ledger: Ledger,
        release_object: Callable[[str], None] | None = None,
        destinations: Mapping[str, str] | None = None,
        another_task: AnotherTask | None = None,
    ) -> None:
        self._ledger = ledger
        self._destinations = {} if destinations is None else destinations
        self._release_object = release_object
        self._another_task = another_task

    def retry(self, key: str) -> Json:
        """Take up a failed or cancelled job with its deliveries, or one failed delivery."""
        kind, key = self._named(key)
        self._write(lambda transaction: work.retry(transaction, key))
        return self._outcome(kind, key)

    def redirect(self, key: str, to: str) -> Json:
        """Send a delivery that failed or waits to another destination instead."""
        key = self._delivery(key)
        self._require_destination(to)
        self._write(lambda transaction: redirect_delivery(transaction, key, to))
        return self._outcome("delivery", key)

    def resend(self, key: str, to: str) -> Json:
        """Send a delivery that arrived again, or to another destination as well where `to` names one."""
        key = self._delivery(key)
        if to:
            self._require_destination(to)
        self._write(lambda transaction: resend_delivery(transaction, key, to))
        return self._outcome("delivery", key)

    def in_bulk(self, wish: BulkWish) -> Json:
        """Do something to many things, or to all of one key, a hundred in a transaction."""
        self._require_arguments(wish)
        wanted = Wanted(
            of=self._meant(wish.key, wish.action) if wish.key else None,
            state=wish.state,
            destination=wish.destination,
            output=wish.output,
            since=utc_text(wish.since) if wish.since is not None else "",
            until=utc_text(wish.until) if wish.until is not None else "",
            reason=wish.reason,
            object_sender=wish.object_sender,
            studies=wish.studies,
        )
        things = selected(self._ledger, wish.action, wanted)
        if wish.is_dry_run:
            return _bulk_outcome(things, [thing.key for thing in things])
        refusals: list[str] = []
        if wish.action is Action.RELEASE:
            things, refusals = self._taken_in(things)
        done = act(self._ledger, wish.action, things, to=wish.to, author=AUTHOR.get())
        why = next(filter(None, (*refusals, done.refusal)), "")
        if wish.key and why and not done.keys:
            raise NotPossible(why)
        return _bulk_outcome(things, done.keys, len(refusals) + done.left_alone, why)

    def destination_list(self) -> list[Json]:
        """The destinations that are configured, then those that something still waits for, or failed at."""
        standing = {one.destination: one for one in standing_of(self._ledger)}
        failed = failed_by_destination(self._ledger)
        others = sorted({*standing, *failed} - {*self._destinations})
        known = {name: KnownDestination(address) for name, address in self._destinations.items()}
        for name, said in known_destinations(self._ledger).items():
            if self._destinations.get(name, said.address) == said.address:
                known[name] = said
        return [
            {
                "name": name,
                "is_configured": name in self._destinations,
                "waiting": standing[name].number if name in standing else 0,
                "waiting_since": standing[name].since if name in standing else None,
                "failed": failed.get(name, 0),
                "reason": standing[name].reason if name in standing else "",
                "address": known[name].address if name in known else "",
                **_taken(known.get(name, KnownDestination())),
            }
            for name in (*self._destinations, *others)
        ]

    def drop(self, key: str) -> Json:
        """Do not send a delivery that failed or waits any more."""
        key = self._delivery(key)
        self._write(lambda transaction: drop_delivery(transaction, key))
        return self._outcome("delivery", key)

    def cancel(self, job_key: str) -> Json:
        """Stop a job and what it has not delivered."""
        job_key = self._job(job_key)
        self._write(lambda transaction: work.cancel(transaction, job_key))
        return self._outcome("job", job_key)

    def set_priority(self, job_key: str, priority: int | None) -> Json:
        """Let a job have its turn sooner or later, by None before all that wait."""
        job_key = self._job(job_key)
        self._write(lambda transaction: work.set_priority(transaction, job_key, priority))
        return self._outcome("job", job_key)

    def reprocess(self, job_key: str, task: str, options: Json) -> Json:
        """Run another task on the volume of a job; the same wish again finds the same job."""
        job = work.job(self._ledger, self._job(job_key))
        if job is None:
            raise NotFound("there is no such job")
        if self._another_task is None:
            raise NotPossible("there is no engine here to ask for another task")
        planned = self._another_task(job, task, options)
        self._write(lambda transaction: plan_beside(transaction, job.job_key, planned))
        return self._outcome("job", planned.job_key)

    def complete(self, study: str) -> Json:
        """Record that a study has arrived; whoever watches completeness takes it from there."""
        row = self._study(study)

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
        row = self._study(study)
        self._write(lambda transaction: choose_volume(transaction, row.study_uid, series_uid, number))
        return {"kind": "study", "key": row.study_key, "state": row.state.value}

    def forget(self, study: str) -> Json:
        """Record that a study is to be erased; whoever removes things takes it from there."""
        row = self._study(study)
        self._write(lambda transaction: request_forget(transaction, row.study_uid))
        return {"kind": "study", "key": row.study_key, "state": "forgetting"}

    def release(self, key: str) -> Json:
        """Let a held job go on, or take a quarantined object in."""
        held = beginning_with(self._ledger, key, (Kind.JOB,))
        if len(held) == 1:
            self._write(lambda transaction: work.release(transaction, held[0].key))
            return self._outcome("job", held[0].key)
        key = self._object(key)
        self._take_in(key)
        self._write(lambda transaction: took_in(transaction, key))
        return {"kind": "object", "key": key, "state": "released"}

    def dismiss(self, key: str) -> Json:
        """Say that nobody has to look at an object in quarantine any more."""
        key = self._object(key)
        self._write(lambda transaction: dismiss(transaction, key))
        return {"kind": "object", "key": key, "state": "dismissed"}

    def _object(self, key: str) -> str:
        """The whole key of an object in quarantine."""
        found = beginning_with(self._ledger, key, (Kind.OBJECT,))
        if not found:
            raise NotFound("there is nothing in quarantine under this key")
        return only_one(found).key

    def _take_in(self, key: str) -> None:
        if self._release_object is None:
            raise NotPossible(
                "this object cannot be taken in as it is; correct it where it comes from, send again"
            )
        self._release_object(key)

    def _taken_in(self, things: Sequence[Named]) -> tuple[list[Named], list[str]]:
        """Those that are jobs, or objects that could be filed; and why the others could not."""
        done: list[Named] = []
        refusals: list[str] = []
        for thing in things:
            try:
                if thing.kind is Kind.OBJECT:
                    self._take_in(thing.key)
            except NotPossible as error:
                refusals.append(str(error))
            else:
                done.append(thing)
        return done, refusals

    def _job(self, key: str) -> str:
        kind, key = self._named(key)
        if kind != "job":
            raise NotFound("there is no such job")
        return key

    def _delivery(self, key: str) -> str:
        kind, key = self._named(key)
        if kind != "delivery":
            raise NotFound("there is no such delivery")
        return key

    def _named(self, key: str) -> tuple[str, str]:
        """What a key, or the beginning of one, stands for: a job or a delivery, and its whole key."""
        found = beginning_with(self._ledger, key, (Kind.JOB, Kind.DELIVERY))
        if not found:
            raise NotFound("there is no such job or delivery")
        one = only_one(found)
        return one.kind.value, one.key

    def _meant(self, key: str, action: Action) -> Named:
        """The study, job, delivery, or object in quarantine that a key, or how one begins, stands for."""
        is_of_objects = action in (Action.RELEASE, Action.DISMISS)
        found = beginning_with(self._ledger, key, (*OF_STUDIES, Kind.OBJECT) if is_of_objects else OF_STUDIES)
        if not found:
            also = ", or anything in quarantine," if is_of_objects else ""
            raise NotFound(f"there is no study, job or delivery{also} whose key begins so")
        return only_one(found)

    def _study(self, study: str) -> StudyRow:
        """A study by its key, the beginning of that, or its Study Instance UID."""
        found = beginning_with(self._ledger, study, (Kind.STUDY,))
        row = find_study(self._ledger, only_one(found).study_uid) if found else None
        if row is None:
            raise NotFound("there is no such study")
        return row

    def _require_destination(self, name: str) -> None:
        if name not in self._destinations:
            known = ", ".join(self._destinations) or "none is configured"
            raise NotPossible(f"there is no destination of that name; there is: {known}")

    def _require_arguments(self, wish: BulkWish) -> None:
        if wish.action is Action.REDIRECT and not wish.to:
            raise NotPossible("redirect needs the name of a destination: arguments.to")
        if wish.to and wish.action not in _GOES_SOMEWHERE:
            raise NotPossible(f"{wish.action} goes nowhere: leave arguments.to out")
        if wish.to:
            self._require_destination(wish.to)

    def _outcome(self, kind: str, key: str) -> Json:
        table, column = {"job": ("jobs", "job_key"), "delivery": ("deliveries", "key")}[kind]
        rows = self._ledger.read(f"SELECT state FROM {table} WHERE {column} = ?", (key,))
        return {"kind": kind, "key": key, "state": rows[0]["state"]}

    def _write(self, change: Callable[[Transaction], None]) -> None:
        try:
            with self._ledger.transaction() as transaction:
                transaction.author = AUTHOR.get()
                change(transaction)
        except UnknownTransition as error:
            raise NotPossible(str(error)) from None
        except StaleRow:
            raise NotPossible("it changed at this very moment; look at it again, then repeat") from None


def only_one(found: Collection[Named]) -> Named:
    """What is meant, where that is clear.

    Raises
    ------
    NotPossible
        Several may be; it says which.
    """
    one, *others = found
    if others:
        which = ", ".join(map(str, found))
        raise NotPossible(f"several begin so, give more of the key: {which}")
    return one


def _bulk_outcome(
    things: Collection[Named], keys: Collection[str], left_alone: int = 0, why: str = ""
) -> Json:
    done = set(keys)
    return {
        "count": len(keys),
        "studies": len({thing.study_uid for thing in things if thing.key in done}),
        "keys": [*keys][:MOST_KEYS],
        "left_alone": left_alone,
        "why": why,
    }
