"""Which studies are meant: by what a person has in hand, by what stands in them, by what they wait for.

Lists and what is done in bulk go by the same `StudyFilter`. However much there is, a page of a list is found
in milliseconds: what holds for few studies is gathered, and put in order; what holds for many is asked of one
study after the other, along the index of the order, until the page is full.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from .ordering import Order, Place, Sort, Strand, strands_of
from .records import StudyRow, utc_text
from .states import DeliveryState
from .store import Ledger
from .traits import Trait
from .waiting import BY_JOB, BY_STUDY, Waits

FEW: Final = 2000
"""So many studies are gathered and put in order in less time than a page may take."""


@dataclass(frozen=True)
class StudyFilter:
    """What is said of the studies that are meant; what is empty is any.

    Parameters
    ----------
    sought
        How the Patient ID, accession number, UID or key begins, or the key of a job or delivery.
    since, until
        Received at this time or later, and before that; aware.
    modality, sender, rule, destination, flag
        Of which there is something in the study: images of that modality or from that sender, a job of that
        rule, a result for that destination, a flag of that code.
    keys
        Whole study_keys.
    """

    sought: str = ""
    state: str = ""
    waits: str = ""
    since: datetime | None = None
    until: datetime | None = None
    modality: str = ""
    sender: str = ""
    rule: str = ""
    destination: str = ""
    flag: str = ""
    keys: tuple[str, ...] = ()


ANY: Final = StudyFilter()


@dataclass(frozen=True)
class _Narrowing:
    """One condition.

    Parameters
    ----------
    holds
        It, asked of a study `s`, and the values in it. {at} is where the order goes along.
    studies
        From where those are read for which it holds, some of them twice maybe, and the values in it.
    is_in_order
        Whether an index has them in the order in which they were received.
    """

    holds: str
    values: tuple[Any, ...]
    studies: tuple[str, ...]
    values_of_studies: tuple[Any, ...]
    is_in_order: bool = False
    is_trait: bool = False

    @property
    def gathered(self) -> str:
        """Their Study Instance UIDs, as SQL."""
        return " UNION ALL ".join(f"SELECT study_uid {each}" for each in self.studies)


def find_studies(
    ledger: Ledger, wanted: StudyFilter, order: Order, limit: int, after: Place | None = None
) -> list[StudyRow]:
    """The first of them in that order, or the first ones after a place in it."""
    narrowed = list(_narrowings(ledger, wanted))
    stand_in_order = order.by is Sort.RECEIVED and len(narrowed) == 1 and narrowed[0].is_in_order
    few = None if stand_in_order else _fewest(ledger, narrowed)
    rows: list[sqlite3.Row] = []
    for strand in strands_of(order, after):
        if strand.is_after_all(rows, limit):
            break
        source, values, where = _source(narrowed, few, strand)
        conditions = [*(one.holds.format(at=where) for one in narrowed), *strand.conditions(where)]
        along = strand.along(where)
        rows += ledger.read(
            f"SELECT s.* FROM {source} WHERE {' AND '.join(conditions) or '1 = 1'} ORDER BY {along} LIMIT ?",
            (*values, *_values(narrowed), *strand.values, limit),
        )
    return [StudyRow.of(row) for row in order.merged(rows)[:limit]]


def count_studies(ledger: Ledger, wanted: StudyFilter) -> int:
    """How many they are."""
    return int(_all(ledger, wanted, "count(*) AS number")[0]["number"])


def uids_of_studies(ledger: Ledger, wanted: StudyFilter) -> set[str]:
    """The Study Instance UIDs of all of them."""
    return {row["study_uid"] for row in _all(ledger, wanted, "s.study_uid")}


def _all(ledger: Ledger, wanted: StudyFilter, what: str) -> list[sqlite3.Row]:
    narrowed = list(_narrowings(ledger, wanted))
    few = _fewest(ledger, narrowed)
    source, values = ("studies s", ()) if few is None else _gathered(few)
    conditions = [one.holds.format(at="s") for one in narrowed]
    sql = f"SELECT {what} FROM {source} WHERE {' AND '.join(conditions) or '1 = 1'}"
    return ledger.read(sql, (*values, *_values(narrowed)))


# -- where to begin -----------------------------------------------------------------------------------------


def _fewest(ledger: Ledger, narrowed: Sequence[_Narrowing]) -> _Narrowing | None:
    """What holds for the fewest; None where each holds for many."""
    fewest, number = None, FEW
    for one in narrowed:
        rows = ledger.read(
            f"SELECT count(*) AS number FROM (SELECT 1 FROM ({one.gathered}) LIMIT ?)",
            (*one.values_of_studies, FEW),
        )
        if rows[0]["number"] < number:
            fewest, number = one, rows[0]["number"]
    return fewest


def _gathered(few: _Narrowing) -> tuple[str, tuple[Any, ...]]:
    source = f"(SELECT DISTINCT study_uid FROM ({few.gathered})) CROSS JOIN studies s USING (study_uid)"
    return source, few.values_of_studies


def _source(
    narrowed: Sequence[_Narrowing], few: _Narrowing | None, strand: Strand
) -> tuple[str, tuple[Any, ...], str]:
    """Where studies are read from, the values in that, and by which name the order goes."""
    if few is not None:
        return *_gathered(few), "s"
    if strand.order.by is Sort.RECEIVED:
        for one in narrowed:
            if one.is_trait:
                return f"study_traits t CROSS JOIN studies s ON {_SAME} AND {_IS_TRAIT}", one.values, "t"
    is_of_one = any(one.is_in_order and not one.is_trait for one in narrowed)
    return f"studies s {strand.index(is_of_one_state=is_of_one)}", (), "s"


def _values(narrowed: Sequence[_Narrowing]) -> tuple[Any, ...]:
    return tuple(value for one in narrowed for value in one.values)


# -- conditions ---------------------------------------------------------------------------------------------

_SAME: Final = "s.study_key = t.study_key"
_IS_TRAIT: Final = "t.trait = ? AND t.value = ?"
_BEGINS: Final = (
    ("studies", "patient_id"),
    ("studies", "accession_number"),
    ("studies", "study_uid"),
    ("studies", "study_key"),
    ("jobs", "job_key"),
    ("deliveries", "key"),
    ("corrections", "key"),
)
"""Of which table which column may begin as what is sought; each has an index."""
_WAITS_THERE: Final = [f"state = '{DeliveryState.PENDING}'", "unkept_since IS NOT NULL"]


def _narrowings(ledger: Ledger, wanted: StudyFilter) -> Iterator[_Narrowing]:
    if wanted.keys:
        keys = (json.dumps(wanted.keys),)
        named = "FROM json_each(?) CROSS JOIN studies s ON s.study_key = json_each.value"
        yield _Narrowing("s.study_key IN (SELECT value FROM json_each(?))", keys, (named,), keys)
    if wanted.sought:
        yield _that_begins(ledger, wanted.sought)
    if wanted.state:
        yield _of_states([wanted.state])
    if wanted.waits:
        yield _that_wait(Waits(wanted.waits))
    if wanted.since is not None or wanted.until is not None:
        yield _of_time(wanted.since, wanted.until)
    for trait in Trait:
        if value := getattr(wanted, trait):
            yield _with_trait(trait, value)


def _that_begins(ledger: Ledger, sought: str) -> _Narrowing:
    """Of which something begins so; only what does so anywhere is asked of each study."""
    bounds = (sought, f"{sought}\U0010ffff")
    studies, holds = list[str](), list[str]()
    for table, column in _BEGINS:
        begins = f"{column} >= ? AND {column} < ?"
        if ledger.read(f"SELECT 1 FROM {table} WHERE {begins} LIMIT 1", bounds):
            studies.append(f"FROM {table} WHERE {begins}")
            is_own, of = f"(s.{column} >= ? AND s.{column} < ?)", f"o.study_uid = s.study_uid AND o.{begins}"
            holds.append(is_own if table == "studies" else f"EXISTS (SELECT 1 FROM {table} o WHERE {of})")
    values = bounds * len(studies)
    if not studies:
        return _Narrowing("0 = 1", (), ("FROM studies WHERE 0 = 1",), ())
    return _Narrowing(f"({' OR '.join(holds)})", values, tuple(studies), values)


def _of_states(states: Sequence[str]) -> _Narrowing:
    among = f"state IN ({_texts(states)})" if len(states) > 1 else f"state = {_texts(states)}"
    return _Narrowing(f"s.{among}", (), (f"FROM studies WHERE {among}",), (), is_in_order=len(states) == 1)


def _that_wait(waits: Waits) -> _Narrowing:
    if waits in BY_STUDY:
        return _of_states(BY_STUDY[waits])
    table, conditions = "deliveries", _WAITS_THERE
    if waits in BY_JOB:
        table, conditions = "jobs", [f"state IN ({_texts(BY_JOB[waits])})"]
    has = f"FROM {table} o WHERE o.study_uid = s.study_uid AND (o.{' OR o.'.join(conditions)})"
    studies = tuple(f"FROM {table} WHERE {one}" for one in conditions)
    return _Narrowing(f"EXISTS (SELECT 1 {has})", (), studies, ())


def _of_time(since: datetime | None, until: datetime | None) -> _Narrowing:
    bounds = ((" >= ?", since), (" < ?", until))
    given = [(comparison, utc_text(at)) for comparison, at in bounds if at is not None]
    values = tuple(at for _, at in given)
    holds = " AND ".join(f"{{at}}.received_at{comparison}" for comparison, _ in given)
    return _Narrowing(holds, values, (f"FROM studies s WHERE {holds.format(at='s')}",), values)


def _with_trait(trait: Trait, value: str) -> _Narrowing:
    at = f"{_SAME} AND t.received_at = s.received_at AND {_IS_TRAIT}"
    of = (trait.value, value)
    # Which study it is is looked up for those that are gathered only, not while they are counted.
    uid = f"(SELECT study_uid FROM studies s WHERE {_SAME}) AS study_uid"
    studies = f"FROM (SELECT {uid} FROM study_traits t WHERE {_IS_TRAIT})"
    return _Narrowing(
        f"EXISTS (SELECT 1 FROM study_traits t WHERE {at})", of, (studies,), of, True, is_trait=True
    )


def _texts(states: Sequence[str]) -> str:
    """Members of an enum, which are words, as SQL texts: so a partial index is known to hold for them."""
    return ", ".join(f"'{state}'" for state in states)
