"""Standard input, output and error of a process that was started without them.

Else what is opened next, the ledger or a sender's connection, gets one of their numbers, and what anything
prints goes there.
"""

import os
import sys


def open_closed_streams() -> None:
    """Let those that are closed lead nowhere, here and in processes that are started."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
            os.set_inheritable(opened, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
