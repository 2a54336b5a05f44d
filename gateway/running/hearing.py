"""Takes in what a queue elsewhere says of its runs, as it comes; `following` asks for what was not said."""

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from gateway.adapters.queue import JobNews
from gateway.events import Bus, Event
from gateway.workers.attempts import Backoff
from gateway.workers.worker import Worker

log = structlog.get_logger(__name__)

AFTER_TROUBLE: Final = Backoff(1.0, 60.0)
STOP_WITHIN_S: Final = 1.0
"""How long `stop` waits for a look that is under way; it ends by itself, and hands back what it then gets."""


class NewsSource(Protocol):
    """Where news wait until they are taken in."""

    trouble: str
    """Why none come, in one sentence; empty while all is well."""

    def look(self, hear: Callable[[JobNews], None], is_stopping: Callable[[], bool]) -> bool:
        """Wait for news once and pass them on; whether more may be had at once.

        What `hear` raises was not taken in, and is told again. What it says itself is in `trouble`.
        """
        ...


class Hearing(Worker):
    """Looks at a news source again and again, which itself waits until there is something."""

    def __init__(
        self, bus: Bus, source: NewsSource, hear: Callable[[JobNews], None], name: str = "news"
    ) -> None:
        super().__init__(name, bus)
        self._source = source
        self._hear = hear
        self._troubles = 0

    def is_woken_by(self, event: Event) -> bool:
        """Nothing that happens here brings news."""
        return False

    def work(self) -> float:
        """Take in what there is, or waits long enough to come."""
        goes_on = self._source.look(self._hear, lambda: self.is_stopping)
        if self._source.trouble != self.trouble and not self.is_stopping:
            self.trouble = self._source.trouble
            log.log(30 if self.trouble else 20, "news_queue", trouble=self.trouble or "none")
        if goes_on:
            self._troubles = 0
        else:
            self.pause(AFTER_TROUBLE.delay_s(self._troubles))
            self._troubles += 1
        return 0.0

    def stop(self, timeout_s: float | None = STOP_WITHIN_S) -> bool:
        """Take no more in; what is being taken in is finished, a wait for news is not waited for."""
        return super().stop(timeout_s)
