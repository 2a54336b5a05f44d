"""What the ledger has of a study that a PACS has, too: for whoever fetches the rest (`iris backfill`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from .instances import BACKFILLED
from .states import StudyState
from .store import Ledger


@dataclass(frozen=True)
class Held:
    """What is here of a study.

    Parameters
    ----------
    images
        How many instances of each series are or were here, by Series Instance UID.
    is_coming
        Somebody else is sending it now.
    """

    images: Mapping[str, int]
    is_coming: bool


def held_of(ledger: Ledger, study_uid: str) -> Held:
    """Count what is here of a study."""
    rows = ledger.read(
        "SELECT series_uid, count(*) AS images, sum(sender <> ?) AS live FROM instances"
        " WHERE study_uid = ? AND is_current = 1 GROUP BY series_uid",
        (BACKFILLED, study_uid),
    )
    states = ledger.read("SELECT state FROM studies WHERE study_uid = ?", (study_uid,))
    is_receiving = any(row["state"] == StudyState.RECEIVING for row in states)
    return Held(
        {row["series_uid"]: row["images"] for row in rows}, is_receiving and any(row["live"] for row in rows)
    )


def known_uids(ledger: Ledger, study_uid: str) -> set[str]:
    """The SOP Instance UIDs of a study that need not be fetched: here, quarantined, or results of ours."""
    rows = ledger.read(
        "SELECT sop_instance_uid FROM instances WHERE study_uid = ? AND is_current = 1"
        " UNION SELECT sop_instance_uid FROM quarantine WHERE study_uid = ? AND sop_instance_uid IS NOT NULL"
        " UNION SELECT r.sop_instance_uid FROM jobs j JOIN result_objects r ON r.job_key = j.job_key"
        " WHERE j.study_uid = ?",
        (study_uid,) * 3,
    )
    return {row["sop_instance_uid"] for row in rows}


def usd_of_a_job(ledger: Ledger) -> float | None:
    """What the last hundred runs at AWS Batch cost on average, about; None where none is known."""
    rows = ledger.read(
        "SELECT json_extract(detail, '$.usd_estimate') AS usd FROM events"
        " WHERE event = 'job.segmented' AND usd IS NOT NULL ORDER BY seq DESC LIMIT 100"
    )
    costs = [float(row["usd"]) for row in rows]
    return sum(costs) / len(costs) if costs else None
