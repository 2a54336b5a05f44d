"""Why a run ends without a result; each is one sentence without patient data, and has its exit code.

BadInput          the request or the input cannot be used; no retry helps    2
ComeBackLater     busy, full, unreachable: another time, or elsewhere        75
NotSetUp          the engine lacks weights or a licence: a person's work     78
OwnedByAnother    another Batch job works on this run; nothing is left over  0
"""


class BadInput(Exception):
    """The input cannot be segmented; one sentence without patient data."""


class ComeBackLater(Exception):
    """What the job needs is not to be had now; one sentence with the way out."""


class FolderBusy(ComeBackLater):
    """Another run works in the job folder."""


class NotSetUp(Exception):
    """The engine cannot work as it is installed; one sentence that says what to do."""


class OwnedByAnother(Exception):
    """Another Batch job claimed this run first."""
