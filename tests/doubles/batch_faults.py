"""What the Batch double does wrong when it is told to: one-shot, the next n, or until it is told to stop."""

import threading
from dataclasses import dataclass
from enum import StrEnum

ANY = "*"


class Harm(StrEnum):
    """What happens to a request."""

    REFUSED = "refused"
    """It is answered with an error and has no effect."""
    ANSWER_LOST = "answer lost"
    """It takes effect, and the connection is closed instead of an answer."""
    REQUEST_LOST = "request lost"
    """The connection is closed, and it has no effect."""
    TAKEN_AND_500 = "taken and 500"
    """It takes effect, and is answered with a server error all the same."""


@dataclass(frozen=True)
class Refusal:
    """An error as AWS sends it."""

    code: str
    status: int
    message: str = ""


THROTTLED = Refusal("ThrottlingException", 429, "Rate exceeded")
SERVER_ERROR = Refusal("ServerException", 500, "Internal failure")
EXPIRED = Refusal("ExpiredTokenException", 403, "The security token included in the request is expired")


@dataclass
class Fault:
    """One fault of an operation; `times` counts down, None is for ever."""

    operation: str
    harm: Harm
    refusal: Refusal = SERVER_ERROR
    times: int | None = 1


class Faults:
    """The faults that are due, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Plan one."""
        with self._lock:
            self._faults.append(fault)

    def clear(self, operation: str = ANY) -> None:
        """Forget those of an operation, or all."""
        with self._lock:
            self._faults = [fault for fault in self._faults if operation not in (ANY, fault.operation)]

    def take(self, operation: str) -> Fault | None:
        """The fault that strikes this request, used up by one."""
        with self._lock:
            for fault in self._faults:
                if fault.operation in (operation, ANY):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times == 0:
                            self._faults.remove(fault)
                    return fault
        return None
