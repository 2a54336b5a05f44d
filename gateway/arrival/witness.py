"""What completeness asks whoever knows which instances a study has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.ledger.named import standing_of
from gateway.ledger.records import StudyRow
from gateway.ledger.store import Ledger


@dataclass(frozen=True)
class Testimony:
    """What is known of a study as it is now.

    Parameters
    ----------
    missing
        How many instances of the series that came are still to come.
    is_everything
        Whether it is sure enough that nothing is, that nobody has to wait any longer.
    """

    missing: int
    is_everything: bool


class Witness(Protocol):
    """Knows of lists of instances that somebody named."""

    def says(self, study: StudyRow) -> Testimony | None:
        """What is known; None where nothing is, and other evidence decides. It answers at once."""


class NamedInstances:
    """A witness: the lists that came by storage commitment requests and availability notices."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def says(self, study: StudyRow) -> Testimony | None:
        """What is known; that it is everything only where nothing came that no list names."""
        standing = standing_of(self._ledger, study.study_uid)
        if standing is None:
            return None
        return Testimony(standing.missing, not standing.missing and standing.are_all_named)


class Witnesses:
    """Several of them as one."""

    def __init__(self, witnesses: Sequence[Witness]) -> None:
        self._witnesses = witnesses

    def says(self, study: StudyRow) -> Testimony | None:
        """What is missed by who misses most; that it is everything where one says so and none misses any."""
        said = [told for witness in self._witnesses if (told := witness.says(study)) is not None]
        if not said:
            return None
        missing = max(told.missing for told in said)
        return Testimony(missing, not missing and any(told.is_everything for told in said))
