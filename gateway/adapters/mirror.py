"""The mirror: a table elsewhere that holds, for who may not reach the ledger, where every study is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

Value = str | int | float | bool | Sequence["Value"] | Mapping[str, "Value"]


class ItemKind(StrEnum):
    """What an item is about."""

    STUDY = "study"
    JOB = "job"
    EVENT = "event"


@dataclass(frozen=True)
class ItemKey:
    """One item of one study; `name` is the job's key, or the event's number; a study has none."""

    study_key: str
    kind: ItemKind
    name: str = ""


@dataclass(frozen=True)
class MirrorItem:
    """What the table is to hold under one key."""

    key: ItemKey
    version: int
    attributes: Mapping[str, Value]
    expires_at: int | None = None
    """When the table may forget it, in seconds since 1970; None: never."""


class Mirror(Protocol):
    """A table whose items only ever become newer; its methods may be called from several threads at once."""

    def put(self, item: MirrorItem) -> int | None:
        """Write an item unless the table has this version of it, or a later one.

        Returns
        -------
        The version that was there already; None where the item was written.

        Raises
        ------
        Retriable, Permanent
            Whether it was written is not known, or it was not; the same call is safe.
        """
        ...

    def older(self, site: str, version: int) -> Iterator[ItemKey]:
        """Every item of this site whose version is lower.

        Raises
        ------
        Retriable, Permanent
        """
        ...

    def remove(self, key: ItemKey, version: int) -> None:
        """Remove an item if its version is lower than this; one that is not there is no error.

        Raises
        ------
        Retriable, Permanent
        """
        ...


Item = Mapping[str, Any]
"""One item's attributes, as `MirrorItem.attributes` had them."""


@dataclass(frozen=True)
class MirroredStudy:
    """A study and its jobs; the study is None where the table has none."""

    study: Item | None
    jobs: Sequence[Item]


class MirrorReader(Protocol):
    """Reads such a table; every method may be called from several threads, and raises Retriable or Permanent.

    What was written a moment ago may not be seen yet.
    """

    def studies(self, state: str, since: str, until: str, at_once: int) -> Iterator[Item]:
        """Give the studies in one state, the last changed first, read only as far as they are taken.

        Parameters
        ----------
        since, until
            Times of the last change, both included; equal times come in any order.
        at_once
            How many are asked for in one request.
        """
        ...

    def study(self, study_key: str) -> MirroredStudy:
        """One study with its jobs."""
        ...

    def timeline(self, study_key: str, job_key: str | None, most: int) -> tuple[list[Item], int]:
        """Read the newest lines of a study, or of one of its jobs, the oldest first; count the others."""
        ...

    def job(self, job_key: str) -> Item | None:
        """One job; None where the table has none."""
        ...

    def every_study(self) -> Iterator[Item]:
        """Every study; only `state`, `received_at` and `instances` of it."""
        ...

    def every_job(self) -> Iterator[Item]:
        """Every job; only `state` and `deliveries` of it."""
        ...
