"""The course of a backfill: study after study at its pace, waiting for whoever is away.

Nothing is remembered between two runs: what is here stands in the ledger, what is missing is asked for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.adapters.dicom.peer import NotReached
from gateway.adapters.dicom.retrieval import NotAnswered
from gateway.adapters.errors import Away, Permanent

from .missing import MissingStudy
from .pace import Pace

AGAIN_S: Final = 15.0
"""Whoever is away may be back at any time."""
TRIES: Final = 3
"""Of a study that the PACS gives in part, or not at all; then it is left for another run."""
_LOOK_S: Final = 30.0
"""No sleep is longer, so that a clock that is set is noticed."""


@dataclass
class Course:
    """What is done, and how it went.

    Parameters
    ----------
    fetch
        Fetches one study.
    say
        Told in a sentence what a person should know.
    on_study
        Told how many studies are over.
    """

    fetch: Callable[[MissingStudy], object]
    pace: Pace
    say: Callable[[str], object]
    on_study: Callable[[int], object]
    fetched: int = 0
    failed: int = 0
    _said: str = field(default="", init=False)

    def run(self, studies: Sequence[MissingStudy]) -> None:
        """Fetch them one after the other."""
        for study in studies:
            while (wait := self.pace.wait())[0] > 0:
                self._sleep(*wait)
            self.pace.begin()
            if self._is_fetched(study):
                self.fetched += 1
            else:
                self.failed += 1
            self._said = ""
            self.on_study(self.fetched + self.failed)

    def _is_fetched(self, study: MissingStudy) -> bool:
        tries = 0
        while True:
            try:
                self.fetch(study)
                return True
            except (NotReached, Away) as error:
                self._sleep(AGAIN_S, f"{error}; it is waited for")
            except (NotAnswered, Permanent) as error:
                tries += 1
                if tries == TRIES:
                    self.say(f"study {study.study_uid} is left out: {error}; the same command tries it again")
                    return False

    def _sleep(self, for_s: float, why: str) -> None:
        """Say why, once, and wait."""
        if why != self._said:
            self.say(why)
            self._said = why
        time.sleep(min(for_s, _LOOK_S))
