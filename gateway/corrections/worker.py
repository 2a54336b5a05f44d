"""Looks at segmentations that came in: which is a correction of a result of ours, and how far it differs.

Reading one may take seconds, so it is nothing for the listener: that stores it as it stores all else, and a
row of the ledger says that it waits to be looked at. Everything is read anew at each try and written in one
transaction, so a kill anywhere loses nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from converter.edited.origin import Origin, read_origin
from gateway.events import AssociationClosed, Bus, Event, JobChanged, StudyChanged
from gateway.files.kept import FilesLost, is_there
from gateway.files.workplace import Workplace
from gateway.ledger.corrections import (
    Link,
    SourceResults,
    compared,
    keep_waiting,
    not_a_correction,
    refused,
    source_results,
    waiting_corrections,
)
from gateway.ledger.instances import current_instance
from gateway.ledger.records import CorrectionRow, StudyRow
from gateway.ledger.states import JobState, StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow, Transaction
from gateway.workers.attempts import Blame, fault_of
from gateway.workers.worker import Worker

from .comparing import Comparison, compare_with_ours
from .linking import Found, Proof, find_source

log = structlog.get_logger(__name__)

PAUSE_S: Final = 5.0
"""After a fault of the machine."""

Situation = tuple[object, ...]
"""What a look depends on: while it is the same, another look would find the same."""


class Corrections(Worker):
    """Links and compares what waits.

    Parameters
    ----------
    key_of
        The opaque key of a correction, by its SOP Instance UID.
    """

    def __init__(self, ledger: Ledger, bus: Bus, workplace: Workplace, key_of: Callable[[str], str]) -> None:
        super().__init__("corrections", bus)
        self._ledger = ledger
        self._workplace = workplace
        self._key_of = key_of
        self._looked_at: dict[str, Situation] = {}

    def is_woken_by(self, event: Event) -> bool:
        """Whether a segmentation may have come, or what it was made of."""
        match event:
            case AssociationClosed() | StudyChanged():
                return True
            case JobChanged(state=state):
                return state in (JobState.ENCODED, JobState.DELIVERED)
        return False

    def work(self) -> float | None:
        """Look at each that may be found to be more than at the last look."""
        waiting = waiting_corrections(self._ledger)
        uids = {row.sop_instance_uid for row in waiting}
        self._looked_at = {uid: was for uid, was in self._looked_at.items() if uid in uids}
        self.trouble = ""
        for row in waiting:
            if self.is_stopping:
                return None
            study = self._study(row)
            if study is None:  # forgotten meanwhile
                continue
            results = source_results(self._ledger, row.study_uid)
            situation = (study, *(job.state for job in results.jobs))
            if self._looked_at.get(row.sop_instance_uid) == situation:
                continue
            with self.at("a segmentation that came in", study_key=study.study_key):
                trouble = self._take(row, study, results)
            if trouble:
                self.trouble = trouble
                self.pause(PAUSE_S)
                return None
            self._looked_at[row.sop_instance_uid] = situation
        return None

    def _study(self, row: CorrectionRow) -> StudyRow | None:
        rows = self._ledger.read("SELECT * FROM studies WHERE study_uid = ?", (row.study_uid,))
        return StudyRow.of(rows[0]) if rows else None

    def _take(self, row: CorrectionRow, study: StudyRow, results: SourceResults) -> str:
        """Look at one; what is wrong with the machine, in a sentence, where that stands in the way."""
        found: Found | None = None
        try:
            path = self._path(row)
            if path is None:
                return ""
            origin = read_origin(path)
            found = find_source(origin, results, self._ledger, self._workplace.data_dir)
            if found is None:
                self._leave(row, study, results)
            else:
                self._compare(row, path, origin, found)
        except StaleRow:
            log.info("correction_moved_meanwhile")
        except Exception as error:
            fault = fault_of(error, "comparing a correction")
            if fault.blame is not Blame.WORK and not fault.is_counted:
                return fault.sentence
            if fault.is_defect:
                log.exception("correction_failed")
            self._refuse(row, found, fault.sentence)
        return ""

    def _path(self, row: CorrectionRow) -> Path | None:
        """Where it lies; None where it does not: lost, and waited for, or not kept any more."""
        instance = current_instance(self._ledger, row.sop_instance_uid)
        if instance is None or instance.removed_at is not None:
            if row.job_key is not None:  # known, and what it was compared with is gone too
                return None
            self._write(lambda transaction: not_a_correction(transaction, row))
            return None
        data_dir = self._workplace.data_dir
        return data_dir / instance.path if is_there(data_dir, instance) else None

    def _leave(self, row: CorrectionRow, study: StudyRow, results: SourceResults) -> None:
        """Nothing of ours is known that it was made of: it waits while something may come of its study."""
        if study.state is not StudyState.RECEIVING and not results.may_grow:
            self._write(lambda transaction: not_a_correction(transaction, row))

    def _compare(self, row: CorrectionRow, path: Path, origin: Origin, found: Found) -> None:
        link = self._link(row, found)
        try:
            comparison = compare_with_ours(path, origin, found.source, self._workplace)
        except FilesLost as lost:
            if found.proof is Proof.NONE:
                sentence = str(lost)
                self._write(lambda transaction: keep_waiting(transaction, row, link, sentence))
            return
        if not found.is_proved_by(comparison.edited):
            self._write(lambda transaction: not_a_correction(transaction, row))
            return
        self._record(row, link, comparison)

    def _record(self, row: CorrectionRow, link: Link, comparison: Comparison) -> None:
        self._write(lambda transaction: compared(transaction, row, link, comparison.structures))
        log.info("correction_compared", job_key=link.job_key, structures=len(comparison.structures))

    def _refuse(self, row: CorrectionRow, found: Found | None, sentence: str) -> None:
        """It cannot be read, and is kept: with its sentence where it is known to be a correction."""
        if found is None or found.proof is not Proof.NONE:
            self._write(lambda transaction: not_a_correction(transaction, row))
            return
        link = self._link(row, found)
        self._write(lambda transaction: refused(transaction, row, link, sentence))
        log.warning("correction_unreadable", job_key=link.job_key, reason=sentence)

    def _link(self, row: CorrectionRow, found: Found) -> Link:
        return Link(self._key_of(row.sop_instance_uid), found.source.job.job_key, found.evidence)

    def _write(self, change: Callable[[Transaction], None]) -> None:
        with self._ledger.transaction() as transaction:
            change(transaction)
