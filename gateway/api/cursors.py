"""Cursors of lists: opaque to whoever gets them, and right while rows come in.

A cursor names the last item of a page by what never changes of it: its time, and its opaque key.
"""

import base64
import json


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
