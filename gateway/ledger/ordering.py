"""The orders of the list of studies: along which index each goes, and places in it that stay right."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from .states import StudyState


class Sort(StrEnum):
    """By what."""

    RECEIVED = "received"
    UPDATED = "updated"
    PATIENT_ID = "patient_id"
    ACCESSION_NUMBER = "accession_number"
    STATE = "state"
    """The most urgent first; in each state by when they were received."""
    IMAGES = "images"


LATEST_FIRST: Final = frozenset({Sort.RECEIVED, Sort.UPDATED, Sort.IMAGES})
"""What is descending unless it is said."""
_URGENCY: Final = (
    StudyState.FAILED,
    StudyState.HELD,
    StudyState.RECEIVING,
    StudyState.PROCESSING,
    StudyState.DONE,
)
_COLUMNS: Final = {
    Sort.RECEIVED: "received_at",
    Sort.UPDATED: "updated_at",
    Sort.PATIENT_ID: "patient_id",
    Sort.ACCESSION_NUMBER: "accession_number",
    Sort.STATE: "received_at",
    Sort.IMAGES: "images",
}
_INDEXES: Final = {
    Sort.RECEIVED: "studies_by_received",
    Sort.UPDATED: "studies_by_updated",
    Sort.PATIENT_ID: "studies_by_patient",
    Sort.ACCESSION_NUMBER: "studies_by_accession",
    Sort.STATE: "studies_by_state",
    Sort.IMAGES: "studies_by_images",
}
_ONLY_WHILE: Final = frozenset({Sort.UPDATED, Sort.IMAGES})
"""Their indexes leave out studies that are receiving, which change with each image."""
_COMING: Final = f"s.state = '{StudyState.RECEIVING}'"
_HERE: Final = f"s.state <> '{StudyState.RECEIVING}'"


@dataclass(frozen=True)
class Place:
    """Where a study stands in an order: what it is ordered by, and its key; of states their rank, too."""

    value: str | int
    study_key: str
    rank: int = 0


@dataclass(frozen=True)
class Order:
    """An order of studies; those that are equal in it stand by their keys."""

    by: Sort = Sort.RECEIVED
    is_descending: bool = True

    def place(self, row: Any) -> Place:
        """Where a row of studies stands, or its record."""
        get = row.__getitem__ if isinstance(row, sqlite3.Row) else row.__getattribute__
        rank = _URGENCY.index(StudyState(get("state"))) if self.by is Sort.STATE else 0
        return Place(get(_COLUMNS[self.by]), get("study_key"), rank)

    def merged(self, rows: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
        """Rows of several strands in their order."""

        def key(row: sqlite3.Row) -> tuple[int, Any, str]:
            place = self.place(row)
            return (place.rank, place.value, place.study_key)

        if self.by is Sort.STATE:
            return list(rows)  # one strand stands behind the other
        return sorted(rows, key=key, reverse=self.is_descending)


@dataclass(frozen=True)
class Strand:
    """A part of the studies that one index has in order.

    Parameters
    ----------
    only
        Which part; empty: all.
    """

    order: Order
    only: str = ""
    after: Place | None = None

    @property
    def is_by_reception(self) -> bool:
        """Whether it is by when they were received."""
        return _COLUMNS[self.order.by] == "received_at"

    @property
    def _is_descending(self) -> bool:
        return self.order.by is Sort.STATE or self.order.is_descending

    def is_after_all(self, rows: Sequence[sqlite3.Row], limit: int) -> bool:
        """Whether these rows, of strands before, fill the page already."""
        return self.order.by is Sort.STATE and len(rows) >= limit

    def index(self, *, is_of_one_state: bool) -> str:
        """How SQLite is told along which index to go."""
        if self.only == _COMING or (is_of_one_state and self.is_by_reception):
            return "INDEXED BY studies_by_state"
        return f"INDEXED BY {_INDEXES[self.order.by]}"

    def conditions(self, at: str) -> list[str]:
        """Which studies it has, and where it begins; `at` names what it goes along."""
        begins = f"({self._columns(at)}) {'<' if self._is_descending else '>'} (?, ?)"
        return [*([self.only] if self.only else []), *([begins] if self.after is not None else [])]

    @property
    def values(self) -> tuple[Any, ...]:
        """Those of the conditions."""
        return () if self.after is None else (self.after.value, self.after.study_key)

    def along(self, at: str) -> str:
        """What it is ordered by, in SQL."""
        way = "DESC" if self._is_descending else "ASC"
        return ", ".join(f"{column} {way}" for column in self._columns(at).split(", "))

    def _columns(self, at: str) -> str:
        return f"{at}.{_COLUMNS[self.order.by]}, {at}.study_key"


def strands_of(order: Order, after: Place | None) -> Iterator[Strand]:
    """The parts that are to be put together, in their order where they stand one behind the other."""
    if order.by is Sort.STATE:
        ranks = list(enumerate(_URGENCY))
        for rank, state in reversed(ranks) if order.is_descending else ranks:
            is_before = after is not None and (
                rank > after.rank if order.is_descending else rank < after.rank
            )
            if not is_before:
                is_there = after is not None and rank == after.rank
                yield Strand(order, f"s.state = '{state}'", after if is_there else None)
    elif order.by in _ONLY_WHILE:
        yield Strand(order, _HERE, after)
        yield Strand(order, _COMING, after)
    else:
        yield Strand(order, "", after)
