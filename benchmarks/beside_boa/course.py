"""The course of one run: senders that try again as a PACS does, mishaps at their time, the count."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from .counting import Counted, counted
from .orthancs import Orthanc
from .plan import AWAY_S, FULL_S, QUEUE_AWAY_S, Mishap, Sending, mishaps, sendings
from .sides import Side, fill, send
from .studies import Study

SEND_AGAIN_S: Final = 5.0
AT_WORK_TIMEOUT_S: Final = 30.0
QUIET_S: Final = 150.0
"""So long nothing new has to be in the PACS at the end; whoever tries again with pauses gets there."""
SETTLE_TIMEOUT_S: Final = 600.0


def run(
    side: Side, pacs: Orthanc, studies: Sequence[Study], folder: Path, say: Callable[[str], None]
) -> list[Counted]:
    """Let one side take all studies, with all mishaps, and count what the PACS has in the end."""
    pacs.part.start()
    try:
        for study in studies:  # It has them before it routes them.
            send(list(study.files), pacs)
        side.start()
        try:
            _let_happen(side, pacs, studies, say)
        finally:
            side.stop()
        return [counted(study, pacs, folder / study.name.split()[0]) for study in studies]
    finally:
        pacs.part.stop()


def _let_happen(side: Side, pacs: Orthanc, studies: Sequence[Study], say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    threads = [threading.Thread(target=_send, args=(begun, sending, side)) for sending in sendings(studies)]
    if len(studies) > 20:
        threads += [
            threading.Thread(target=_go_wrong, args=(begun + at_s, what, side, pacs, say))
            for at_s, what in mishaps()
        ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(f"{side.name}: all was sent after {time.monotonic() - begun:.0f} s")
    _settle(pacs)


def _settle(pacs: Orthanc) -> None:
    give_up_at, held, since = time.monotonic() + SETTLE_TIMEOUT_S, -1, 0.0
    while time.monotonic() < give_up_at:
        now = pacs.ask("/statistics")["CountInstances"]
        if now != held:
            held, since = now, time.monotonic()
        if time.monotonic() - since > QUIET_S:
            return
        time.sleep(2.0)


def _send(begun: float, sending: Sending, side: Side) -> None:
    """Send until it is taken, as the routing queue of a PACS does."""
    _wait_until(begun + sending.at_s)
    while not send(sending.files, side):
        time.sleep(SEND_AGAIN_S)


def _go_wrong(at: float, what: Mishap, side: Side, pacs: Orthanc, say: Callable[[str], None]) -> None:
    _wait_until(at)
    if what == "worker killed":
        at_work = _wait_for_work(side)
        side.kill_worker()
        say(f"{side.name}: {what}{'' if at_work else ' (it was idle)'}")
        return
    say(f"{side.name}: {what}")
    if what == "destination away":
        pacs.part.stop()
        time.sleep(AWAY_S)
        pacs.part.start()
    elif what == "queue restarted":
        side.restart_queue(QUEUE_AWAY_S)
    else:
        fill(side.disk, FULL_S)


def _wait_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


def _wait_for_work(side: Side) -> bool:
    give_up_at = time.monotonic() + AT_WORK_TIMEOUT_S
    while time.monotonic() < give_up_at:
        if any(side.running.iterdir()):
            return True
        time.sleep(0.1)
    return False
