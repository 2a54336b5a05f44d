"""Figures of this gateway, for alarms and a dashboard elsewhere: which there are, and who takes them.

Numbers and the site's name: nothing of a patient, no key, no UID. Each measure of a site is one metric, and
has its price; so there are few, and no further dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

SITE: Final = "Site"
"""The one dimension: `site.name`."""


class Measure(StrEnum):
    """What is measured, by the name that it has there."""

    HEARTBEAT = "Heartbeat"  # 1, each time that figures are put
    STUDIES_OPEN = "StudiesOpen"  # receiving or processing
    OLDEST_OPEN_STUDY_AGE = "OldestOpenStudyAge"
    JOBS_WAITING = "JobsWaiting"  # handed to the queue, without a machine
    LONGEST_RUNNABLE_WAIT = "LongestRunnableWait"  # of them: for how long the first has waited
    JOBS_RUNNING = "JobsRunning"
    QUARANTINED = "Quarantined"  # objects and jobs that wait for a person
    MIRROR_WAITING = "MirrorWaiting"  # changes that the table does not have yet
    MIRROR_LAG = "MirrorLag"  # for how long the first of them has been due
    STUDIES_DONE = "StudiesDone"  # since the last put, like those that follow
    STUDIES_FAILED = "StudiesFailed"
    JOBS_FAILED = "JobsFailed"
    SPOT_INTERRUPTIONS = "SpotInterruptions"  # of our runs
    RECEIVE_TIME = "ReceiveTime"  # the first image to complete
    CONVERT_TIME = "ConvertTime"  # planned to converted
    QUEUE_TIME = "QueueTime"  # submitted, or interrupted, to started
    RUN_TIME = "RunTime"  # started to verified
    ENCODE_TIME = "EncodeTime"  # verified to encoded
    DELIVER_TIME = "DeliverTime"  # planned to sent, for each destination
    MACHINE_TIME = "MachineTime"  # of each run that gave a result: seconds that it held its machine
    GPU_TIME = "GpuTime"  # of them: with a GPU at work
    SHARED_TIME = "SharedTime"  # seconds that the machine was there for nobody before it
    LOST_TIME = "LostTime"  # seconds of attempts before it whose machines Spot took away
    COST_ESTIMATE = "CostEstimate"  # USD of the run itself
    COST_SHARED = "CostShared"  # USD of the time before it
    COST_LOST = "CostLost"  # USD of those attempts


class Unit(StrEnum):
    """In what a measure is counted; the words are CloudWatch's."""

    COUNT = "Count"
    SECONDS = "Seconds"
    NONE = "None"


_IN_SECONDS: Final = frozenset(
    {Measure.OLDEST_OPEN_STUDY_AGE, Measure.LONGEST_RUNNABLE_WAIT, Measure.MIRROR_LAG}
    | {measure for measure in Measure if measure.endswith("Time")}
)

Readings = Mapping[Measure, Sequence[float]]
"""What was read: for each measure one value or several; one without values is not put."""


def unit_of(measure: Measure) -> Unit:
    """In what it is counted; dollars have no unit."""
    if measure in (Measure.COST_ESTIMATE, Measure.COST_SHARED):
        return Unit.NONE
    return Unit.SECONDS if measure in _IN_SECONDS else Unit.COUNT


class Gauges(Protocol):
    """Takes readings."""

    def put(self, readings: Readings) -> None:
        """Put everything that was read, as of now, in one request.

        Raises
        ------
        Retriable, Permanent
            It was not taken, or that is not known: the same again may count some of it twice.
        """
        ...


@dataclass(frozen=True)
class Figure:
    """One number of a part that is not in the store, as Prometheus takes it.

    One whose name ends in `_total` only grows, from 0 at the start.
    """

    name: str
    what: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    """The same names in each figure of a name; the values are a few that are known before."""
