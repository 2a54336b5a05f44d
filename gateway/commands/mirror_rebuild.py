"""`iris mirror rebuild`: through the gateway where it runs, else by this process on the gateway's ledger."""

import time
from collections.abc import Callable
from typing import Any, Final

from gateway.config import Config
from gateway.events import Bus
from gateway.files.names import LEDGER_NAME
from gateway.ledger.store import Ledger
from gateway.mirror.backend import counts_worker, mirror_worker
from gateway.mirror.control import NO_MIRROR, MirrorControl

from .status_client import StatusClient

LOOK_EVERY_S: Final = 0.2

OnProgress = Callable[[int, int], None]
"""Called with how much is shipped, and of how much."""


class RebuildError(Exception):
    """The table could not be made anew; one sentence that says why and what to do."""


def rebuild_mirror(config: Config, on_progress: OnProgress) -> int:
    """Write everything that the ledger holds into the mirror; the number of items.

    Raises
    ------
    RebuildError, StatusError, ConfigError, LedgerError
        What is not shipped then stays due, and is shipped when the gateway runs.
    """
    if config.mirror.backend == "none":
        raise RebuildError(f"{NO_MIRROR}; name a table under [mirror] first")
    client = StatusClient(config.data_dir)
    begun = client.rebuild_mirror()
    if begun is not None:
        return _follow(begun, client.mirror, on_progress)
    if not (config.data_dir / LEDGER_NAME).exists():
        raise RebuildError(f"there is no ledger in {config.data_dir}; look at site.data_dir")
    bus = Bus()
    with Ledger(config.data_dir / LEDGER_NAME, bus) as ledger:
        worker = mirror_worker(config, ledger, bus)
        control = MirrorControl(ledger, worker, config.mirror.keep_days)
        begun = control.rebuild()
        assert worker is not None
        worker.start()
        try:
            number = _follow(begun, control.state, on_progress)
        finally:
            worker.stop()
        counts = counts_worker(config, ledger, bus)
        assert counts is not None
        counts.work()
        return number


def _follow(begun: dict[str, Any], look: Callable[[], dict[str, Any] | None], on_progress: OnProgress) -> int:
    """Watch until all is shipped; changes that come meanwhile make it more."""
    total = begun["waiting"]
    state: dict[str, Any] | None = begun
    while state is not None and state["rebuilding"]:
        if state["trouble"]:
            raise RebuildError(f"{state['trouble']}; {state['waiting']} of {total} are left, and stay due")
        total = max(total, state["waiting"])
        on_progress(total - state["waiting"], total)
        time.sleep(LOOK_EVERY_S)
        state = look()
    if state is None:
        raise RebuildError("the gateway was stopped meanwhile; the rest is shipped when it runs again")
    on_progress(total, total)
    return int(total)
