"""Who watches what is arriving: when a study is complete, and who asks the PACS about it."""

from collections.abc import Callable, Sequence

from gateway.backends.pacs import pacs_contents
from gateway.config import Config
from gateway.events import Bus
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .asking import PacsQuestions
from .completeness import LARGE, SMALL, Completeness
from .gaps import Gaps
from .planning import Planner
from .witness import NamedInstances, Witnesses


class Arrival:
    """Workers: two for completeness, so that no study waits while a large one is planned, and who asks.

    Parameters
    ----------
    has_open_association
        Tells whether an association that touched a study is open.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        bus: Bus,
        planner: Planner,
        has_open_association: Callable[[str], bool],
    ) -> None:
        times = config.study
        gaps = Gaps(bus, times.quiet_s)
        pacs = pacs_contents(config)
        questions = []
        if pacs is not None:
            settle_s = times.quiet_s
            questions.append(
                PacsQuestions(ledger, bus, pacs, has_open_association, gaps, longest_settle_s=settle_s)
            )
        witness = Witnesses([NamedInstances(ledger), *questions])
        self._watches = [
            Completeness(
                ledger,
                planner,
                bus,
                has_open_association,
                quiet_s=times.quiet_s,
                timeout_s=times.timeout_s,
                witness=witness,
                gaps=gaps if times.quiet_adaptive else None,
                sizes=sizes,
            )
            for sizes in (SMALL, LARGE)
        ]
        self.workers: Sequence[Worker] = [*self._watches, *questions]

    def waits_for(self, study_uid: str) -> str:
        """For what a study waits that is receiving, in a sentence; empty where it waits for nobody."""
        return next(filter(None, (watch.waits_for(study_uid) for watch in self._watches)), "")
