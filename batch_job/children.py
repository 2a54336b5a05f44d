"""Child processes of a run, which an engine may start for its own work: none outlives the run.

A run that ends in order kills its children. A run that is killed cannot; so each child that `multiprocessing`
starts looks whether its parent is still there. A spawned child does because it imports this module in place
of the program's main module, a forked one because it is told to at the fork.
"""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""Those that end a run in order."""
PARENT_VARIABLE: Final = "IRIS_JOB_PROCESS"
"""Environment: the number of the process that starts children."""
LOOK_S: Final = 0.5
"""How often a child looks for its parent."""


def adopt_children() -> None:
    """See to it that children that are started from now on end with this process."""
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    sys.modules["__main__"].__spec__ = importlib.util.find_spec(__name__)  # what spawned children import
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals, after_in_child=_begin_in_fork)


def end_children() -> None:
    """Kill every descendant of this process, where the system says which they are (Linux)."""
    for process in _descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])  # the name may hold anything
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(root, []))
    for process in found:  # grows while it is walked
        found += children.get(process, [])
    return found


def _begin_in_fork() -> None:
    """A forked child answers signals as any process does, and not as the run does."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _take_signals()
    _follow_parent()


def _hold_signals() -> None:
    """Let no signal reach a child that still would tell its parent's thread of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _follow_parent() -> None:
    """End when the parent is not the one that started this child, which may be so from the beginning."""
    parent = int(os.environ[PARENT_VARIABLE])
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    threading.Thread(target=_end_with_parent, args=(parent,), name="parent", daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)


if __name__ == "__mp_main__":
    _follow_parent()
