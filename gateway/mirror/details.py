"""Which details of a timeline are mirrored: those in this table, and no others.

A detail is kept when it is a number, a flag, or one of a closed set of words: of an enum, or of the names in
the configuration. Whoever adds a detail to an event adds it here too, or it stays at the gateway. Sentences,
UIDs, AE titles and paths have no place in this table.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from batch_job.contract import STAGES
from gateway.adapters.contents import NoAnswer
from gateway.adapters.mirror import Value
from gateway.adapters.queue import WAITING_CODES, Lane
from gateway.config import UPLOAD_RULE, Config
from gateway.ledger.completion import NAMED_DID_NOT_COME, NOTHING_ELSE_NAMED
from gateway.ledger.corrections import Evidence
from gateway.ledger.evidence import Finding
from gateway.ledger.rejected import MEANINGS


@dataclass(frozen=True)
class ConfiguredNames:
    """The words that the configuration, which no sender has a hand in, allows in the mirror."""

    destinations: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Config) -> "ConfiguredNames":
        """Collect them."""
        return cls(
            destinations=frozenset(destination.name for destination in config.destination),
            rules=frozenset({UPLOAD_RULE, *(rule.name for rule in config.rule)}),
            tasks=frozenset(config.engine.facts.tasks),
            machines=frozenset(config.queue.usd_per_hour),
        )


LARGEST: Final = 10**15

Keep = Callable[[Any, ConfiguredNames], Value | None]
"""What may be kept of a detail's value; None: nothing."""


def _number(value: Any, _: ConfiguredNames) -> Value | None:
    """A number of a size that any table takes."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if value == 0 or 1 / LARGEST <= abs(value) <= LARGEST else None


def _flag(value: Any, _: ConfiguredNames) -> Value | None:
    return value if isinstance(value, bool) else None


def _one_of(*words: str) -> Keep:
    return lambda value, _: str(value) if isinstance(value, str) and value in words else None


def _configured(kind: str) -> Keep:
    """A word that the configuration names as one of this kind."""
    return lambda value, names: value if isinstance(value, str) and value in getattr(names, kind) else None


def _queues_own_code(value: Any, _: ConfiguredNames) -> Value | None:
    """What Batch calls a cause: `CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY`."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Z_]+:[A-Z0-9_]+", value) else None


def _numbers_by_stage(value: Any, names: ConfiguredNames) -> Value | None:
    """Numbers under the stages of a job; those of the engine's own making are left out."""
    if not isinstance(value, Mapping):
        return None
    kept = {stage: _number(value[stage], names) for stage in STAGES if stage in value}
    return {stage: number for stage, number in kept.items() if number is not None} or None


_MACHINE: Final = _configured("machines")
_LANE: Final = _one_of(*Lane)
_WHY_WAITING: Final = _one_of(*WAITING_CODES)
_EVIDENCE: Final = _one_of(
    "requested",
    "uploaded",
    "released",
    "timeout with a gap",
    "timeout without release",
    NOTHING_ELSE_NAMED,
    NAMED_DID_NOT_COME,
)
_PACS_ANSWER: Final = _one_of(*Finding, *NoAnswer)
_REJECTED: Final = _one_of(*MEANINGS)
_OF_A_RUN: Final[Mapping[str, Keep]] = {
    "run": _number,
    "attempt": _number,
    "exit_code": _number,
    "seconds": _number,
    "blameless": _flag,
    "on": _one_of("machine", "outside"),
    "instance": _MACHINE,
    "interruption": _one_of("spot"),
    "lane": _LANE,
}
_KNOWN_BY: Final = _one_of(*Evidence)
_OF_A_DELIVERY: Final[Mapping[str, Keep]] = {"destination": _configured("destinations")}
_OF_SOME_DELIVERIES: Final[Mapping[str, Keep]] = {**_OF_A_DELIVERY, "objects": _number}

