"""Objects in quarantine, as a person deals with them: looked at, saved, taken in after all."""

import uuid
from pathlib import Path
from typing import Any

from gateway.ledger.quarantine import put_aside_row
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible

from .intake.filing import Intake
from .intake.shown import shown_header

GONE = "its file is not there any more; send the object again, or put the folder quarantine/ back"


class PutAside:
    """What lies in quarantine; `intake` takes it in."""

    def __init__(self, ledger: Ledger, intake: Intake) -> None:
        self._ledger = ledger
        self._intake = intake

    def file(self, key: str) -> Path | None:
        """The object as it came; None where there is none under that key.

        Raises
        ------
        NotPossible
            Its file is gone.
        """
        row = put_aside_row(self._ledger, key)
        if row is None:
            return None
        path = self._intake.data_dir / row.path
        if not path.is_file():
            raise NotPossible(GONE)
        return path

    def header(self, key: str) -> dict[str, Any] | None:
        """What its header says, in the shape of the API's `PutAsideHeader`; None as `file`.

        Raises
        ------
        NotPossible
            Its file is gone.
        """
        path = self.file(key)
        return shown_header(path) if path is not None else None

    def take_in(self, key: str) -> None:
        """File an object as if nothing had been said of it but by itself; it stays in quarantine as well.

        Raises
        ------
        NotPossible
            It cannot be taken in; its sentence says why.
        """
        row, path = put_aside_row(self._ledger, key), self.file(key)
        if row is None or path is None:
            raise NotPossible("this object is gone meanwhile")
        # A second name of the file: wherever a kill comes, the object lies in quarantine or in the archive.
        moved = self._intake.data_dir / "incoming" / f"{uuid.uuid4().hex}.part"
        try:
            moved.hardlink_to(path)
        except FileNotFoundError:
            raise NotPossible(GONE) from None
        try:
            self._intake.take_after_all(moved, row.sender)
        finally:
            moved.unlink(missing_ok=True)
