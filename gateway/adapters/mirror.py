"""The mirror: a table elsewhere that holds, for who may not reach the ledger, where every study is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

Value = str | int | float | bool | Sequence["Value"] | Mapping[str, "Value"]


class ItemKind(StrEnum):
    """What an item is about."""

    STUDY = "study"
    JOB = "job"
    EVENT = "event"
    COUNTS = "counts"


@dataclass(frozen=True)
class ItemKey:
    """One item of one study; `name` is the job's key, or the event's number; a study has none.

    Counts are of no study: their `name` is the site's.
    """

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


OPEN_SINCE: Final = "open_since"
"""In an item of counts: when studies were received that are open, at least the oldest of them."""
_COUNTER: Final = "#"


def counter_name(kind: str, state: str) -> str:
    """The attribute of an item of counts that holds how many of a kind stand in a state: `study#done`."""
    return f"{kind}{_COUNTER}{state}"


def counters_in(item: "Item") -> dict[tuple[str, str], int]:
    """The numbers in an item of counts, by kind and state."""
    named = {name.partition(_COUNTER): of for name, of in item.items() if _COUNTER in name}
    return {(kind, state): of for (kind, _, state), of in named.items()}


@dataclass(frozen=True)
class Counting:
    """By how much a change moves a site's counts, and what is open since when from then on, or no more."""

    site: str
    by: Mapping[str, int]
    """Under the names of `counter_name`; without those that stay."""
    opened: str = ""
    closed: str = ""


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

    def counts(self) -> Iterator[Item]:
        """The counts of every site, an item each; see `counters_in`."""
        ...
