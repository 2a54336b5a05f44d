"""Who computes: the queue that the configuration names, and all that hands runs to it and follows them.

Local runs die with this process and are settled at the next start; remote ones go on, and are followed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gateway.adapters.measures import Figure
from gateway.adapters.objects import ObjectStore
from gateway.adapters.queue import Lane
from gateway.backends.aws import SecondRegion, aws_session, batch_queue, second_region, spot_prices
from gateway.backends.job_folders import local_queue
from gateway.config import Config
from gateway.events import Bus
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.records import JobRow
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .abroad import Copies, HomeAgain, QueueAbroad, ResultsFromAbroad
from .claims import Claims
from .complaints import Complaints
from .costs import Costs
from .fallback import FallbackQueue
from .following import Intervals
from .hanging import Hanging, Limits
from .local_runs import LocalRuns
from .news import RunNews
from .outcomes import Outcomes
from .remote_place import Ours, RemotePlace, Where
from .run import Runs

if TYPE_CHECKING:
    from gateway.adapters.aws.session import AwsSession
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

    @property
    def copies(self) -> Sequence[ObjectStore]:
        """Where copies of job folders may lie."""
        ...


@dataclass(frozen=True)
class Site:
    """What both kinds of queue need of the rest of the gateway."""

    ledger: Ledger
    bus: Bus
    objects: ObjectStore
    job_variables: Mapping[str, str]
    results: JobResults
    workplace: Workplace
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
        self.copies: Sequence[ObjectStore] = ()

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
    """AWS Batch, with the fallback queue (here or in a second region) and claims in the bucket."""

    def __init__(self, config: Config, site: Site) -> None:
        self._ledger, self._region = site.ledger, config.aws.region
        abroad = second_region(config)
        ours = Ours(
            site.ledger,
            site.bus,
            config.site.name,
            config.queue,
            Claims(site.objects, config.site.name),
            Complaints(site.ledger),
            _intervals(config),
            config.queue.usd_per_hour,
        )
        fallback = FallbackQueue(
            site.ledger, config.queue.fallback, site.secret, site.engine, config.may_be_in
        )
        session = aws_session(config, "queue.backend = 'batch'")
        news = _news_source(session, config.news.queue_url if config.news.backend == "sqs" else "")
        home = Where(
            batch_queue(config),
            site.objects,
            site.results,
            config.aws.region,
            news,
            spot_prices(session),
            is_mine=lambda run: abroad is None or run.region != abroad.name,
        )
        self._home = RemotePlace(ours, home, lambda _: fallback)
        self.copies: Sequence[ObjectStore] = ()
        self._submit_elsewhere: Callable[[JobRow], None] = self._home.submit
        self.workers: Sequence[Worker] = self._home.workers
        self._sources = [news]
        if abroad is not None:
            self._add(abroad, config, site, ours)

    def _add(self, abroad: SecondRegion, config: Config, site: Site, ours: Ours) -> None:
        """The second region, for what the main queue has no machine for."""
        queue = QueueAbroad(abroad.queue, abroad.name, site.objects, abroad.objects, config.may_be_in)
        news = _news_source(abroad.session, abroad.news_queue_url)
        there = Where(
            queue,
            abroad.objects,
            ResultsFromAbroad(site.objects, abroad.objects, site.workplace),
            abroad.name,
            news,
            spot_prices(abroad.session),
            is_mine=lambda run: run.region == abroad.name,
            suffix=f"-{abroad.name}",
            is_abroad=True,
        )
        back = HomeAgain(site.ledger, self._home.outcomes, abroad.name)
        place = RemotePlace(ours, there, lambda _: back, lambda _: back)
        copies = Copies(site.ledger, site.bus, queue, abroad.objects, abroad.name)
        self._submit_elsewhere = back.trying(place.submit)
        self.workers = (*self.workers, *place.workers, copies)
        self.copies = (abroad.objects,)
        self._sources.append(news)

    def submit(self, job: JobRow) -> None:
        """Take the step."""
        (self._submit_elsewhere if job.lane == Lane.FALLBACK else self._home.submit)(job)

    def start(self) -> None:
        """The follower asks after everything that is open."""
        self._home.outcomes.take_up()

    def stop(self) -> None:
        """Nothing: the runs go on."""

    def figures(self) -> Sequence[Figure]:
        """Messages of the news queue, and those that nobody could read."""
        sources = [source for source in self._sources if source is not None]
        if not sources:
            return ()
        messages, poison = sum(each.messages for each in sources), sum(each.poison for each in sources)
        figures = [
            Figure("iris_news_messages_total", "Messages taken out of the news queue.", messages),
            Figure("iris_news_poison_total", "Messages there that could not be read.", poison),
        ]
        dead_letters = [each.dead_letters for each in sources if each.dead_letters is not None]
        if dead_letters:
            what = "Messages in the dead-letter queue of the news."
            figures.append(Figure("iris_news_dead_letters", what, sum(dead_letters)))
        return figures


def _intervals(config: Config) -> Intervals:
    """As configured; a short deadline is looked at often enough to be kept."""
    usual = Intervals(reconcile_s=config.queue.reconcile_s, unseen_s=config.queue.unseen_s)
    deadline_s = config.queue.fallback.after_s or usual.explain_s
    return replace(usual, explain_s=min(usual.explain_s, deadline_s / 2))


def _news_source(session: "AwsSession", queue_url: str) -> "SqsNews | None":
    """Where news of the runs come from; None: they are only asked after."""
    if not queue_url:
        return None
    from gateway.adapters.aws.sqs_news import SqsNews

    return SqsNews(session, queue_url)
