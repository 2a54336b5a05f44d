"""Corrections as the API shows them, made of ledger rows; the shapes are those of `gateway.api.models`."""

from typing import Any

from gateway.ledger.records import CorrectedStructure, CorrectionRow


def shown(row: CorrectionRow) -> dict[str, Any]:
    """One correction of a job."""
    return {
        "key": row.key,
        "state": row.state.value,
        "evidence": row.evidence,
        "reason": row.sentence,
        "received": row.received_at,
        "structures": [shown_structure(structure) for structure in row.structures],
    }


def shown_structure(structure: CorrectedStructure) -> dict[str, Any]:
    """One structure before and after."""
    return {**structure.model_dump(), "change_ml": structure.change_ml}
