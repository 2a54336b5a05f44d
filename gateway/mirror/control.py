"""What the API shows of the mirror, and lets a person ask of it."""

from typing import Any

from gateway.ledger.outbox import backlog_of, begin_rebuild, mirror_of
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible

from .worker import MirrorWorker

NO_MIRROR = "there is no mirror: mirror.backend is 'none'"


class MirrorControl:
    """How the mirror stands, and making the table anew.

    Parameters
    ----------
    worker
        None where nothing is mirrored.
    """

    def __init__(self, ledger: Ledger, worker: MirrorWorker | None, keep_days: int) -> None:
        self._ledger = ledger
        self._worker = worker
        self._keep_days = keep_days

    def state(self) -> dict[str, Any]:
        """The shape of `models.Mirror`."""
        backlog, mirror = backlog_of(self._ledger), mirror_of(self._ledger)
        return {
            "on": self._worker is not None,
            "waiting": backlog.waiting,
            "lag_s": round(backlog.lag_s, 1),
            "rebuilding": bool(mirror.rebuilding),
            "trouble": self._worker.trouble if self._worker is not None else "",
        }

    def rebuild(self) -> dict[str, Any]:
        """Begin to write everything into the table anew; it ends when `rebuilding` is false again.

        Raises
        ------
        NotPossible
            Nothing is mirrored.
        """
        if self._worker is None:
            raise NotPossible(NO_MIRROR)
        with self._ledger.transaction() as transaction:
            begin_rebuild(transaction, self._keep_days)
        self._worker.try_now()
        return self.state()
