"""Codes of the flags that say how a study arrived; those of results are the job's contract's."""

from typing import Final

CLOSED_BY_TIMEOUT: Final = "closed_by_timeout"
CLOSED_AFTER_ABORT: Final = "closed_after_abort"
NAMED_INSTANCES_MISSING: Final = "named_instances_missing"
RELEASED_BY_A_PERSON: Final = "released_by_a_person"
HOW_IT_ARRIVED: Final = (CLOSED_BY_TIMEOUT, CLOSED_AFTER_ABORT, NAMED_INSTANCES_MISSING)
ARRIVAL_CODES: Final = (*HOW_IT_ARRIVED, RELEASED_BY_A_PERSON)
