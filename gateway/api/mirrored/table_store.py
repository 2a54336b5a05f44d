"""The mirror's table behind the API's protocols: what is known of every gateway's studies, and who acts."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import Final, NoReturn

from gateway.adapters.mirror import OPEN_SINCE, Item, MirrorReader, counters_in
from gateway.ledger.finding import StudyFilter
from gateway.ledger.ordering import Order
from gateway.ledger.states import StudyState
from gateway.ledger.steps import steps_of
from gateway.ledger.traits import Trait

from ..counting import counts_of
from ..cursors import read_cursor, write_cursor
from ..mirror_routes import NOTHING_MIRRORED
from ..store import BulkWish, Counts, Cut, Json, NotFound, NotHere, WhichQuarantined
from ..studies.listings import MAX_TIMELINE
from .table_filter import EARLIEST, LATEST, Stretch, refuse_what_is_not_here, states_of
from .table_shapes import deliveries_of, job_of, line_of, summary_of

STUDIES_AT_ONCE: Final = 16
"""How many studies' jobs are asked for at the same time."""


class TableStore:
    """A StatusStore that reads the mirror, at each question anew."""

    def __init__(self, reader: MirrorReader) -> None:
        self._reader = reader

    def studies(
        self, wanted: StudyFilter, order: Order | None, cut: Cut, *, is_counted: bool = False
    ) -> Json:
        """One page of studies, the last changed first.

        A study that changes moves before every cursor: no page has one twice, and one that does not change is
        on exactly one of them.

        Raises
        ------
        BadCursor
        NotHere
            It goes by what is not known here, or not in order.
        """
        refuse_what_is_not_here(wanted, order, is_counted=is_counted)
        after = read_cursor(cut.cursor) if cut.cursor is not None else None
        stretch = Stretch.of(wanted)
        found = list(islice(self._latest(states_of(wanted), stretch, after, cut.limit + 1), cut.limit + 1))
        page = found[: cut.limit]
        return {
            "items": [summary_of(study, jobs) for study, jobs in zip(page, self._jobs(page), strict=True)],
            "next_cursor": write_cursor(*_place(page[-1])) if len(found) > cut.limit else None,
            "total": None,
        }

    def traits(self) -> Json:
        """Nothing: studies are found by their state and time alone."""
        return {"is_searched": False, **{trait.value: [] for trait in Trait}}

    def study(self, study: str) -> Json | None:
        """One study by its key; the mirror knows no UIDs."""
        found = self._reader.study(study)
        if found.study is None:
            return None
        lines, left_out = self._reader.timeline(study, None, MAX_TIMELINE)
        timeline = [line_of(line) for line in lines]
        return {
            **summary_of(found.study, found.jobs),
            "series": [],
            "steps": steps_of(timeline),
            "timeline": timeline,
            "timeline_left_out": left_out,
        }

    def job(self, job_key: str) -> Json | None:
        """One job, or None."""
        job = self._reader.job(job_key)
        if job is None:
            return None
        timeline, _ = self._reader.timeline(job["study_key"], job_key, MAX_TIMELINE)
        return {
            **job_of(job),
            "study_uid": None,
            "study_key": job["study_key"],
            "deliveries": deliveries_of(job),
            "timeline": [line_of(line) for line in timeline],
        }

    def quarantine(self, which: WhichQuarantined, cut: Cut) -> Json:
        """Nothing: what was put aside is not mirrored, and held jobs stand with their studies."""
        if cut.cursor is not None:
            read_cursor(cut.cursor)
        return {"items": [], "next_cursor": None, "waiting": 0, "reasons": [], "senders": []}

    def quarantined(self, key: str) -> Json | None:
        """None; see `quarantine`."""
        return None

    def counts(self) -> Counts:
        """Add up what each site says of itself; an item a site is read, however many studies there are."""
        items = list(self._reader.counts())
        counted = Counter[tuple[str, str]]()
        for item in items:
            counted.update({name: max(0, number) for name, number in counters_in(item).items()})
        return counts_of(
            counted, min((at for item in items for at in item.get(OPEN_SINCE, ())), default=None)
        )

    def look(self) -> None:
        """Read one study, or none where there is none.

        Raises
        ------
        OutsideError
            The table does not answer.
        """
        next(self._reader.studies(StudyState.RECEIVING, EARLIEST, LATEST, 1), None)

    def _latest(
        self, states: Sequence[str], stretch: Stretch, after: tuple[str, str] | None, at_once: int
    ) -> Iterator[Item]:
        """Every study of these states that was received in a stretch of time and stands after a place."""
        until = after[0] if after is not None else LATEST
        # What was received since then has changed since then, too.
        streams = [_ordered(self._reader.studies(state, stretch.since, until, at_once)) for state in states]
        seen = set[str]()
        for study in heapq.merge(*streams, key=_place, reverse=True):
            is_before = after is not None and _place(study) >= after
            # One that moves while we look may stand under both of its states.
            if is_before or study["study_key"] in seen or study["received_at"] not in stretch:
                continue
            seen.add(study["study_key"])
            yield study

    def _jobs(self, studies: Sequence[Item]) -> list[Sequence[Item]]:
        def jobs_of(study: Item) -> Sequence[Item]:
            return self._reader.study(study["study_key"]).jobs if study["jobs"] else ()

        with ThreadPoolExecutor(STUDIES_AT_ONCE, thread_name_prefix="table") as pool:
            return list(pool.map(jobs_of, studies))


