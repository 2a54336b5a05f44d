"""`python -m batch_job --serve`: jobs whose addresses come on standard input, one a line.

Each is answered by a line of JSON on standard output, on which nothing else is written: what libraries print
there goes to standard error.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from .contract import EXIT_BAD_INPUT, ContractError, RunAnswered, RunWanted
from .place import Attempt
from .resources import memory_share
from .several import Ended, Wanted

INPUT: Final = 0
OUTPUT: Final = 1
ERRORS: Final = 2


class Conversation:
    """What is asked on standard input, and answered on standard output.

    Parameters
    ----------
    attempt
        What is the same for all jobs; the run's number comes with each.
    idle_s
        For how many seconds without work a job is waited for; None: until standard input ends.
    """

    def __init__(self, attempt: Attempt, idle_s: float | None) -> None:
        self._attempt = attempt
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._is_over = False
        self._unanswered = 0
        self._idle_since = time.monotonic()
        self._answers = os.dup(OUTPUT)
        os.dup2(ERRORS, OUTPUT)

    def read_to_the_end(self) -> None:
        """Read standard input until it is closed."""
        with os.fdopen(os.dup(INPUT), "rb") as stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify()
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def wanted(self) -> Iterator[Wanted]:
        """What is asked for, as it comes; a line that cannot be understood is answered at once."""
        while (line := self._next_line()) is not None:
            try:
                wanted = _understood(line)
            except ContractError as error:
                self._say(RunAnswered(address="", run=1, code=EXIT_BAD_INPUT, sentence=str(error)))
                continue
            with self._changed:
                self._unanswered += 1
            yield Wanted(wanted.address, replace(self._attempt, run=wanted.run))

    def answer(self, ended: Ended) -> None:
        """Say how a job ended."""
        self._say(
            RunAnswered(
                address=ended.wanted.address,
                run=ended.wanted.attempt.run,
                code=ended.code,
                sentence=ended.sentence,
                memory_share=memory_share(),
            )
        )
        with self._changed:
            self._unanswered -= 1
            self._idle_since = time.monotonic()
            self._changed.notify()

    def _next_line(self) -> bytes | None:
        """Wait for a line that says something; None where no more comes, or has not come for too long."""
        with self._changed:
            while True:
                while self._lines:
                    if line := self._lines.popleft().strip():
                        return line
                left_s = self._left_s()
                if self._is_over or (left_s is not None and left_s <= 0):
                    return None
                self._changed.wait(left_s)

    def _left_s(self) -> float | None:
        """How long a line is waited for."""
        if self._idle_s is None or self._unanswered:
            return None
        return self._idle_since + self._idle_s - time.monotonic()

    def _say(self, answer: RunAnswered) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more; the work is done all the same
            os.write(self._answers, answer.model_dump_json().encode() + b"\n")


def _understood(line: bytes) -> RunWanted:
    """A line is a `RunWanted` or, where it does not begin with a brace, a plain address."""
    if line.startswith(b"{"):
        return RunWanted.from_json(line)
    return RunWanted(address=line.decode(errors="surrogateescape"))
