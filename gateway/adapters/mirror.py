"""The mirror: a table elsewhere that holds, for who may not reach the ledger, where every study is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

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
