"""What was read from a connection and not taken yet; a read takes what is there, and more than was asked for.

Each read lets threads of other associations take turns, so there are as few as may be: one for the beginning
of a PDU with what follows it, and where that was not all of it one that waits for the rest.
"""

import time
from collections.abc import Callable

from .guard import NOT_SPECIFIED, Refused


class Inbox:
    """It.

    Parameters
    ----------
    first
        Was read already.
    room_bytes
        Of its buffer, which grows where more is asked for.
    receive
        Reads into a buffer: what is there, or until it is full; gives how much, 0 where there is no more.
    """

    def __init__(self, first: bytes, room_bytes: int, receive: Callable[[memoryview, bool], int]) -> None:
        self._receive = receive
        self._room = memoryview(bytearray(max(room_bytes, len(first))))
        self._room[: len(first)] = first
        self._begin, self._end = 0, len(first)

    def __len__(self) -> int:
        return self._end - self._begin

    def look(self, length: int, give_up_at: float, expected: int = 0) -> memoryview | None:
        """So many bytes, which stay; good until the next look. None: the connection is closed before that.

        Parameters
        ----------
        give_up_at
            By `time.monotonic`.
        expected
            So much may come at once.

        Raises
        ------
        Refused
            They came too slowly.
        OSError
        """
        self._make_room(length)
        while (missing := length - len(self)) > 0:
            is_first = not len(self)
            wanted = max(missing, expected) if is_first else missing
            received = self._receive(self._room[self._end : self._end + wanted], not is_first)
            if not received:
                return None
            self._end += received
            if received < missing and time.monotonic() > give_up_at:
                raise Refused(NOT_SPECIFIED, "a PDU came too slowly")
        return self._room[self._begin : self._begin + length]

    def take(self, length: int) -> None:
        """Of what is there so much is taken."""
        self._begin += length

    def clear(self) -> None:
        """All of it is thrown away."""
        self._begin = self._end

    def _make_room(self, length: int) -> None:
        if not len(self):
            self._begin = self._end = 0
        if self._begin + length <= len(self._room):
            return
        kept = self._room[self._begin : self._end]
        room = self._room if length <= len(self._room) else memoryview(bytearray(length))
        room[: len(kept)] = kept
        self._room, self._begin, self._end = room, 0, len(kept)
