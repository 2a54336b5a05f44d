"""How long a study was in each step of its way, read of its timeline."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

Json = dict[str, Any]


class Step(StrEnum):
    """Where time goes."""

    RECEIVED = "received"
    AWAITED = "awaited"  # it had come, and more might have
    CONVERTED = "converted"
    STAGED = "staged"  # put into its job folder
    QUEUED = "queued"
    SEGMENTED = "segmented"
    ENCODED = "encoded"  # its results were made
    DELIVERED = "delivered"
    HELD = "held"  # for a person
    FAILED = "failed"  # until a person took it up again


_BEGINS: Final[Mapping[str, Step]] = {
    "job.planned": Step.CONVERTED,
    "job.replanned": Step.CONVERTED,
    "job.files_gone": Step.CONVERTED,
    "job.converted": Step.STAGED,
    "job.staged": Step.QUEUED,
    "job.submitted": Step.QUEUED,
    "job.queued": Step.QUEUED,
    "job.run_lost": Step.QUEUED,
    "job.started": Step.SEGMENTED,
    "job.segmented": Step.ENCODED,
    "job.header_corrected": Step.ENCODED,
    "job.form_refused": Step.ENCODED,
    "job.encoded": Step.DELIVERED,
    "job.held": Step.HELD,
    "job.failed": Step.FAILED,
}
"""In which step a job is after a line."""
_GOES_ON: Final = frozenset({"job.retried", "job.released"})
_ENDS: Final = frozenset({"job.delivered", "job.found_nothing", "job.cancelled", "job.superseded"})


@dataclass
class _Span:
    """A stretch of one step; `ended` is empty while it goes on."""

    step: Step
    job_key: str | None
    begun: str
    ended: str = ""


@dataclass
class _Way:
    """The stretches of one job, or of the study before it has any."""

    job_key: str | None
    spans: list[_Span] = field(default_factory=list)

    @property
    def now(self) -> Step | None:
        """What goes on."""
        return self.spans[-1].step if self.spans and not self.spans[-1].ended else None

    def end(self, at: str) -> None:
        """End what goes on."""
        if self.now is not None:
            self.spans[-1].ended = at

    def go_on(self, step: Step, at: str) -> None:
        """Be in a step from then on."""
        if self.now is not step:
            self.end(at)
            self.spans.append(_Span(step, self.job_key, at))

    @property
    def before(self) -> Step:
        """What went on before it was held, or failed."""
        stuck = (Step.HELD, Step.FAILED)
        return next((one.step for one in reversed(self.spans) if one.step not in stuck), Step.CONVERTED)


def steps_of(timeline: Iterable[Json]) -> list[Json]:
    """The steps of a study and its jobs in the order in which they began; shape of `models.StudyStep`."""
    ways: dict[str | None, _Way] = {}
    for line in timeline:
        key = line["job_key"]
        _read(ways.setdefault(key, _Way(key)), line["event"], line["at"])
    spans = sorted((span for way in ways.values() for span in way.spans), key=lambda span: span.begun)
    return [
        {"step": one.step.value, "job_key": one.job_key, "begun": one.begun, "ended": one.ended or None}
        for one in spans
    ]


def _read(way: _Way, event: str, at: str) -> None:
    if event == "study.instance_stored":
        way.go_on(Step.RECEIVED, at)
    elif event.startswith("association.") and way.now is not None:
        if way.now is Step.AWAITED:  # more came
            way.spans.pop()
            way.spans[-1].ended = ""
        way.go_on(Step.AWAITED, at)
    elif event == "study.completed" or event in _ENDS:
        way.end(at)
    elif event in _GOES_ON:
        way.go_on(way.before, at)
    elif event in _BEGINS:
        way.go_on(_BEGINS[event], at)