class TableActions:
    """Actions on what gateways elsewhere have: each says which of them to ask."""

    def __init__(self, reader: MirrorReader) -> None:
        self._reader = reader

    def retry(self, key: str) -> Json:
        """Refuse; a delivery cannot be found by its key here."""
        self._refuse(
            self._reader.job(key), "there is no such job here; a delivery is sent again at its gateway"
        )

    def redirect(self, key: str, to: str) -> Json:
        """Refuse; see `retry`."""
        raise NotFound("a delivery cannot be found by its key here; its gateway redirects it")

    def destination_list(self) -> list[Json]:
        """None: nothing is sent from here."""
        return []

    def resend(self, key: str, to: str) -> Json:
        """Refuse; see `retry`."""
        raise NotFound("a delivery cannot be found by its key here; its gateway sends it again")

    def in_bulk(self, wish: BulkWish) -> Json:
        """Refuse: what is to be done to many things is each gateway's."""
        raise NotHere("each gateway acts on its own studies, many at once: ask for that there")

    def drop(self, key: str) -> Json:
        """Refuse; see `retry`."""
        raise NotFound("a delivery cannot be found by its key here; its gateway drops it")

    def cancel(self, job_key: str) -> Json:
        """Refuse."""
        self._refuse(self._reader.job(job_key), "there is no such job")

    def set_priority(self, job_key: str, priority: int | None) -> Json:
        """Refuse."""
        self._refuse(self._reader.job(job_key), "there is no such job")

    def reprocess(self, job_key: str, task: str, options: Json) -> Json:
        """Refuse."""
        self._refuse(self._reader.job(job_key), "there is no such job")

    def complete(self, study: str) -> Json:
        """Refuse."""
        self._refuse(self._reader.study(study).study, "there is no such study")

    def use(self, study: str, series_uid: str, number: int) -> Json:
        """Refuse; which volumes a study has is known to its gateway only."""
        self._refuse(self._reader.study(study).study, "there is no such study")

    def forget(self, study: str) -> Json:
        """Refuse: its gateway erases it, and what is mirrored of it here."""
        self._refuse(self._reader.study(study).study, "there is no such study")

    def release(self, key: str) -> Json:
        """Refuse; objects that were put aside are known to their gateway only."""
        self._refuse(self._reader.job(key), "there is no such job here; an object is released at its gateway")

    def dismiss(self, key: str) -> Json:
        """Refuse; see `release`."""
        raise NotFound("there is no such object here; it is dismissed at its gateway")

    def _refuse(self, item: Item | None, where_there_is_none: str) -> NoReturn:
        if item is None:
            raise NotFound(where_there_is_none)
        raise NotHere(f"the gateway {item['site']} has this study and acts on it: ask for that there")


class TableMirror:
    """The mirror as seen from itself: nothing is mirrored from here."""

    def state(self) -> Json:
        """Nothing is on."""
        return NOTHING_MIRRORED

    def rebuild(self) -> Json:
        """Refuse."""
        raise NotHere("each gateway writes its own part anew: iris mirror rebuild, there")


def _place(study: Item) -> tuple[str, str]:
    return study["updated_at"], study["study_key"]


def _ordered(studies: Iterator[Item]) -> Iterator[Item]:
    """The same with those of one instant in the order of their keys."""
    for _, same in groupby(studies, key=lambda study: study["updated_at"]):
        yield from sorted(same, key=_place, reverse=True)
