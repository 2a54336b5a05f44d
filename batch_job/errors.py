"""Why a run ends without a result; each is one sentence without patient data, and has its exit code.

BadInput          the request or the input cannot be used; no retry helps    2
ComeBackLater     busy, full, unreachable: another time, or elsewhere        75
NotSetUp          the engine lacks weights or a licence: a person's work     78
OwnedByAnother    another Batch job works on this run; nothing is left over  0
MemoryError       memory ran out                                             75
OSError           the job folder failed                                      75
WrongResult       the engine gave what is no label map of the image          70
whatever else     a defect                                                   70
"""

from .contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
)


class BadInput(Exception):
    """The input cannot be segmented; one sentence without patient data."""


class ComeBackLater(Exception):
    """What the job needs is not to be had now; one sentence with the way out."""


class FolderBusy(ComeBackLater):
    """Another run works in the job folder."""


class NotSetUp(Exception):
    """The engine cannot work as it is installed; one sentence that says what to do."""


class WrongResult(Exception):
    """What the engine gave cannot be a result; one sentence that says why."""


class OwnedByAnother(Exception):
    """Another Batch job claimed this run first."""


def meaning_of(error: BaseException) -> tuple[int, str]:
    """What a run that ends with this error ends with: its exit code, and why in one sentence."""
    match error:
        case BadInput():
            return EXIT_BAD_INPUT, str(error)
        case NotSetUp():
            return EXIT_NOT_SET_UP, str(error)
        case WrongResult():
            return EXIT_SOFTWARE_ERROR, str(error)
        case ComeBackLater():
            return EXIT_TRANSIENT, str(error)
        case OwnedByAnother():
            return EXIT_DONE, str(error)
        case MemoryError():
            return EXIT_TRANSIENT, "memory ran out; give the job more, or run fewer at once"
        case OSError():
            return EXIT_TRANSIENT, f"the job folder failed: {error.strerror or type(error).__name__}"
        case _:
            return EXIT_SOFTWARE_ERROR, f"a defect in the job or its engine ({type(error).__name__})"
