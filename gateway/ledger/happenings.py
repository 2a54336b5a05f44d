"""What happened in a part of the timeline, counted by codes of our own: what grows, for the metrics.

Read is that part and what its lines are about, however much the ledger holds. Nothing of a patient comes out:
names of events, of destinations and of reasons, and seconds by the clock of this machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .records import utc_time
from .store import Ledger
from .watched import Stretch

STEPS: Final[Mapping[str, str]] = {
    "study.completed": "closed",
    "job.staged": "staged",
    "job.segmented": "segmented",
    "job.delivered": "acknowledged",
}
"""Lines that end a part of the way since the last image of a study came, by what the study or job then is."""


@dataclass(frozen=True)
class Happenings:
    """What one part of the timeline adds."""

    lines: Mapping[str, int]
    """By event."""
    deliveries: Mapping[tuple[str, str], int]
    """Lines about deliveries, by destination and outcome."""
    quarantined: Mapping[str, int]
    """Objects that were put aside, by the code of the reason."""
    since_last_image_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By what was reached, see `STEPS`."""
    own_s: Sequence[float] = ()
    """Of each job that was acknowledged: without what passed between staged and segmented."""


def newest_line(ledger: Ledger) -> int:
    """Where the timeline ends for now (events.seq)."""
    return int(ledger.read("SELECT coalesce(max(seq), 0) AS newest FROM events")[0]["newest"])


def lines_of(ledger: Ledger, stretch: Stretch) -> dict[str, int]:
    """How many lines there are in a part of the timeline, by event."""
    rows = ledger.read(
        "SELECT event, count(*) AS number FROM events WHERE seq > ? AND seq <= ? GROUP BY event",
        (stretch.counted, stretch.upto),
    )
    return {row["event"]: row["number"] for row in rows}


def happenings(ledger: Ledger, stretch: Stretch) -> Happenings:
    """Count a part of the timeline."""
    part = (stretch.counted, stretch.upto)
    deliveries = ledger.read(
        "SELECT d.destination, substr(e.event, 10) AS outcome, count(*) AS number FROM events e"
        " JOIN deliveries d ON d.key = e.delivery_key"
        " WHERE e.seq > ? AND e.seq <= ? AND e.event LIKE 'delivery.%' GROUP BY d.destination, e.event",
        part,
    )
    quarantined = ledger.read(
        "SELECT q.reason, count(*) AS number FROM events e"
        " JOIN quarantine q ON q.key = json_extract(e.detail, '$.key')"
        " WHERE e.seq > ? AND e.seq <= ? AND e.event = 'instance.quarantined' GROUP BY q.reason",
        part,
    )
    return Happenings(
        lines_of(ledger, stretch),
        {(row["destination"], row["outcome"]): row["number"] for row in deliveries},
        {row["reason"]: row["number"] for row in quarantined},
        _since_last_image_s(ledger, part),
        _own_s(ledger, part),
    )


def _since_last_image_s(ledger: Ledger, part: tuple[int, int]) -> dict[str, list[float]]:
    """The first time only: what a person has made or sent again says nothing of how fast it was.

    Where an image came after the line, and before it was counted, its study says nothing.
    """
    rows = ledger.read(
        "SELECT e.event, e.at AS ended, s.last_instance_at AS begun FROM events e"
        " JOIN studies s ON s.study_uid = e.study_uid"
        " WHERE e.seq > ? AND e.seq <= ? AND s.last_instance_at <= e.at"
        "  AND e.event IN ('study.completed', 'job.staged', 'job.segmented', 'job.delivered')"
        "  AND NOT EXISTS (SELECT 1 FROM events f"
        "   WHERE f.job_key = e.job_key AND f.seq < e.seq AND f.event = e.event)",
        part,
    )
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(STEPS[row["event"]], []).append(_span_s(row["begun"], row["ended"]))
    return found


def _own_s(ledger: Ledger, part: tuple[int, int]) -> list[float]:
    rows = ledger.read(
        "SELECT e.at AS ended, s.last_instance_at AS begun,"
        " (SELECT f.at FROM events f WHERE f.job_key = e.job_key AND f.seq < e.seq AND f.event = 'job.staged'"
        "  ORDER BY f.seq LIMIT 1) AS staged,"
        " (SELECT f.at FROM events f WHERE f.job_key = e.job_key AND f.seq < e.seq"
        "  AND f.event = 'job.segmented' ORDER BY f.seq LIMIT 1) AS segmented"
        " FROM events e JOIN studies s ON s.study_uid = e.study_uid"
        " WHERE e.seq > ? AND e.seq <= ? AND e.event = 'job.delivered' AND s.last_instance_at <= e.at"
        "  AND NOT EXISTS (SELECT 1 FROM events f"
        "   WHERE f.job_key = e.job_key AND f.seq < e.seq AND f.event = e.event)",
        part,
    )
    return [
        _span_s(row["begun"], row["staged"]) + _span_s(row["segmented"], row["ended"])
        for row in rows
        if row["staged"] is not None and row["segmented"] is not None
    ]


def _span_s(begun: str, ended: str) -> float:
    return max(0.0, (utc_time(ended) - utc_time(begun)).total_seconds())
