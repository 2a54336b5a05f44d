"""What can go wrong outside, whoever the vendor is: worth another try, or not.

::

    OutsideError
    ├── Retriable    a full disk, a network that is away, a service that asks to wait
    └── Permanent    refused for good: a person has to change something
"""


class OutsideError(Exception):
    """Something outside did not do what was asked; the text is one sentence for the operator."""


class Retriable(OutsideError):
    """The same call may succeed later."""


class Permanent(OutsideError):
    """The same call will fail again."""
