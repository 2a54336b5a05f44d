"""Several short writes in one transaction: who waits for the ledger's disk meanwhile goes with the next one.

A commit waits for the disk, and one writes at a time. Eight associations would each wait for eight commits;
here what came while one was under way is written by the next, all of it.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .store import Ledger, LedgerError
from .transaction import Transaction

Work = Callable[[Transaction], object]


@dataclass(eq=False)
class _Write:
    work: Work
    is_over: bool = False
    error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        self.error = error
        self.is_over = True


class WritesTogether:
    """Writes for several threads at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[_Write] = deque()
        self._turn = threading.Lock()

    def write(self, work: Work) -> None:
        """Write, and return when it is committed.

        Parameters
        ----------
        work
            Called within a transaction; once more where that of several had to be rolled back.

        Raises
        ------
        Exception
            What the work or the commit raised; nothing of this work is written then.
        """
        mine = _Write(work)
        self._waiting.append(mine)
        with self._turn:
            if not mine.is_over:
                self._write_all()
        if mine.error is not None:
            raise mine.error
        if not mine.is_over:  # whose turn it was did not come to its end
            raise LedgerError("what came was not written down")

    def _write_all(self) -> None:
        writes = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if len(writes) == 1 or not self._is_written(writes):
            for write in writes:
                self._write_alone(write)

    def _is_written(self, writes: list[_Write]) -> bool:
        try:
            with self._ledger.transaction() as transaction:
                for write in writes:
                    write.work(transaction)
        except Exception:  # one of them cannot be, or the disk takes none: each by itself, to know
            return False
        for write in writes:
            write.end()
        return True

    def _write_alone(self, write: _Write) -> None:
        try:
            with self._ledger.transaction() as transaction:
                write.work(transaction)
        except Exception as error:
            write.end(error)
        else:
            write.end()
