"""Who asks: the timeline says it of everything that a person, or a person's program, asked for."""

from contextvars import ContextVar
from typing import Final

AUTHOR: Final = ContextVar("author", default="")
"""Of the request at hand: the name of what it was let in by, and whether the page sent it."""
