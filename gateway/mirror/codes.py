"""Reasons as the mirror has them: a code with numbers, from states and events, never from a sentence.

A job's code is the name of the event that gave its reason: `failed exit=2`, `run_lost exit=75`, `waiting
quota`. A study's says what it waits for or why it is done: `delivered`, `job_failed exit=2`,
`delivery_put_off attempts=4`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.ledger.records import DeliveryRow, EventRow, JobRow, StudyRow
from gateway.ledger.states import DeliveryState, JobState, StudyState
from gateway.ledger.transaction import WhyDone

from .details import ConfiguredNames, mirrored_details

UNKNOWN: Final = "other"
"""There is a reason, but no event that gave it."""
_IN_A_CODE: Final = {"code": "", "exit_code": "exit=", "attempt": "attempt="}


def job_code(job: JobRow, reasoned: EventRow | None) -> str:
    """The code of a job's reason; empty where it has none.

    Parameters
    ----------
    reasoned
        The job's last event that gave a reason.
    """
    if not job.reason:
        return ""
    if reasoned is None or reasoned.detail["reason"] != job.reason:
        return UNKNOWN
    return event_code(reasoned.event, reasoned.detail)


def event_code(event: str, detail: Mapping[str, Any]) -> str:
    """The code of a reason that an event gave: `failed exit=2` of job.failed with its detail."""
    kept = mirrored_details(event, detail, ConfiguredNames())
    said = [f" {short}{kept[name]}" for name, short in _IN_A_CODE.items() if name in kept]
    return event.removeprefix("job.") + "".join(said)


def delivery_code(delivery: DeliveryRow) -> str:
    """The code of a delivery's reason; empty where it has none."""
    if delivery.state is DeliveryState.FAILED:
        return f"failed attempts={delivery.attempts}"
    if delivery.state is DeliveryState.PENDING and delivery.reason:
        return f"put_off attempts={delivery.attempts}"
    if delivery.unkept_since is not None:
        return "not_kept_yet"
    return ""


def study_code(study: StudyRow, jobs: Sequence[tuple[JobRow, str]], deliveries: Sequence[DeliveryRow]) -> str:
    """The code of a study's reason; empty where it has none.

    Parameters
    ----------
    jobs
        Each with its code, in the order of the ledger.
    """
    if study.state is StudyState.DONE:
        return next((why.name.lower() for why in WhyDone if why.value == study.reason), UNKNOWN)
    if study.state in (StudyState.FAILED, StudyState.HELD):
        is_stuck = JobState.FAILED if study.state is StudyState.FAILED else JobState.QUARANTINED
        stuck = [f"job_{code or job.state}" for job, code in jobs if job.state is is_stuck]
        refused = [delivery for delivery in deliveries if delivery.state is DeliveryState.FAILED]
        return next(iter(stuck), f"delivery_{delivery_code(refused[0])}" if refused else UNKNOWN)
    if study.state is StudyState.PROCESSING and study.reason:
        waiting = [f"delivery_{delivery_code(d)}" for d in deliveries if delivery_code(d)]
        working = [f"job_{code}" for _, code in jobs if code]
        return next(iter([*waiting, *working]), UNKNOWN)
    return "not_planned" if study.reason else ""
