"""What every receiver can do."""

from typing import Final, Protocol

from ..message import Message

SILENT_S: Final = 5.0
"""A receiver that says nothing for so long is tried again later."""
TEST: Final = "`iris notify test` tries it"


class Receiver(Protocol):
    """Can be told something; neither its name nor what it raises holds a secret."""

    def tell(self, message: Message) -> None:
        """Hand a message over, under its key.

        Raises
        ------
        OutsideError
            It has not arrived, or that is not known.
        """
        ...

    def check(self) -> str:
        """Find out, without telling anything, whether it can be told; what was found.

        Raises
        ------
        OutsideError
            It cannot.
        """
        ...
