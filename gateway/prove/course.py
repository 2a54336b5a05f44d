"""The phantom's course: station after station, each told when it is over."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.adapters.dicom.peer import NotReached
from gateway.commands.status_client import StatusError
from gateway.delivery.sending import NotSendable

from .at_work import chosen, delivered, segmented
from .clearing import cleared
from .commitment import commitment
from .forms import duplicates, forms_kept
from .scene import Finding, Scene
from .stations import Station, StationFailed, Verdict
from .way_back import results_fetched, results_found, results_unchanged, voxels_compared
from .way_out import (
    gateway_runs,
    images_kept,
    images_routed,
    images_sent,
    images_unchanged,
    pacs_answers,
)

Step = Callable[[Scene], Finding]
DOORS: Final[tuple[tuple[str, Step], ...]] = (("Gateway", gateway_runs), ("PACS", pacs_answers))
"""Without these there is nothing to prove."""
WAY: Final[tuple[tuple[str, Step], ...]] = (
    ("Sent", images_sent),
    ("Kept", images_kept),
    ("Routed", images_routed),
    ("Images unchanged", images_unchanged),
    ("Chosen", chosen),
    ("Segmented", segmented),
    ("Delivered", delivered),
    ("Results kept", results_found),
    ("Fetched", results_fetched),
    ("Results unchanged", results_unchanged),
    ("Voxels", voxels_compared),
)
"""One after the other: what stands behind one that failed is not reached."""
BESIDE: Final[tuple[tuple[str, Step], ...]] = (
    ("Forms", forms_kept),
    ("Duplicates", duplicates),
    ("Commitment", commitment),
)
"""What can be tried of the PACS whether or not the way was open."""


def run_course(scene: Scene, told: Callable[[Station], None]) -> None:
    """Go the whole way; what was made is removed in any case."""
    course = _Course(scene, told)
    if not course.go(DOORS):
        course.leave_out(WAY + BESIDE)
        return
    try:
        course.go(WAY)
        is_sent = scene.report.failed is None or scene.report.failed.name not in ("Sent", "Kept")
        course.go(BESIDE) if is_sent else course.leave_out(BESIDE)
    finally:
        course.go((("Removed", cleared),))


class _Course:
    def __init__(self, scene: Scene, told: Callable[[Station], None]) -> None:
        self._scene, self._told = scene, told
        self._last_at = datetime.now(UTC)

    def go(self, way: tuple[tuple[str, Step], ...]) -> bool:
        """Pass these stations; whether it came to their end."""
        for number, (name, step) in enumerate(way):
            station = self._pass(name, step)
            self._note(station)
            if station.verdict is Verdict.FAILED:
                self.leave_out(way[number + 1 :])
                return False
        return True

    def leave_out(self, way: tuple[tuple[str, Step], ...]) -> None:
        """Note that these were not reached."""
        for name, _ in way:
            self._note(Station(name, Verdict.NOT_REACHED, ""))

    def _pass(self, name: str, step: Step) -> Station:
        began = time.monotonic()
        try:
            found = step(self._scene)
        except StationFailed as error:
            found = Finding(error.finding, error.fix, Verdict.FAILED)
        except (NotReached, NotSendable, StatusError) as error:
            finding, _, fix = str(error).partition("; ")
            found = Finding(finding, fix or "look at it there", Verdict.FAILED)
        except OSError as error:
            sentence = f"{error.filename or 'a file'}: {error.strerror}"
            found = Finding(sentence, "see that it can be read and written here", Verdict.FAILED)
        at = found.at or datetime.now(UTC)
        # By the gateway's own clock where it says when: several of its steps are seen at once.
        seconds = (at - self._last_at).total_seconds() if found.at else time.monotonic() - began
        self._last_at, shown_at = at, self._scene.gateway.config.site.local(at)
        return Station(name, found.verdict, found.text, found.fix, shown_at, round(max(seconds, 0.0), 3))

    def _note(self, station: Station) -> None:
        self._scene.report.stations.append(station)
        self._told(station)
