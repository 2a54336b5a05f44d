"""Asks a destination whose a study is before results go there: once for all of a study that goes at a time.

A patient may be merged or corrected in the PACS after its images came here. What cannot be asked, or does not
know the study, is sent to all the same: a PACS without C-FIND is no worse off than without this.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from gateway.adapters.errors import Away, OutsideError
from gateway.config.outputs import NOTE
from gateway.ledger.holding import is_released
from gateway.ledger.records import DeliveryRow
from gateway.ledger.results import result_object
from gateway.ledger.store import Ledger

from .carriers.carrier import Carrier, KnowsWhose, NotAskable
from .whose import Whose

log = structlog.get_logger(__name__)

TOGETHER_S: Final = 60.0
"""An answer counts for what goes of the same study one after the other within this time."""
UNANSWERED_S: Final = 600.0
"""So long a destination is left alone that failed to answer."""

ANOTHERS: Final = (
    "{destination} has this study under another {attribute} than the images that came here; send the study"
    " again from the PACS, its result then follows by itself, or release it to have it sent as it is"
)


class PatientCheck:
    """Compares objects with what one destination says.

    Parameters
    ----------
    is_wanted
        As the configuration says.
    """

    def __init__(
        self,
        carrier: Carrier,
        *,
        is_wanted: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked = carrier if is_wanted and isinstance(carrier, KnowsWhose) else None
        self._monotonic = monotonic
        self._not_before = 0.0
        self._study_uid, self._known_until = "", 0.0
        self._said: Sequence[Whose] = ()

    def differs_in(self, study_uid: str, path: Path) -> str:
        """The attribute by which a destination has the study of an object for another's; empty: none.

        Raises
        ------
        Away
            Nobody is there.
        OSError
            The object cannot be read.
        """
        was_known = self._is_known(study_uid)
        difference = self._difference(study_uid, path)
        if difference and was_known:  # it may have been corrected there since
            self.forget()
            difference = self._difference(study_uid, path)
        return difference

    def forget(self) -> None:
        """Ask anew: what went together went."""
        self._known_until = 0.0

    def _difference(self, study_uid: str, path: Path) -> str:
        said = self._answer(study_uid)
        if not said:
            return ""
        ours = Whose.of_file(path)
        differences = [ours.differs_from(one) for one in said]
        return "" if "" in differences else differences[0]

    def _is_known(self, study_uid: str) -> bool:
        return study_uid == self._study_uid and self._monotonic() < self._known_until

    def _answer(self, study_uid: str) -> Sequence[Whose]:
        now = self._monotonic()
        if self._asked is None or now < self._not_before:
            return ()
        if not self._is_known(study_uid):
            self._said = self._ask(self._asked, study_uid)
            self._study_uid, self._known_until = study_uid, self._monotonic() + TOGETHER_S
        return self._said

    def _ask(self, asked: KnowsWhose, study_uid: str) -> Sequence[Whose]:
        try:
            return asked.whose(study_uid)
        except NotAskable as refusal:
            self._asked = None  # until the next start
            log.info("destination_not_asked_for_patients", reason=str(refusal))
        except Away:
            raise
        except OutsideError as error:
            self._not_before = self._monotonic() + UNANSWERED_S
            log.warning("destination_did_not_say_whose", reason=str(error))
        return ()


def why_held(ledger: Ledger, patients: PatientCheck, delivery: DeliveryRow, path: Path) -> str:
    """Why an object is not to go to its destination, in a sentence; empty: it may.

    Raises
    ------
    Away, OSError
    """
    made = result_object(ledger, delivery.sop_instance_uid)
    if made is not None and made.output == NOTE:  # it is of whom what it rejects is of
        return ""
    attribute = patients.differs_in(delivery.study_uid, path)
    if not attribute or is_released(ledger, delivery.job_key):
        return ""
    return ANOTHERS.format(destination=delivery.destination, attribute=attribute)
