"""How many objects came, how long they were, and what was answered."""

import threading
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from gateway.adapters.measures import Figure

from .statuses import CANNOT_UNDERSTAND, KEPT_ASIDE, OUT_OF_RESOURCES, SUCCESS

_COMMON = (SUCCESS, KEPT_ASIDE, CANNOT_UNDERSTAND, OUT_OF_RESOURCES)
"""They stand there with 0 from the start: Prometheus sees no increase in what was not there before."""


class By(StrEnum):
    """How an object came."""

    C_STORE = "c-store"
    STOW = "stow-rs"


class Answered:
    """Counts since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers = Counter({(by, status): 0 for by in By for status in _COMMON})
        self._bytes: Counter[By] = Counter(dict.fromkeys(By, 0))

    def tell(self, by: By, status: int, size_bytes: int) -> None:
        """Count one object that came whole, and the status that it was answered with."""
        with self._lock:
            self._answers[by, status] += 1
            self._bytes[by] += size_bytes

    def figures(self) -> Sequence[Figure]:
        """What is measured of it, for the metrics."""
        with self._lock:
            return [
                *(
                    Figure(
                        "iris_instances_received_total",
                        "Objects that came whole, by the status of their answer (hexadecimal).",
                        number,
                        {"by": by, "status": f"{status:04X}"},
                    )
                    for (by, status), number in sorted(self._answers.items())
                ),
                *(
                    Figure(
                        "iris_received_bytes_total", "Bytes of objects that came whole.", number, {"by": by}
                    )
                    for by, number in self._bytes.items()
                ),
            ]
