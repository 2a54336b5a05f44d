"""The spans of a study's way, read of its timeline: the study, its jobs, their steps and deliveries.

All of them derive from the timeline, so that they are the same however often they are made, and whatever was
restarted in between.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from gateway.adapters.spans import Span
from gateway.ledger.records import utc_time
from gateway.ledger.steps import Step, steps_of
from gateway.ledger.traced import Ended

Line = dict[str, Any]

_BEGIN = frozenset({"delivery.planned", "delivery.retried", "delivery.resent"})
_ARRIVED = frozenset({"delivery.sent", "delivery.committed"})
_END = _ARRIVED | {"delivery.failed", "delivery.cancelled", "delivery.superseded"}


def spans_of(ended: Ended) -> list[Span]:
    """The spans of what happened since the study was over before."""
    lines = [line for line in ended.timeline if line["seq"] > ended.before]
    root = f"study {ended.seq}"
    begun, over = utc_time(lines[0]["at"]), utc_time(lines[-1]["at"])
    study = Span(
        root,
        "study",
        begun,
        over,
        has_failed=ended.event == "study.failed",
        attributes={"iris.study_key": ended.study_key, "iris.outcome": ended.event.removeprefix("study.")},
    )
    return [study, *_jobs(ended, lines, root), *_steps(ended, begun, root), *_deliveries(ended, lines, root)]


def _job(root: str, job_key: str) -> str:
    return f"{root} job {job_key}"


def _jobs(ended: Ended, lines: Sequence[Line], root: str) -> Iterator[Span]:
    planned = {line["job_key"]: line["detail"] for line in ended.timeline if line["event"] == "job.planned"}
    for job_key in dict.fromkeys(line["job_key"] for line in lines if line["job_key"]):
        own = [line for line in lines if line["job_key"] == job_key]
        events = [line["event"] for line in own if line["event"].startswith("job.")]
        said = planned.get(job_key, {})
        named = {f"iris.{name}": str(said[name]) for name in ("rule", "task") if name in said}
        yield Span(
            _job(root, job_key),
            "job",
            utc_time(own[0]["at"]),
            utc_time(own[-1]["at"]),
            within=root,
            has_failed=events[-1:] == ["job.failed"],
            attributes={"iris.job_key": job_key, "iris.lines": len(own), **named},
        )


def _steps(ended: Ended, since: datetime, root: str) -> Iterator[Span]:
    of_now = {line["job_key"] for line in ended.timeline if line["seq"] > ended.before}
    for step in steps_of(ended.timeline):
        job_key, begun = step["job_key"], utc_time(step["begun"])
        over = utc_time(step["ended"] or ended.timeline[-1]["at"])
        if over <= since or job_key not in of_now:
            continue  # it was over before
        yield Span(
            f"{root} {step['step']} {job_key} {step['begun']}",
            step["step"],
            max(begun, since),
            over,
            within=_job(root, job_key) if job_key else root,
            has_failed=step["step"] == Step.FAILED,
            attributes={"iris.job_key": job_key} if job_key else {},
        )


def _deliveries(ended: Ended, lines: Sequence[Line], root: str) -> Iterator[Span]:
    begun: dict[str, Line] = {}
    tries: dict[str, int] = {}
    for line in lines:
        key = line["delivery_key"]
        if not key:
            continue
        begun.setdefault(key, line)
        tries[key] = tries.get(key, 0) + (line["event"] == "delivery.put_off")
        if line["event"] in _BEGIN:
            begun[key] = line
        elif line["event"] in _END:
            destination = str(line["detail"].get("destination", ""))
            yield Span(
                f"{root} delivery {key} {line['seq']}",
                f"{line['event'].removeprefix('delivery.')} {destination}",
                utc_time(begun[key]["at"]),
                utc_time(line["at"]),
                within=_job(root, line["job_key"]),
                has_failed=line["event"] == "delivery.failed",
                attributes={
                    "iris.job_key": line["job_key"],
                    "iris.delivery_key": key,
                    "iris.destination": destination,
                    "iris.put_off": tries[key],
                },
            )
            begun[key] = line
