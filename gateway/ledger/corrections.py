"""Corrections in the ledger: segmentations that came in and are edited results of ours; how far they differ.

Each segmentation waits to be looked at from the transaction on that stores it. What turns out to be somebody
else's has no row any more: it is an instance that is of no use here. A correction never moves its job.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .records import CorrectedStructure, CorrectionRow, JobRow, ResultObjectRow, utc_now
from .states import JOB_OPEN, CorrectionEvent, CorrectionState, JobState, next_correction_state
from .store import Ledger
from .transaction import StaleRow, Transaction

SEGMENTATIONS: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""The SOP classes: of bits, and of label maps."""
WHY_NOT_INPUT: Final = "a correction of a result of this software"


class Evidence(StrEnum):
    """By what a segmentation is known as a correction, the strongest first."""

    REFERENCE = "reference"  # it names our object, or stands in its series
    TRACKING = "tracking"  # its segments have our tracking UIDs
    EQUIPMENT = "equipment"  # it names this software among what contributed
    LABELS = "labels"  # it is of our images, and its segments have our names or codes


@dataclass(frozen=True)
class Link:
    """What a correction was made of."""

    key: str
    job_key: str
    evidence: Evidence


@dataclass(frozen=True)
class SourceResults:
    """The jobs of a study and the objects that were made of them, the newest first, and their corrections."""

    jobs: tuple[JobRow, ...]
    objects: tuple[ResultObjectRow, ...]
    corrections: Mapping[str, str]
    """SOP Instance UIDs of what is known as a correction, each with its job."""

    @property
    def may_grow(self) -> bool:
        """Whether more results may come of it."""
        return any(job.state in JOB_OPEN - {JobState.ENCODED} for job in self.jobs)


def expect_correction(transaction: Transaction, sop_instance_uid: str, study_uid: str) -> None:
    """Let a segmentation that just came, or came again, wait to be looked at."""
    known = _known(transaction, sop_instance_uid)
    if known is None:
        transaction.insert(
            "corrections",
            {
                "sop_instance_uid": sop_instance_uid,
                "study_uid": study_uid,
                "state": CorrectionState.WAITING,
                "received_at": utc_now(),
            },
        )
        return
    state = next_correction_state(known.state, CorrectionEvent.CAME_AGAIN)
    transaction.update("corrections", "sop_instance_uid", sop_instance_uid, {"state": state})


def compared(
    transaction: Transaction, row: CorrectionRow, link: Link, structures: Sequence[CorrectedStructure]
) -> None:
    """Record how far a correction differs.

    Raises
    ------
    StaleRow
        It is gone, or was looked at meanwhile; so is its job.
    """
    values = [structure.dice for structure in structures if structure.dice is not None]
    mean = round(sum(values) / len(values), 4) if values else None
    detail = {"structures": len(values), **({} if mean is None else {"mean_dice": mean})}
    listed = [structure.model_dump() for structure in structures]
    _settle(transaction, row, link, CorrectionEvent.COMPARED, {"sentence": "", "structures": listed})
    transaction.step("job.corrected", transaction.job(link.job_key), evidence=link.evidence, **detail)


def refused(transaction: Transaction, row: CorrectionRow, link: Link, sentence: str) -> None:
    """Record that a correction cannot be compared, and why; raises as `compared` does."""
    _settle(transaction, row, link, CorrectionEvent.REFUSED, {"sentence": sentence, "structures": []})
    transaction.step(
        "job.correction_unreadable", transaction.job(link.job_key), evidence=link.evidence, why=sentence
    )


def keep_waiting(transaction: Transaction, row: CorrectionRow, link: Link, sentence: str) -> None:
    """Record what a segmentation is a correction of, and for what its comparison waits."""
    if (row.key, row.job_key, row.sentence) != (link.key, link.job_key, sentence):
        _write(transaction, row, link, {"sentence": sentence})


def not_a_correction(transaction: Transaction, row: CorrectionRow) -> None:
    """Forget a segmentation that is somebody else's; its instance stays what it is."""
    transaction.execute(
        "DELETE FROM corrections WHERE sop_instance_uid = ? AND state = ?",
        (row.sop_instance_uid, CorrectionState.WAITING),
    )


