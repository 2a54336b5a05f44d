"""What the live stream says of an event, and of a line of the timeline that somebody missed.

An event becomes one JSON object; see `status_routes.events` for its shape.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from gateway.events import (
    DeliveryChanged,
    Event,
    InstanceStored,
    JobChanged,
    JobProgressed,
    ObjectDismissed,
    ObjectQuarantined,
    StudyChanged,
)
from gateway.ledger.erasing import FORGOTTEN
from gateway.ledger.missed import MissedLine, missed_lines, told_line
from gateway.ledger.states import JobState, StudyState
from gateway.ledger.store import Ledger

Content = dict[str, Any]
RELOAD: Final[Content] = {"kind": "reload"}
TOLD: Final = (
    StudyChanged,
    JobChanged,
    JobProgressed,
    DeliveryChanged,
    ObjectQuarantined,
    ObjectDismissed,
    InstanceStored,
)
"""What is told; nothing else that happens is anybody's concern outside."""


class Timeline(Protocol):
    """What of the past is known, for whoever comes back; it may be asked in any thread."""

    def content(self, event: Event) -> Content:
        """What is said of an event."""

    def told(self) -> int:
        """The last line that was told with all before it."""

    def missed(self, after: int, upto: int) -> Sequence[tuple[int | None, Content]]:
        """What happened after a line: each with its own line, if any; `RELOAD` where that cannot be told."""


class LedgerTimeline:
    """The ledger's."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def content(self, event: Event) -> Content:
        """See `Timeline.content`."""
        if isinstance(event, StudyChanged) and event.state == FORGOTTEN:
            return RELOAD  # it has no key any more
        content = _of_event(event)
        study_uid = getattr(event, "study_uid", None)
        if study_uid is not None:
            rows = self._ledger.read("SELECT study_key FROM studies WHERE study_uid = ?", (study_uid,))
            content["study_key"] = rows[0]["study_key"] if rows else None
        return content

    def told(self) -> int:
        """See `Timeline.told`."""
        return told_line(self._ledger)

    def missed(self, after: int, upto: int) -> Sequence[tuple[int | None, Content]]:
        """See `Timeline.missed`; what has no lines, images and progress, is told as it is now."""
        lines = missed_lines(self._ledger, after, upto)
        if lines is None:
            return [(upto, RELOAD)]
        told = ((line.seq, _of_line(line)) for line in lines)
        return [*((seq, content) for seq, content in told if content is not None), *self._under_way()]

    def _under_way(self) -> list[tuple[None, Content]]:
        receiving = self._ledger.read(
            "SELECT study_key FROM studies WHERE state = ? LIMIT 100", (StudyState.RECEIVING,)
        )
        running = self._ledger.read(
            "SELECT j.job_key, j.stage, j.fraction, s.study_key FROM jobs j JOIN studies s USING (study_uid)"
            " WHERE j.state = ? LIMIT 100",
            (JobState.RUNNING,),
        )
        return [
            *((None, {"kind": "instances", "state": "receiving", **dict(row)}) for row in receiving),
            *((None, {"kind": "progress", "state": "running", **dict(row)}) for row in running),
        ]


def _of_event(event: Event) -> Content:
    match event:
        case StudyChanged():
            return {"kind": "study", "state": event.state}
        case JobChanged():
            return {"kind": "job", "job_key": event.job_key, "event": event.event, "state": event.state}
        case JobProgressed():
            return {
                "kind": "progress",
                "job_key": event.job_key,
                "state": "running",
                "stage": event.stage,
                "fraction": event.fraction,
            }
        case DeliveryChanged():
            return {"kind": "delivery", "key": event.key, "event": event.event, "state": event.state}
        case ObjectQuarantined() | ObjectDismissed():
            return {"kind": "quarantine", "key": event.key, "reason": event.reason}
        case _:
            return {"kind": "instances", "state": "receiving"}


def _of_line(line: MissedLine) -> Content | None:
    _, _, event = line.event.partition(".")
    of_study = {"study_key": line.study_key}
    if line.put_aside:
        return {"kind": "quarantine", "key": line.put_aside, "reason": line.reason}
    if line.delivery_state:
        delivery = {"kind": "delivery", "key": line.delivery_key, "state": line.delivery_state}
        return {**delivery, "event": event, **of_study}
    if line.job_state:
        job = {"kind": "job", "job_key": line.job_key, "state": line.job_state}
        return {**job, "event": event, **of_study}
    return {"kind": "study", "state": line.study_state, **of_study} if line.study_key else None