DETAILS: Final[Mapping[str, Mapping[str, Keep]]] = {
    "study.completed": {"evidence": _EVIDENCE, "jobs": _number, "planning_s": _number, "missing": _number},
    "study.pacs_answered": {"answer": _PACS_ANSWER, "here": _number, "there": _number, "missing": _number},
    "study.instances_named": {"named": _number, "commitment": _flag},
    "study.instances_rejected": {"code": _REJECTED, "named": _number, "here": _number},
    "study.commitment_reported": {"committed": _number, "failed": _number},
    "study.replanned": {"jobs": _number},
    **{
        f"study.results_{how}": {"destination": _configured("destinations"), "objects": _number}
        for how in ("still_there", "back", "sent_again", "gone", "not_shown", "not_told")
    },
    "instance.corrected": {"revision": _number},
    "instance.file_lost": {"revision": _number},
    "association.released": {"instances": _number},
    "association.aborted": {"instances": _number},
    "job.planned": {"rule": _configured("rules"), "task": _configured("tasks")},
    "job.converted": {"images": _number},
    "job.staged": {"input_mb": _number},
    "job.priority_set": {"priority": _number, "before": _number},
    "job.put_off": {"delay_s": _number},
    "job.submitted": _OF_A_RUN,
    "job.submitted_again": _OF_A_RUN,
    "job.accepted": _OF_A_RUN,
    "job.adopted": _OF_A_RUN,
    "job.owned": _OF_A_RUN,
    "job.taken": _OF_A_RUN,
    "job.blocked": {**_OF_A_RUN, "code": _queues_own_code},
    "job.unanswered": _OF_A_RUN,
    "job.waiting": {**_OF_A_RUN, "code": _WHY_WAITING},
    "job.withdrawn": {**_OF_A_RUN, "waited_s": _number},
    "job.queued": _OF_A_RUN,
    "job.starting": _OF_A_RUN,
    "job.stalled": {**_OF_A_RUN, "limit_s": _number},
    "job.timed_out": {**_OF_A_RUN, "limit_s": _number},
    "job.started": _OF_A_RUN,
    "job.run_lost": _OF_A_RUN,
    "job.failed": _OF_A_RUN,
    "job.corrected": {"evidence": _KNOWN_BY, "structures": _number, "mean_dice": _number},
    "job.correction_unreadable": {"evidence": _KNOWN_BY},
    "job.earlier_rejected": {**_OF_A_DELIVERY, "code": _REJECTED, "objects": _number},
    "job.earlier_deleted": {**_OF_A_DELIVERY, "objects": _number},
    "job.earlier_left": {**_OF_A_DELIVERY, "objects": _number},
    "job.result_rejected": {"code": _REJECTED},
    "job.result_withdrawn": {"code": _REJECTED, "objects": _number},
    "job.superseded": {"lane": _LANE},
    "job.segmented": {
        **_OF_A_RUN,
        "stages_s": _numbers_by_stage,
        "peak_rss_mb": _number,
        "machine": _MACHINE,
        **dict.fromkeys(("machine_s", "gpu_s", "shared_s", "lost_s"), _number),
        **dict.fromkeys(("usd_per_hour", "usd_estimate", "usd_shared", "usd_lost"), _number),
        "is_spot": _flag,
    },
    "job.destination_asked": _OF_A_DELIVERY,
    "job.form_refused": _OF_A_DELIVERY,
    "job.earlier_result_asked": _OF_A_DELIVERY,
    "delivery.planned": _OF_A_DELIVERY,
    "delivery.finished_first": _OF_A_DELIVERY,
    "delivery.put_off": _OF_A_DELIVERY,
    "delivery.sent": _OF_A_DELIVERY,
    "delivery.committed": _OF_A_DELIVERY,
    "delivery.commitment_refused": _OF_A_DELIVERY,
    "delivery.commitment_awaited": _OF_SOME_DELIVERIES,
    "delivery.commitment_not_offered": _OF_SOME_DELIVERIES,
    "delivery.failed": _OF_A_DELIVERY,
    "delivery.retried": _OF_A_DELIVERY,
    "delivery.resent": _OF_A_DELIVERY,
    "delivery.tried_now": _OF_A_DELIVERY,
    "delivery.cancelled": _OF_A_DELIVERY,
    "delivery.superseded": _OF_A_DELIVERY,
}


def mirrored_details(event: str, detail: Mapping[str, Any], names: ConfiguredNames) -> dict[str, Value]:
    """Give what of an event's details may be mirrored."""
    table = DETAILS.get(event, {})
    kept = {name: table[name](value, names) for name, value in detail.items() if name in table}
    return {name: value for name, value in kept.items() if value is not None}
