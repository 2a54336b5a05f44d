"""One queue elsewhere: all that hands runs to it and follows them, put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.adapters.objects import ObjectStore
from gateway.adapters.prices import SpotPrices
from gateway.adapters.queue import JobQueue
from gateway.config import Queue
from gateway.events import Bus
from gateway.files.results import JobResults
from gateway.ledger.records import RunRow
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .claims import Claims
from .complaints import Complaints
from .costs import Costs
from .fallback import Elsewhere
from .following import Following, Intervals
from .hanging import Hanging, Limits
from .hearing import Hearing, NewsSource
from .news import RunNews
from .outcomes import ELSEWHERE, Outcomes
from .remote_runs import HandOver, Refusals, RemoteSubmit
from .run import Runs
from .taken import TakenRuns
from .waiting_room import WaitingRoom


@dataclass(frozen=True)
class Where:
    """A queue, and what belongs to it.

    Parameters
    ----------
    objects
        Where its runs find their job folders.
    results
        Reads what they leave.
    region
        Of AWS.
    source
        Where news of it come from; None: they are only asked after.
    is_mine
        Whether a run is there.
    suffix
        For the names of its workers.
    is_abroad
        Whether runs there get a copy of the job folder.
    """

    queue: JobQueue
    objects: ObjectStore
    results: JobResults
    region: str
    source: NewsSource | None
    spot: SpotPrices | None
    is_mine: Callable[[RunRow], bool]
    suffix: str = ""
    is_abroad: bool = False


@dataclass(frozen=True)
class Ours:
    """What of this gateway is the same for all its queues."""

    ledger: Ledger
    bus: Bus
    site_name: str
    queue: Queue
    claims: Claims
    complaints: Complaints
    intervals: Intervals
    usd_per_hour: Mapping[str, float] = field(default_factory=dict)


class RemotePlace:
    """A queue with its surroundings.

    Parameters
    ----------
    elsewhere
        Makes that where its jobs go that get no machine.
    refusals
        Makes what deals with runs that the queue does not take; None: they are lost as any.
    """

    def __init__(
        self,
        ours: Ours,
        at: Where,
        elsewhere: Callable[[Outcomes], Elsewhere],
        refusals: Callable[[Outcomes], Refusals] | None = None,
    ) -> None:
        ledger, queue = ours.ledger, ours.queue
        costs = Costs(ledger, ours.usd_per_hour, at.spot)
        self.outcomes = outcomes = Outcomes(ledger, at.results, costs, ours.complaints, ELSEWHERE)
        room = WaitingRoom(at.objects, ours.site_name, queue)
        runs = Runs(
            ledger, at.results, outcomes, at.objects, queue.backend, room, at.region, is_abroad=at.is_abroad
        )
        hand_over = HandOver(ledger, refusals(outcomes) if refusals else outcomes, runs, at.queue)
        self.submit = RemoteSubmit(runs, hand_over, at.results, at.queue, ours.claims)
        moving = elsewhere(outcomes)
        self.news = RunNews(ledger, at.results, outcomes, runs, moving)
        following = Following(
            ledger,
            ours.bus,
            at.objects,
            at.queue,
            ours.claims,
            runs,
            hand_over,
            outcomes,
            self.news,
            moving,
            Hanging(ledger, self.news, Limits(stall_s=queue.stall_s), ours.complaints),
            ours.complaints,
            ours.intervals,
            TakenRuns(at.queue, at.results, runs, self.news, room),
            at.is_mine,
            name=f"follow{at.suffix}",
        )
        heard = [Hearing(ours.bus, at.source, self.news.hear, f"news{at.suffix}")] if at.source else []
        self.workers: Sequence[Worker] = (following, *heard)
