"""Files in the archive that the ledger does not know are filed in the background, beside what comes in.

A crash between a file's move and the ledger's commit leaves one; a ledger that was removed, or put back from
a backup, knows none of what came since. The archive is gone through once after each start, a folder at a
time: what is held in memory does not grow with it.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from gateway.events import Bus, Event
from gateway.files.kept import is_lost
from gateway.ledger.instances import names_of_known_files
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .archive import Archive
from .filing import Intake

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 600.0
"""How often a folder that could not be read is looked at again."""
PLACES_NAMED = 3
"""So many places are named where something cannot be read."""


class Adoption(Worker):
    """Files what the ledger does not know.

    Parameters
    ----------
    is_alone
        Whether nothing comes in meanwhile that would have to go before.
    """

    def __init__(
        self, ledger: Ledger, archive: Archive, intake: Intake, bus: Bus, *, is_alone: bool = False
    ) -> None:
        super().__init__("adoption", bus)
        self._is_alone = is_alone
        self._ledger = ledger
        self._archive = archive
        self._intake = intake
        self._is_done = False
        self._unread: dict[str, str] = {}  # folder or file below data_dir -> why, as a person reads it
        self.adopted = 0
        """Files that were filed since the start."""

    def is_woken_by(self, event: Event) -> bool:
        """Nothing wakes it: it goes through the archive when it starts."""
        return False

    def work(self) -> float | None:
        """Go through the archive, or through what of it could not be read the last time."""
        if self._is_done and not self._unread:
            return None
        folders = self._folders_to_look_at()
        self._is_done, self._unread = False, {}
        adopted_before = self.adopted
        for folder in folders:
            if self.is_stopping:
                return None
            began_at = time.monotonic()
            self._adopt_in(folder)
            self.heartbeat()
            if not self._is_alone:
                self._stopping.wait(time.monotonic() - began_at)  # what comes in goes before
        self._is_done = True
        if self.adopted > adopted_before:
            log.warning("files_adopted", files=self.adopted - adopted_before)
        self.trouble = self._sentence()
        return LOOK_AGAIN_S if self._unread else None

    def _folders_to_look_at(self) -> Iterator[Path]:
        """All folders of the archive; later those that could not be read, or whose files could not."""
        instances = self._archive.instances
        parts = [Path(place).relative_to(instances.name).parts for place in self._unread]
        if self._is_done and all(parts):
            return iter(sorted({instances / first for first, *_ in parts}))
        return self._folders()

    def _folders(self) -> Iterator[Path]:
        try:
            with os.scandir(self._archive.instances) as entries:
                for entry in entries:
                    if entry.is_dir():
                        yield Path(entry.path)
        except OSError as error:
            self._note(self._archive.instances, error)

    def _adopt_in(self, folder: Path) -> None:
        """File what is unknown in one folder, which is one study's."""
        try:
            unknown = self._unknown_files(folder)
        except OSError as error:
            self._note(folder, error)
            return
        for path in unknown:
            if self.is_stopping:
                return
            self.heartbeat()
            try:
                self.adopted += self._intake.adopt(path)
            except OSError as error:
                self._note(path, error)

    def _unknown_files(self, folder: Path) -> list[Path]:
        """Oldest first: a correction that came after what it corrects is taken after it."""
        known = names_of_known_files(self._ledger, str(folder.relative_to(self._archive.data_dir)))
        unknown = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".dcm") and entry.name not in known:
                    try:
                        unknown.append((entry.stat().st_mtime_ns, Path(entry.path)))
                    except FileNotFoundError:  # an association took it back
                        continue
        return [path for _, path in sorted(unknown)]

    def _note(self, place: Path, error: OSError) -> None:
        """Remember what could not be read; what the machine lacks stops the look, and it begins anew.

        Raises
        ------
        OSError
        """
        if not is_lost(error):
            raise error
        name = str(place.relative_to(self._archive.data_dir))
        self._unread[name] = error.strerror or "it cannot be read"
        log.error("not_adopted", place=name, number=error.errno)

    def _sentence(self) -> str:
        if not self._unread:
            return ""
        named = [f"{name} ({why})" for name, why in sorted(self._unread.items())[:PLACES_NAMED]]
        more = len(self._unread) - len(named)
        return (
            f"what the ledger does not know is not filed where it cannot be read: {', '.join(named)}"
            f"{f' and {more} more' if more else ''}; look at the disk and at who may read there"
        )
