"""The mirror: what of the ledger is shown elsewhere, nothing of a patient, and the worker that ships it."""
