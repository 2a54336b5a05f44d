"""What can go wrong outside, whoever the vendor is: worth another try, or not.

::

    OutsideError
    ├── Retriable    a full disk, an answer that was cut off
    │   └── Away     a network, a service or a sign-in is missing: nothing is wrong with the job
    │       ├── CalledOff  this gateway stops: nothing is known of who was called
    │       └── Unanswered what was sent may have arrived all the same
    └── Permanent    refused for good: a person has to change something
"""


class OutsideError(Exception):
    """Something outside did not do what was asked; the text is one sentence for the operator."""


class Retriable(OutsideError):
    """The same call may succeed later."""


class Away(Retriable):
    """Nobody there, or nobody who lets us in: waited out, however long, and never held against a job."""


class CalledOff(Away):
    """The gateway stops, so nothing is known of who was called; that is asked again at the next start."""


class Unanswered(Away):
    """Nobody is there any more who could say what became of what was sent: it may have arrived."""


class Permanent(OutsideError):
    """The same call will fail again."""
