"""What is measured of the ledger: how things stand, and what happened in a part of the timeline.

Numbers only. Durations are between two lines of the timeline, in seconds, by the clock of this machine.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.adapters.measures import Measure, Readings

from .outbox import backlog_of, mirror_of
from .records import age_s, utc_time
from .states import JobState, StudyState
from .store import Ledger


@dataclass(frozen=True)
class Stretch:
    """A part of the timeline: the lines after `counted`, up to and with `upto` (events.seq)."""

    counted: int
    upto: int
    is_last: bool
    """Whether the timeline ends there for now."""


def switch_watch(ledger: Ledger, *, is_on: bool) -> None:
    """Say at the start whether the timeline is counted; what happened while it was not never is."""
    with ledger.transaction() as transaction:
        transaction.execute(
            "UPDATE watch SET counted = CASE WHEN is_on THEN counted"
            " ELSE (SELECT coalesce(max(seq), 0) FROM events) END, is_on = ?",
            (int(is_on),),
        )


def next_stretch(ledger: Ledger, most: int) -> Stretch:
    """Give the next part that is not counted yet, of `most` lines at most."""
    row = ledger.read(
        "SELECT counted, (SELECT coalesce(max(seq), 0) FROM events) AS newest FROM watch",
    )[0]
    upto = min(row["newest"], row["counted"] + most)
    return Stretch(row["counted"], upto, is_last=upto == row["newest"])


def mark_counted(ledger: Ledger, stretch: Stretch) -> None:
    """Note that this part is in the figures."""
    if stretch.upto != stretch.counted:
        with ledger.transaction() as transaction:
            transaction.execute("UPDATE watch SET counted = ?", (stretch.upto,))


# -- how things stand -------------------------------------------------------------------------------------

_OPEN: Final = (StudyState.RECEIVING, StudyState.PROCESSING)
_WAITING: Final = (JobState.SUBMITTED, JobState.RUNNABLE)


def standing(ledger: Ledger) -> Readings:
    """How things stand now; what there is no mirror of is left out."""
    kept = kept_counts(ledger)
    waiting_since = ledger.read(
        "SELECT min(r.waiting_since) AS since FROM jobs j"
        " JOIN runs r ON r.job_key = j.job_key AND r.run = j.run WHERE j.state IN (?, ?)",
        _WAITING,
    )[0]["since"]
    numbers = {
        Measure.STUDIES_OPEN: sum(kept["study", state] for state in _OPEN),
        Measure.OLDEST_OPEN_STUDY_AGE: age_s(oldest_open_study(ledger)),
        Measure.JOBS_WAITING: sum(kept["job", state] for state in _WAITING),
        Measure.LONGEST_RUNNABLE_WAIT: age_s(waiting_since),
        Measure.JOBS_RUNNING: kept["job", JobState.RUNNING],
        Measure.QUARANTINED: kept["quarantine", ""] + kept["job", JobState.QUARANTINED],
    }
    if mirror_of(ledger).is_on:
        backlog = backlog_of(ledger)
        numbers |= {Measure.MIRROR_WAITING: backlog.waiting, Measure.MIRROR_LAG: backlog.lag_s}
    return {measure: (float(number),) for measure, number in numbers.items()}


def kept_counts(ledger: Ledger) -> Counter[tuple[str, str]]:
    """How many rows there are, by kind (study, job, delivery, instance, quarantine) and state, "" for none.

    They are kept by triggers: nothing is counted here, however many there are.
    """
    rows = ledger.read("SELECT kind, state, number FROM counts")
    return Counter({(row["kind"], row["state"]): row["number"] for row in rows})


def oldest_open_study(ledger: Ledger) -> str | None:
    """When the oldest study was received that is receiving or processing; None where none is."""
    row = ledger.read(
        "SELECT min(at) AS since FROM (SELECT min(received_at) AS at FROM studies WHERE state = ?"
        " UNION ALL SELECT min(received_at) FROM studies WHERE state = ?)",
        _OPEN,
    )[0]
    since: str | None = row["since"]
    return since


# -- what happened ----------------------------------------------------------------------------------------

_COUNTED: Final[Mapping[Measure, str]] = {
    Measure.STUDIES_DONE: "event = 'study.finished'",
    Measure.STUDIES_FAILED: "event = 'study.failed'",
    Measure.JOBS_FAILED: "event = 'job.failed'",
    Measure.SPOT_INTERRUPTIONS: "event = 'job.queued' AND json_extract(detail, '$.interruption') = 'spot'",
}
"""Lines of the timeline that are counted; 0 is a reading, too."""


@dataclass(frozen=True)
class _Stage:
    """Begins with the last line before `end` that is one of `begin`, and has the same owner."""

    end: str
    begin: str
    owner: str = "b.job_key = e.job_key"


_STAGES: Final[Mapping[Measure, _Stage]] = {
    Measure.RECEIVE_TIME: _Stage(
        "study.completed", "b.event = 'study.instance_stored'", "b.study_uid = e.study_uid"
    ),
    Measure.CONVERT_TIME: _Stage(
        "job.converted", "b.event IN ('job.planned', 'job.retried', 'job.replanned', 'job.released')"
    ),
    Measure.QUEUE_TIME: _Stage(
        "job.started",
        "(b.event = 'job.submitted'"
        " OR b.event = 'job.queued' AND json_extract(b.detail, '$.interruption') IS NOT NULL)",
    ),
    Measure.RUN_TIME: _Stage(
        "job.segmented",
        "b.event = 'job.started' AND b.seq > (SELECT coalesce(max(c.seq), 0) FROM events c"
        " WHERE c.job_key = e.job_key AND c.seq < e.seq AND c.event = 'job.submitted')",
    ),
    Measure.ENCODE_TIME: _Stage(
        "job.encoded", "b.event IN ('job.segmented', 'job.header_corrected', 'job.retried')"
    ),
    Measure.DELIVER_TIME: _Stage(
        "delivery.sent",
        "b.event IN ('delivery.planned', 'delivery.retried')",
        "b.job_key = e.job_key AND b.delivery_key = e.delivery_key",
    ),
}


def happened(ledger: Ledger, stretch: Stretch) -> Readings:
    """What happened in a part of the timeline: counts, durations of what ended there, costs of runs."""
    part = (stretch.counted, stretch.upto)
    found: dict[Measure, Sequence[float]] = {}
    for measure, condition in _COUNTED.items():
        sql = f"SELECT count(*) AS number FROM events WHERE seq > ? AND seq <= ? AND {condition}"
        found[measure] = (float(ledger.read(sql, part)[0]["number"]),)
    for measure, stage in _STAGES.items():
        found[measure] = _durations_s(ledger, stage, part)
    found |= _costs(ledger, part)
    return {measure: values for measure, values in found.items() if values}


_COSTS: Final[Mapping[Measure, str]] = {
    Measure.MACHINE_TIME: "machine_s",
    Measure.GPU_TIME: "gpu_s",
    Measure.SHARED_TIME: "shared_s",
    Measure.LOST_TIME: "lost_s",
    Measure.COST_ESTIMATE: "usd_estimate",
    Measure.COST_SHARED: "usd_shared",
    Measure.COST_LOST: "usd_lost",
}
"""What the timeline says of a run that gave a result."""


def _costs(ledger: Ledger, part: tuple[int, int]) -> dict[Measure, Sequence[float]]:
    rows = ledger.read(
        "SELECT detail FROM events WHERE seq > ? AND seq <= ? AND event = 'job.segmented'", part
    )
    details = [json.loads(row["detail"]) for row in rows]
    return {
        measure: tuple(float(detail[name]) for detail in details if detail.get(name) is not None)
        for measure, name in _COSTS.items()
    }


def _durations_s(ledger: Ledger, stage: _Stage, part: tuple[int, int]) -> tuple[float, ...]:
    rows = ledger.read(
        "SELECT e.at AS ended,"
        f" (SELECT b.at FROM events b WHERE {stage.owner} AND b.seq < e.seq AND {stage.begin}"
        "  ORDER BY b.seq DESC LIMIT 1) AS begun"
        " FROM events e WHERE e.seq > ? AND e.seq <= ? AND e.event = ?",
        (*part, stage.end),
    )
    spans = [utc_time(row["ended"]) - utc_time(row["begun"]) for row in rows if row["begun"] is not None]
    return tuple(round(max(0.0, span.total_seconds()), 3) for span in spans)
