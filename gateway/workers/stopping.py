"""The end of the process: everything is asked at once, and whatever hangs does not hold it up.

Each step can be killed at any instant and taken again, so what does not end in time is left as a kill would
leave it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STOP_WITHIN_S: Final = 11.0
"""How long all parts together may take to end."""
EXIT_WITHIN_S: Final = 14.0
"""The process is over so soon after it was asked, whatever hangs; service managers kill later than that."""


def stop_together(
    stops: Mapping[str, Callable[[], object]], within_s: float = STOP_WITHIN_S
) -> Sequence[str]:
    """Call all of these at once and wait for them; the names of those that did not return in time."""
    threads = {
        name: threading.Thread(target=_calling, args=(name, stop), name=f"stop-{name}", daemon=True)
        for name, stop in stops.items()
    }
    for thread in threads.values():
        thread.start()
    give_up_at = time.monotonic() + within_s
    for thread in threads.values():
        thread.join(max(0.0, give_up_at - time.monotonic()))
    return [name for name, thread in threads.items() if thread.is_alive()]


def _calling(name: str, stop: Callable[[], object]) -> None:
    try:
        stop()
    except Exception:
        log.exception("stop_failed", part=name)


def asked_to_stop(exit_within_s: float = EXIT_WITHIN_S) -> threading.Event:
    """An event that SIGTERM and Ctrl-C set; so long after it the process is over, whatever hangs."""
    asked: SimpleQueue[int] = SimpleQueue()  # a handler may not take a lock that its own thread may hold
    stop = threading.Event()

    def end() -> None:
        asked.get()
        stop.set()
        time.sleep(exit_within_s)
        end_at_once(sorted({thread.name for thread in threading.enumerate() if thread.name != "end"}))

    threading.Thread(target=end, name="end", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.put(number))
    return stop


def end_at_once(hanging: Sequence[str]) -> None:
    """End the process without waiting for its threads, or for the end of the interpreter itself."""
    if hanging:
        log.warning("stopped_without_waiting", hanging=list(hanging))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
