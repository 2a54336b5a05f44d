"""How many associations may be open at once; who is admitted takes a place."""

import threading


class Places:
    """How many associations may be open; an admitted one takes a place until it has ended."""

    def __init__(self, number: int) -> None:
        self._free = self.number = number
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are open."""
        return self.number - self._free

    def take(self) -> bool:
        """Take one; False where there is none."""
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """The association has ended."""
        with self._lock:
            self._free += 1
