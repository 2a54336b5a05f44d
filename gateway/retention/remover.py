"""Removes what the ledger has written down as to be removed, and strikes it out when it is gone for good."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.adapters.durable import remove_folder, sync_folder
from gateway.adapters.errors import Away, OutsideError
from gateway.adapters.objects import ObjectStore
from gateway.files.locks import DataLocks
from gateway.ledger.records import RemovalRow
from gateway.ledger.removals import Gone, is_to_be_removed, removals_of, strike_out
from gateway.ledger.store import Ledger

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""So many are struck out in one transaction."""


class Remover:
    """Removes files, folders and objects.

    Parameters
    ----------
    locks
        Those of whoever moves files to their places.
    copies
        Stores that may have copies of whole folders of `objects`.
    """

    def __init__(
        self,
        ledger: Ledger,
        data_dir: Path,
        objects: ObjectStore,
        locks: DataLocks,
        copies: Sequence[ObjectStore] = (),
    ) -> None:
        self._ledger = ledger
        self._data_dir = data_dir
        self._objects = objects
        self._locks = locks
        self._copies = copies
        self.complaint = ""
        """Why something is still here that is to be removed; empty when all is well."""

    def remove(self, is_stopping: Callable[[], bool]) -> None:
        """Remove all that is written down; what cannot be removed now stays there, and is tried again."""
        complaints = [
            self._remove_all(Gone.FILE, self._remove_files, is_stopping),
            self._remove_all(Gone.FOLDER, self._remove_folders, is_stopping),
            self._remove_all(Gone.OBJECTS, self._remove_objects, is_stopping),
        ]
        self.complaint = "; ".join(filter(None, complaints))

    def _remove_all(
        self,
        kind: Gone,
        remove_some: Callable[[Sequence[RemovalRow], list[int]], str],
        is_stopping: Callable[[], bool],
    ) -> str:
        """Remove everything of one kind; why something of it stays, in a sentence."""
        after, complaint = 0, ""
        while not is_stopping() and (rows := removals_of(self._ledger, kind, after, AT_ONCE)):
            gone: list[int] = []
            try:
                complaint = remove_some(rows, gone) or complaint
            except Away as error:  # nor would the others be removed
                complaint = str(error)
                break
            finally:
                with self._ledger.transaction() as transaction:
                    strike_out(transaction, kind, gone)
            after = rows[-1].number
        if complaint:
            log.warning("not_removed", kind=kind, reason=complaint)
        return complaint

    def _remove_files(self, rows: Sequence[RemovalRow], gone: list[int]) -> str:
        """Each under its lock: one that has come again meanwhile is struck out, and stays."""
        removed: list[RemovalRow] = []
        complaint = ""
        for row in rows:
            try:
                with self._locks.of(row.name):
                    if is_to_be_removed(self._ledger, row):
                        (self._data_dir / row.name).unlink(missing_ok=True)
                removed.append(row)
            except OSError as error:
                complaint = _sentence("file", error)
        for folder in {(self._data_dir / row.name).parent for row in removed}:
            if folder.is_dir():
                sync_folder(folder)
            if folder.parent != self._data_dir:  # a study's own
                with suppress(OSError):  # something else lies there
                    folder.rmdir()
        gone.extend(row.number for row in removed)
        return complaint

    def _remove_folders(self, rows: Sequence[RemovalRow], gone: list[int]) -> str:
        complaint = ""
        for row in rows:
            try:
                remove_folder(self._data_dir / row.name)
                gone.append(row.number)
            except OSError as error:
                complaint = _sentence("folder", error)
        return complaint

    def _remove_objects(self, rows: Sequence[RemovalRow], gone: list[int]) -> str:
        complaint = ""
        for row in rows:
            try:
                for store in (self._objects, *(self._copies if row.name.endswith("/") else ())):
                    store.remove(row.name)
                gone.append(row.number)
            except Away:
                raise
            except OutsideError as error:
                complaint = str(error)
        return complaint


def _sentence(what: str, error: OSError) -> str:
    why = os.strerror(error.errno) if error.errno else "an error"
    return f"a {what} that is to be removed cannot be ({why}); look at the disk and at who may write there"
