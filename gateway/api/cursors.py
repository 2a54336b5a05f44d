"""Cursors of lists: opaque to whoever gets them, and right while rows come in.

A cursor names the last item of a page by what never changes of it: its time, and its opaque key.
"""

import base64
import json
from typing import Final

from gateway.ledger.ordering import Order, Place, Sort

_DIGITS: Final = 18
"""Of a number that the ledger can hold."""


class BadCursor(ValueError):
    """A cursor that no list gave."""

    def __init__(self) -> None:
        super().__init__("cursor is none that this list gave; leave it out to start at the beginning")


def write_cursor(at: str, key: str) -> str:
    """The cursor after the item with this time and key."""
    return base64.urlsafe_b64encode(json.dumps([at, key]).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[str, str]:
    """The time and key behind a cursor.

    Raises
    ------
    BadCursor
    """
    try:
        at, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        json.dumps([at, key], ensure_ascii=False).encode()  # half a character is no text
    except (ValueError, TypeError):
        raise BadCursor from None
    if not isinstance(at, str) or not isinstance(key, str):
        raise BadCursor
    return at, key


def write_place(place: Place, order: Order) -> str:
    """The cursor after this place in an order of studies."""
    if order == Order():
        return write_cursor(str(place.value), place.study_key)
    return write_cursor(f"{_named(order)}{place.rank} {place.value}", place.study_key)


def read_place(cursor: str, order: Order) -> Place:
    """The place behind a cursor of that order.

    Raises
    ------
    BadCursor
        It is of another order, too.
    """
    at, key = read_cursor(cursor)
    if order == Order():
        return Place(at, key)
    rank, _, value = at.removeprefix(_named(order)).partition(" ")
    if not at.startswith(_named(order)) or not rank.isdecimal():
        raise BadCursor
    if order.by is not Sort.IMAGES:
        return Place(value, key, int(rank))
    if not value.isdecimal() or len(value) > _DIGITS:
        raise BadCursor
    return Place(int(value), key)


def _named(order: Order) -> str:
    return f"{order.by} {'desc' if order.is_descending else 'asc'} "
