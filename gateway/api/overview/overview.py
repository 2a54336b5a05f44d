"""What an operator sees first, made of what every part of the gateway says of itself."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Final

from gateway.ledger.records import utc_text
from gateway.ledger.states import DeliveryState, JobState

from ..probes.readiness import Readiness
from ..store import Actions, Counts, Json, StatusStore
from .models import Associations, Counted, Overview, QueueFigures
from .premises import Premises
from .verdict import verdict

WAITING: Final = (
    JobState.PLANNED, JobState.CONVERTED, JobState.STAGED, JobState.SUBMITTED, JobState.RUNNABLE,
)  # fmt: skip
COUNTED_FOR_S: Final = 60.0
"""In the cloud counting reads the whole table."""


@dataclass
class Overviews:
    """Looks at all parts; what the cloud does not have is None.

    Parameters
    ----------
    premises
        The gateway's own; None in the cloud.
    """

    store: StatusStore
    actions: Actions
    readiness: Callable[[], Readiness]
    mirror: Callable[[], Json]
    door: Callable[[], Json] | None
    premises: Premises | None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: tuple[float, Counts] | None = None

    def look(self) -> Overview:
        """How everything stands now."""
        counts, here = self._counts(), self.premises
        disk = here.disk() if here is not None else None
        return Overview.model_validate(
            {
                "at": utc_text(datetime.now(UTC)),
                "version": metadata.version("iris-gateway"),
                "started": utc_text(here.started) if here is not None else None,
                "verdict": verdict(self.readiness(), counts, disk),
                "counts": _counted(counts),
                "today": here.today() if here is not None else None,
                "queue": QueueFigures(
                    waiting=sum(counts.jobs[state] for state in WAITING),
                    running=counts.jobs[JobState.RUNNING],
                    oldest_wait_s=here.oldest_wait_s() if here is not None else 0.0,
                    oldest_open_study_s=round(counts.oldest_open_study_age_s, 1),
                ),
                "disk": disk,
                "workers": here.threads() if here is not None else None,
                "associations": self._associations(),
                "destinations": self.actions.destination_list(),
                "mirror": self.mirror(),
                "aws": here.aws() if here is not None else None,
            }
        )

    def _counts(self) -> Counts:
        if self.premises is not None:
            return self.store.counts()  # they are kept, not counted
        with self._lock:
            if self._counted is None or time.monotonic() > self._counted[0]:
                counts = self.store.counts()
                self._counted = time.monotonic() + COUNTED_FOR_S, counts
            return self._counted[1]

    def _associations(self) -> Associations | None:
        if self.door is None:
            return None
        now = self.door()
        return Associations(open=now["associations"], limit=now["limit"], turned_away=len(now["turned_away"]))


def _counted(counts: Counts) -> Counted:
    return Counted(
        studies=dict(counts.studies),
        jobs=dict(counts.jobs),
        deliveries=dict(counts.deliveries),
        quarantined_objects=counts.quarantined_objects,
        waiting_for_a_person=counts.jobs[JobState.FAILED]
        + counts.jobs[JobState.QUARANTINED]
        + counts.deliveries[DeliveryState.FAILED]
        + counts.quarantined_objects,
    )
