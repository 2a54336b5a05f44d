"""What is read ahead of what is asked for comes next, in its order, whatever the connection gives at once."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.listener.wire.guard import Refused
from gateway.listener.wire.inbox import Inbox

ROOM_BYTES = 64
LATER = 60.0


def giving(content: bytes, at_once: list[int]) -> Callable[[memoryview, bool], int]:
    """A connection that has so many bytes each time that somebody does not wait for all."""
    left, sizes = bytearray(content), [*at_once]

    def receive(view: memoryview, is_to_be_full: bool) -> int:
        most = len(view) if is_to_be_full or not sizes else min(len(view), sizes.pop(0))
        piece = bytes(left[:most])
        del left[:most]
        view[: len(piece)] = piece
        return len(piece)

    return receive


@given(
    st.lists(st.binary(min_size=1, max_size=100), max_size=12),
    st.lists(st.integers(1, 80), max_size=30),
    st.integers(0, 40),
    st.integers(0, ROOM_BYTES),
)
def test_pieces_come_out_as_they_went_in(
    pieces: list[bytes], at_once: list[int], already: int, expected: int
) -> None:
    content = b"".join(pieces)
    inbox = Inbox(content[:already], ROOM_BYTES, giving(content[already:], at_once))
    until = time.monotonic() + LATER
    for piece in pieces:
        head = inbox.look(1, until, expected)
        assert head == piece[:1]
        assert inbox.look(len(piece), until) == piece
        inbox.take(len(piece))
    assert inbox.look(1, until) is None


def test_what_is_longer_than_its_room_is_read_all_the_same() -> None:
    content = bytes(range(256)) * 4
    inbox = Inbox(content[:10], ROOM_BYTES, giving(content[10:], []))
    assert inbox.look(len(content), time.monotonic() + LATER) == content


def test_piece_whose_end_does_not_come_in_time_is_refused() -> None:
    inbox = Inbox(b"", ROOM_BYTES, giving(b"begun and never ended", [1, 1]))
    with pytest.raises(Refused, match="too slowly"):
        inbox.look(10, time.monotonic() - 1)


def test_nothing_is_read_where_enough_is_there() -> None:
    def receive(view: memoryview, is_to_be_full: bool) -> int:
        raise AssertionError

    inbox = Inbox(b"first second", ROOM_BYTES, receive)
    assert inbox.look(5, time.monotonic() + LATER) == b"first"
    inbox.take(6)
    assert (len(inbox), inbox.look(6, time.monotonic() + LATER)) == (6, b"second")
    inbox.clear()
    assert len(inbox) == 0
