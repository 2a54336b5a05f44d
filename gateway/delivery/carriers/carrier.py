"""What every carrier does: carries objects to one destination, and says whether it could."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE
from gateway.adapters.errors import Permanent
from gateway.adapters.holdings import Holdings
from gateway.config.outputs import Form
from gateway.delivery.statuses import Answer, meaning, understand
from gateway.delivery.whose import Whose
from gateway.taken import Taken

KNOWN_TO_FEW: Final = frozenset({LABEL_MAP_SEGMENTATION_STORAGE})
"""SOP classes that are not taken for granted where nobody can be asked."""


class Outcome(Enum):
    """What became of an object."""

    ARRIVED = "arrived"  # the destination has it
    AGAIN = "again"  # not this time: nothing of it is there
    UNKNOWN = "unknown"  # there was no answer, so it may be there
    REFUSED = "refused"  # a person has to change something there
    NOT_TAKEN = "not taken"  # neither has it nor will have it in this form: another one may do


@dataclass(frozen=True)
class Receipt:
    """What became of an object, with a sentence for a person."""

    outcome: Outcome
    sentence: str


def receipt_of(name: str, status: int, is_there: Callable[[], bool | None], search: str) -> Receipt:
    """What a status of C-STORE, or a reason of STOW-RS, makes of an object.

    Parameters
    ----------
    name
        The destination's.
    is_there
        Asked where it says that it has the object already; None: nobody can be asked.
    search
        By what that is asked, for the sentence.
    """
    said = f"{name} answered with {meaning(status)}"
    match understand(status):
        case Answer.ALREADY_THERE if is_there() is False:
            return Receipt(Outcome.UNKNOWN, f"{said}, but {search} does not show it")
        case Answer.STORED | Answer.ALREADY_THERE:
            return Receipt(Outcome.ARRIVED, said)
        case Answer.TRY_AGAIN:
            return Receipt(Outcome.AGAIN, f"{said}; tried again later")
        case Answer.NOT_TAKEN:
            return Receipt(Outcome.NOT_TAKEN, f"{said}; allow it there, then retry")
        case Answer.REFUSED:
            return Receipt(Outcome.REFUSED, f"{said}; settle it there, then retry")


class Carrier(Protocol):
    """Carries objects to one destination; its text names where that is."""

    def carry(self, path: Path) -> Receipt:
        """Carry a DICOM file there; the same one again is the same object.

        Raises
        ------
        Away
            Nobody is there, or has room: it would be the same with any other object now, and nothing of this
            one is there; `Unanswered` where it may be.
        OSError
            The file cannot be read.
        """
        ...

    def takes(self, forms: Collection[Form]) -> Taken:
        """Those of these forms in which an object can be left there, so that who reads it can.

        Raises
        ------
        Away
            Nobody can be asked now.
        """
        ...

    @property
    def holdings(self) -> Holdings | None:
        """Looks there for earlier results; None where nobody can be asked."""
        ...

    def check(self) -> str:
        """Look whether the destination is there and lets us in; how that showed.

        Raises
        ------
        Away
        """
        ...

    def interrupt(self) -> None:
        """Break off what is under way, for good, from another thread."""
        ...

    def __str__(self) -> str: ...


@runtime_checkable
class CarriesSome(Protocol):
    """A carrier by which several objects go at once."""

    def room_for(self, paths: Iterable[Path]) -> Sequence[Path]:
        """The first of these files, as many as go together.

        Raises
        ------
        OSError
        """
        ...

    def carry_some(self, paths: Sequence[Path]) -> Mapping[Path, Receipt]:
        """Carry these files together; what became of each that is known.

        Raises
        ------
        Away
        OSError
        """
        ...


class NotAskable(Permanent):
    """A destination says nobody whose a study is, or what it holds: it has no such service."""


@runtime_checkable
class KnowsWhose(Protocol):
    """A carrier whose destination can be asked whose a study is that it holds."""

    def whose(self, study_uid: str, *, with_images: bool = True) -> Sequence[Whose]:
        """What it says of a study; nothing of one that it does not know.

        Parameters
        ----------
        with_images
            Only where it holds images of it, not results alone.

        Raises
        ------
        NotAskable
        Away
            Nobody is there.
        Retriable
            It did not answer.
        """
        ...


@runtime_checkable
class ShowsResults(Protocol):
    """A carrier whose destination can be asked whether what was carried there is still there."""

    def missing(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Which of some instances of a study are not there; what it does not tell of counts as there.

        Parameters
        ----------
        wanted
            Series to SOP Instance UIDs.

        Raises
        ------
        NotAskable
        Away
            Nobody is there; `NotTold`: or it says something else.
        Retriable
            It did not answer.
        """
        ...


@runtime_checkable
class Removes(Protocol):
    """A carrier whose destination can be told to remove an object."""

    def remove(self, path: Path) -> Receipt:
        """Have an object that was carried there removed; arrived: it is not there any more.

        Raises
        ------
        Away, OSError
        """
        ...