def _settle(
    transaction: Transaction,
    row: CorrectionRow,
    link: Link,
    event: CorrectionEvent,
    columns: Mapping[str, object],
) -> None:
    known = _known(transaction, row.sop_instance_uid)
    if known is None or known.state is not row.state:
        raise StaleRow("no such correction waits")
    state = next_correction_state(known.state, event)
    _write(transaction, row, link, {"state": state, **columns})
    _say_why_no_input(transaction, row)


def _write(transaction: Transaction, row: CorrectionRow, link: Link, columns: Mapping[str, object]) -> None:
    transaction.update(
        "corrections",
        "sop_instance_uid",
        row.sop_instance_uid,
        {"key": link.key, "job_key": link.job_key, "evidence": link.evidence, **columns},
    )


def _say_why_no_input(transaction: Transaction, row: CorrectionRow) -> None:
    """With the instance, and with its series where that was decided already."""
    was = transaction.one(
        "SELECT series_uid, why_not FROM instances WHERE sop_instance_uid = ? AND is_current = 1",
        (row.sop_instance_uid,),
    )
    if was is None:
        return
    transaction.execute(
        "UPDATE instances SET why_not = ? WHERE sop_instance_uid = ?", (WHY_NOT_INPUT, row.sop_instance_uid)
    )
    transaction.execute(
        "UPDATE volumes SET why = ? WHERE study_uid = ? AND series_uid = ? AND why = ? AND job_key IS NULL",
        (WHY_NOT_INPUT, row.study_uid, was["series_uid"], was["why_not"]),
    )


def _known(transaction: Transaction, sop_instance_uid: str) -> CorrectionRow | None:
    row = transaction.one("SELECT * FROM corrections WHERE sop_instance_uid = ?", (sop_instance_uid,))
    return CorrectionRow.of(row) if row is not None else None


# -- reading ------------------------------------------------------------------------------------------------


def waiting_corrections(ledger: Ledger) -> list[CorrectionRow]:
    """What is to be looked at, the first that came first."""
    rows = ledger.read(
        "SELECT * FROM corrections INDEXED BY corrections_waiting WHERE state = 'waiting'"
        " ORDER BY received_at"
    )
    return [CorrectionRow.of(row) for row in rows]


def source_results(ledger: Ledger, study_uid: str) -> SourceResults:
    """What a segmentation of this study may have been made of."""
    jobs = ledger.read("SELECT * FROM jobs WHERE study_uid = ? ORDER BY created_at DESC", (study_uid,))
    objects = ledger.read(
        "SELECT o.* FROM jobs j CROSS JOIN result_objects o USING (job_key) WHERE j.study_uid = ?"
        " ORDER BY o.made_at DESC",
        (study_uid,),
    )
    known = ledger.read(
        "SELECT sop_instance_uid, job_key FROM corrections WHERE study_uid = ? AND job_key IS NOT NULL",
        (study_uid,),
    )
    return SourceResults(
        tuple(JobRow.of(row) for row in jobs),
        tuple(ResultObjectRow.of(row) for row in objects),
        {row["sop_instance_uid"]: row["job_key"] for row in known},
    )


def corrections_of_studies(ledger: Ledger, study_uids: Sequence[str]) -> Mapping[str, list[CorrectionRow]]:
    """The corrections of all jobs of these studies, by job, the latest first."""
    rows = ledger.read(
        "SELECT * FROM corrections WHERE study_uid IN (SELECT value FROM json_each(?))"
        " AND job_key IS NOT NULL ORDER BY received_at DESC",
        (json.dumps(list(study_uids)),),
    )
    found = defaultdict[str, list[CorrectionRow]](list)
    for row in rows:
        found[row["job_key"]].append(CorrectionRow.of(row))
    return found


def corrections_of(ledger: Ledger, job_key: str) -> list[CorrectionRow]:
    """The corrections of a job, the latest first."""
    rows = ledger.read("SELECT * FROM corrections WHERE job_key = ? ORDER BY received_at DESC", (job_key,))
    return [CorrectionRow.of(row) for row in rows]


def studies_of_corrections(ledger: Ledger, key: str) -> list[str]:
    """The Study Instance UIDs of the corrections whose keys begin so; two where it is unclear which."""
    rows = ledger.read(
        "SELECT DISTINCT study_uid FROM corrections WHERE key >= ? AND key < ? LIMIT 2",
        (key, f"{key}\U0010ffff"),
    )
    return [row["study_uid"] for row in rows]
