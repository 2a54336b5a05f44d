"""Who computes: the queue that the configuration names, and all that hands runs to it and follows them.

Local runs die with this process and are settled at the next start; remote ones go on, and are followed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gateway.adapters.measures import Figure
from gateway.adapters.objects import ObjectStore
from gateway.backends.aws import aws_session, batch_queue, spot_prices
from gateway.backends.job_folders import local_queue
from gateway.config import Config
from gateway.events import Bus
from gateway.files.results import JobResults
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.records import JobRow
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .claims import Claims
from .complaints import Complaints
from .costs import Costs
from .fallback import FallbackQueue
from .following import Following, Intervals
from .hanging import Hanging, Limits
from .hearing import Hearing
from .local_runs import LocalRuns
from .news import RunNews
from .outcomes import ELSEWHERE, Outcomes
from .remote_runs import HandOver, RemoteSubmit
from .run import Runs
from .taken import TakenRuns
from .waiting_room import WaitingRoom

if TYPE_CHECKING:
    from gateway.adapters.aws.sqs_news import SqsNews


class Computing(Protocol):
    """A queue and its surroundings."""

    @property
    def workers(self) -> Sequence[Worker]:
        """The threads that it needs beside the steps."""
        ...

    def submit(self, job: JobRow) -> None:
        """Take the step submit (staged > submitted)."""
        ...

    def start(self) -> None:
        """Take up what an earlier process left."""
        ...

    def stop(self) -> None:
        """End what does not go on without this process."""
        ...

    def figures(self) -> Sequence[Figure]:
        """What is measured of it, for the metrics."""
        ...


@dataclass(frozen=True)
class Site:
    """What both kinds of queue need of the rest of the gateway."""

    ledger: Ledger
    bus: Bus
    objects: ObjectStore
    job_variables: Mapping[str, str]
    results: JobResults
    secret: SiteSecret
    engine: EngineIdentity


def computing(config: Config, site: Site) -> Computing:
    """What the configuration wants.

    Raises
    ------
    ConfigError
        boto3 is missing.
    """
    return LocalComputing(config, site) if config.queue.backend == "local" else RemoteComputing(config, site)


class LocalComputing:
    """Subprocesses of this machine."""

    def __init__(self, config: Config, site: Site) -> None:
        self._queue = local_queue(config, site.objects, site.job_variables)
        complaints = Complaints(site.ledger)
        self._outcomes = outcomes = Outcomes(site.ledger, site.results, Costs(site.ledger, {}), complaints)
        runs = Runs(site.ledger, site.results, outcomes, site.objects, config.queue.backend)
        news = RunNews(site.ledger, site.results, outcomes, runs)
        limits = Limits(config.queue.local_timeout_s, config.queue.stall_s)
        hanging = Hanging(site.ledger, news, limits, complaints)
        self._runs = LocalRuns(
            site.ledger, site.bus, site.results, runs, news, self._queue, hanging, complaints
        )
        self.workers: Sequence[Worker] = (self._runs,)

    def submit(self, job: JobRow) -> None:
        """Take the step."""
        self._runs.submit(job)

    def start(self) -> None:
        """Begin to run what is submitted."""
        self._outcomes.take_up()
        self._runs.begin()

    def stop(self) -> None:
        """End every run; that they end so is not taken in any more."""
        self._runs.stop(timeout_s=1.0)
        self._queue.stop()

    def figures(self) -> Sequence[Figure]:
        """Nothing: the states of jobs tell all."""
        return ()


class RemoteComputing:
    """AWS Batch, with the fallback queue and the claims of gateways that share the bucket."""

    def __init__(self, config: Config, site: Site) -> None:
        self._queue, self._source = batch_queue(config), _news_source(config)
        complaints = Complaints(site.ledger)
        costs = Costs(site.ledger, config.queue.usd_per_hour, spot_prices(config))
        self._outcomes = outcomes = Outcomes(site.ledger, site.results, costs, complaints, ELSEWHERE)
        room = WaitingRoom(site.objects, config.site.name, config.queue)
        runs = Runs(site.ledger, site.results, outcomes, site.objects, config.queue.backend, room)
        hand_over = HandOver(site.ledger, outcomes, runs, self._queue)
        claims = Claims(site.objects, config.site.name)
        fallback = FallbackQueue(site.ledger, config.queue.fallback, site.secret, site.engine)
        self._submit = RemoteSubmit(runs, hand_over, site.results, self._queue, claims)
        news = RunNews(site.ledger, site.results, outcomes, runs, fallback)
        following = Following(
            site.ledger,
            site.bus,
            site.objects,
            self._queue,
            claims,
            runs,
            hand_over,
            outcomes,
            news,
            fallback,
            Hanging(site.ledger, news, Limits(stall_s=config.queue.stall_s), complaints),
            complaints,
            _intervals(config),
            TakenRuns(self._queue, site.results, runs, news, room),
        )
        hearing = [Hearing(site.bus, self._source, news.hear)] if self._source is not None else []
        self.workers: Sequence[Worker] = (following, *hearing)

    def submit(self, job: JobRow) -> None:
        """Take the step."""
        self._submit(job)

    def start(self) -> None:
        """The follower asks after everything that is open."""
        self._outcomes.take_up()

    def stop(self) -> None:
        """Nothing: the runs go on."""

    def figures(self) -> Sequence[Figure]:
        """Messages of the news queue, and those that nobody could read."""
        if self._source is None:
            return ()
        figures = [
            Figure(
                "iris_news_messages_total", "Messages taken out of the news queue.", self._source.messages
            ),
            Figure("iris_news_poison_total", "Messages there that could not be read.", self._source.poison),
        ]
        if self._source.dead_letters is not None:
            what = "Messages in the dead-letter queue of the news."
            figures.append(Figure("iris_news_dead_letters", what, self._source.dead_letters))
        return figures


def _intervals(config: Config) -> Intervals:
    """As configured; a short deadline is looked at often enough to be kept."""
    usual = Intervals(reconcile_s=config.queue.reconcile_s, unseen_s=config.queue.unseen_s)
    deadline_s = config.queue.fallback.after_s or usual.explain_s
    return replace(usual, explain_s=min(usual.explain_s, deadline_s / 2))


def _news_source(config: Config) -> "SqsNews | None":
    """Where news of the runs come from; None: they are only asked after."""
    if config.news.backend != "sqs":
        return None
    session = aws_session(config, "news.backend = 'sqs'")
    from gateway.adapters.aws.sqs_news import SqsNews

    return SqsNews(session, config.news.queue_url)
