"""What completeness asks whoever knows which instances a study has."""

from dataclasses import dataclass
from typing import Protocol

from gateway.ledger.records import StudyRow


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
