"""What may go wrong with a piece of work: whose fault it is, and when it is tried again; one policy for all.

A fault is the work's own (counted, and given up after some), the machine's (no room, no memory, a failing
disk, a ledger that is held: never counted, waited for) or the outside's (nobody there: never counted, waited
for). Where the work itself met the end of memory, that is the machine's and counted all the same: it may want
more than there ever is.
What nobody foresaw is a defect of ours: the log gets its traceback, and it is counted.
"""

import errno
import os
import random
import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from converter.errors import ConverterError
from gateway.adapters.errors import Away, Permanent, Retriable


class CannotGoOn(Exception):
    """A job cannot be done; one sentence that says why and what to do, without patient data."""


class Blame(StrEnum):
    """Whose fault it is that a piece of work was not done."""

    WORK = "work"  # its own: counted
    MACHINE = "machine"  # this machine's: waited for
    OUTSIDE = "outside"  # somebody else's: waited for


@dataclass(frozen=True)
class Fault:
    """What went wrong, understood.

    Parameters
    ----------
    sentence
        For a person, without patient data.
    is_final
        The same would happen again: it is not tried again by itself.
    is_defect
        Nobody foresaw it: the log gets its traceback.
    is_everywhere
        Everything else of this kind would meet it now as well.
    is_counted
        The work may meet it for ever: it is given up after some times, whosever fault it is.
    """

    blame: Blame
    sentence: str
    is_final: bool = False
    is_defect: bool = False
    is_everywhere: bool = False
    is_counted: bool = False


@dataclass(frozen=True)
class Backoff:
    """How long until the next try: doubled each time in a row, up to a longest, and a little by chance."""

    first_s: float
    longest_s: float

    def delay_s(self, earlier: int) -> float:
        """The seconds after a failure that had so many before it."""
        return min(self.longest_s, self.first_s * 2.0 ** min(earlier, 30)) * random.uniform(0.8, 1.0)


@dataclass(frozen=True)
class Policy:
    """How often, and how soon, work is tried again.

    Parameters
    ----------
    failures_allowed
        Faults of its own in a row; with the last of them it is given up.
    machine_failures_allowed
        The same for faults of the machine, where that is one elsewhere, which costs; None: they are waited
        out, however many.
    """

    failures_allowed: int = 5
    lacks_allowed: int = 10
    """The same where it may be the machine that lacks something: for a quarter of an hour."""
    machine_failures_allowed: int | None = None
    own: Backoff = Backoff(2.0, 300.0)
    machine: Backoff = Backoff(1.0, 30.0)
    outside: Backoff = Backoff(15.0, 15.0)
    """The network may be back at any time."""

    @property
    def longest_s(self) -> float:
        """No wait is longer."""
        return max(self.own.longest_s, self.machine.longest_s, self.outside.longest_s)

    def is_enough(self, fault: Fault, times: int) -> bool:
        """Whether a counted fault that was met so often in a row is not tried again."""
        return times >= (self.failures_allowed if fault.blame is Blame.WORK else self.lacks_allowed)

    def for_what_waits(self, blame: Blame) -> Backoff:
        """The backoff of what is waited for."""
        return self.machine if blame is Blame.MACHINE else self.outside


POLICY = Policy()
"""What holds unless a worker is given another one."""

_FULL: Final = "the disk is full; make room, it then goes on by itself"
_NO_FILES: Final = "too many files are open on this machine; allow the gateway more (LimitNOFILE)"
_NO_MEMORY: Final = "this machine has no memory left; give it more, or stop what else runs there"
_BAD_DISK: Final = "a disk fails to read or write; look at it and at the system's log"
_READ_ONLY: Final = "the disk can only be read; look at it and at the system's log"
_HELD: Final = "another program holds the ledger; end it"
_DAMAGED: Final = "the ledger is damaged; `iris ledger check` says more"

_ERRNOS: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _NO_FILES),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), _NO_MEMORY),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO), _BAD_DISK),
    errno.EROFS: _READ_ONLY,
}
_OF_ONE_FILE: Final = frozenset({errno.EIO, errno.ESTALE})
"""One bad block must not hold up what lies elsewhere."""
_SQLITE: Final = {
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL), _HELD),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _BAD_DISK,
    sqlite3.SQLITE_CANTOPEN: _BAD_DISK,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_NOMEM: _NO_MEMORY,
    **dict.fromkeys((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB), _DAMAGED),
}


def fault_of(error: BaseException, work: str) -> Fault:
    """Whose fault an exception is.

    Parameters
    ----------
    work
        What was being done, for the sentence: "convert".
    """
    machine = _machines(error)
    if machine is not None:
        return machine
    match error:
        case CannotGoOn() | ConverterError() | Permanent():
            return Fault(Blame.WORK, str(error), is_final=True)
        case Away():
            return Fault(Blame.OUTSIDE, str(error))
        case Retriable():
            return Fault(Blame.WORK, str(error))
        case OSError(errno=int(number)):
            return Fault(Blame.WORK, f"{os.strerror(number)} in {work}")
        case _:
            sentence = f"an unforeseen error in {work}; the log names the place"
            return Fault(Blame.WORK, sentence, is_defect=True)


def _machines(error: BaseException) -> Fault | None:
    """The fault where it is the machine's, be it behind what an adapter made of it."""
    behind = error.__cause__
    if isinstance(error, Retriable) and not isinstance(error, Away) and isinstance(behind, OSError):
        fault = _machines(behind)
        return replace(fault, sentence=str(error)) if fault is not None else None
    if isinstance(error, sqlite3.Error):
        sentence = _ledgers(error)
        return Fault(Blame.MACHINE, sentence, is_everywhere=True) if sentence else None
    if isinstance(error, MemoryError):
        return Fault(Blame.MACHINE, _NO_MEMORY, is_counted=True)
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        is_everywhere = error.errno not in _OF_ONE_FILE
        return Fault(Blame.MACHINE, _ERRNOS[error.errno], is_everywhere=is_everywhere)
    return None


def _ledgers(error: sqlite3.Error) -> str:
    """What the ledger lacks, in a sentence; empty where the statement is wrong, not the machine."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return _HELD if isinstance(error, sqlite3.OperationalError) else ""
    return _SQLITE.get(code & 0xFF, "")  # the rest says more of the same (extended result codes)
