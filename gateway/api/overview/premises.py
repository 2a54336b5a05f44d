"""What a gateway alone knows of itself: its disk, its workers, what came today, and since when it runs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from gateway.adapters.checks import Check
from gateway.adapters.measures import Measure
from gateway.config import Config
from gateway.ledger.history import TEN, bytes_a_day, received
from gateway.ledger.records import utc_text
from gateway.ledger.store import Ledger
from gateway.ledger.watched import standing

from .history import Histories
from .models import Aws, Disk, ReceivedSince, Workers, WorkerTrouble


class Thread(Protocol):
    """A worker, as far as it is told of."""

    name: str

    def complaints(self) -> list[str]:
        """What is wrong with it, a sentence each."""


@dataclass(frozen=True)
class Premises:
    """A gateway as it stands; each question is answered anew.

    Parameters
    ----------
    of_aws
        The names of the workers that use something of AWS.
    tried
        Tries the destination of that name, without sending anything; KeyError where there is none.
    """

    config: Config
    ledger: Ledger
    workers: Sequence[Thread]
    of_aws: frozenset[str]
    tried: Callable[[str], Sequence[Check]]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def histories(self) -> Histories:
        """What the last day and month brought."""
        return Histories(self.ledger, self.config.site)

    def today(self) -> ReceivedSince:
        """What came since midnight where the site is."""
        now, site = datetime.now(UTC), self.config.site
        midnight = site.begin_of(site.local(now).date())
        came = received(self.ledger, midnight, now + TEN)
        return ReceivedSince(
            since=utc_text(midnight), studies=came.studies, instances=came.instances, bytes=came.bytes
        )

    def oldest_wait_s(self) -> float:
        """For how long the first of the runs without a machine has waited; 0 when none does."""
        return standing(self.ledger)[Measure.LONGEST_RUNNABLE_WAIT][0]

    def disk(self) -> Disk:
        """The disk where the ledger lies, and how long it will do."""
        usage = shutil.disk_usage(self.ledger.path.parent)
        reserve = self.config.site.low_water_mb * 1_000_000
        a_day = bytes_a_day(self.ledger, datetime.now(UTC))
        return Disk(
            free_bytes=usage.free,
            size_bytes=usage.total,
            reserve_bytes=reserve,
            bytes_a_day=round(a_day),
            days_left=round(max(0, usage.free - reserve) / a_day, 1) if a_day else None,
            is_kept_free=self.config.retention.min_free_mb > 0,
        )

    def threads(self) -> Workers:
        """The workers, and what each that is in trouble says."""
        return Workers(number=len(self.workers), troubles=list(self._troubles()))

    def aws(self) -> Aws | None:
        """What of AWS is configured, and what is wrong there; None: nothing is."""
        config = self.config
        queue = config.queue.job_queue if config.queue.backend == "batch" else ""
        bucket = config.objects.bucket if "bucket" in config.objects.facts.needs else ""
        table = config.mirror.table if config.mirror.backend == "dynamodb" else ""
        if not (queue or bucket or table):
            return None
        troubles = [each.sentence for each in self._troubles() if each.name in self.of_aws]
        return Aws(region=config.aws.region, queue=queue, bucket=bucket, table=table, troubles=troubles)

    def _troubles(self) -> list[WorkerTrouble]:
        return [
            WorkerTrouble(name=worker.name, sentence=complaint)
            for worker in self.workers
            for complaint in worker.complaints()
        ]
