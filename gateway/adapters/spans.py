"""Spans of traces, in neutral words: what took from when to when, and as a part of what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Span:
    """Something that took its time.

    Parameters
    ----------
    key
        What it is known by in its trace: the same span has the same key.
    within
        The key of the span that it is a part of; empty: the trace itself.
    attributes
        Keys, names of the configuration, codes, numbers; nothing of a patient.
    """

    key: str
    name: str
    begun: datetime
    ended: datetime
    within: str = ""
    has_failed: bool = False
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)


class Tracing(Protocol):
    """Takes traces."""

    def put(self, trace: str, spans: Sequence[Span]) -> None:
        """Put the spans of one trace; what was put before is the same by its keys.

        Parameters
        ----------
        trace
            What the trace is known by.

        Raises
        ------
        Retriable
            They were not taken, or that is not known.
        """
        ...

    def end(self) -> None:
        """Break off what is under way, for good, from another thread."""
        ...
