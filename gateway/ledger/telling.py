"""Which transactions have not told yet what happened in them.

They tell of themselves after their commit, in their own threads: one that came later may have told before.
Whoever knows the timeline up to a line misses nothing when he goes on from there only where all before it was
told, too.
"""

import threading


class Telling:
    """The first line of each transaction that is committed, or about to be, and was not told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_lines: set[int] = set()

    def begin(self, first_line: int | None) -> None:
        """Say, before the commit, from which line on it has not told; None: it has none."""
        if first_line is not None:
            with self._lock:
                self._first_lines.add(first_line)

    def end(self, first_line: int | None) -> None:
        """Say that it told, or was not committed."""
        if first_line is not None:
            with self._lock:
                self._first_lines.discard(first_line)

    def upto(self, newest: int) -> int:
        """The last line, no later than this one, that was told with all before it."""
        with self._lock:
            return min([newest, *(first - 1 for first in self._first_lines)])
