"""What the metrics say of studies, of kept numbers: one ledger's, or those of all gateways of a table."""

from collections.abc import Mapping
from enum import StrEnum

from batch_job.contract import FLAG_CODES
from gateway.config.arrival import ARRIVAL_CODES
from gateway.ledger.records import age_s
from gateway.ledger.states import CorrectionState, DeliveryState, JobState, StudyState

from .store import Counts

Counted = Mapping[tuple[str, str], int]
"""By kind (study, job, delivery, flag, correction, quarantine, instance) and state or code, "" for none."""


def counts_of(counted: Counted, oldest_open: str | None, disk_free_bytes: int | None = None) -> Counts:
    """Every state is there, also where its number is 0.

    Parameters
    ----------
    oldest_open
        When the oldest study was received that is receiving or processing; None: none is.
    """
    return Counts(
        studies=_by_state(counted, "study", StudyState),
        jobs=_by_state(counted, "job", JobState),
        deliveries=_by_state(counted, "delivery", DeliveryState),
        flags={code: counted.get(("flag", code), 0) for code in (*ARRIVAL_CODES, *FLAG_CODES)},
        corrections=_by_state(counted, "correction", CorrectionState),
        quarantined_objects=counted.get(("quarantine", ""), 0),
        instances_stored=counted.get(("instance", ""), 0),
        oldest_open_study_age_s=age_s(oldest_open),
        disk_free_bytes=disk_free_bytes,
    )


def _by_state(counted: Counted, kind: str, states: type[StrEnum]) -> dict[str, int]:
    return {state.value: counted.get((kind, state.value), 0) for state in states}
