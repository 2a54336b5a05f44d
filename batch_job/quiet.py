"""Warnings and exceptions that nobody caught, as lines of JSON without their words, which may hold values."""

import json
import sys
import threading
import traceback
import warnings
from typing import Any

_PLACES = 8


def quieten_python() -> None:
    """Take them over, in this process."""
    warnings.showwarning = _on_warning
    sys.excepthook = lambda kind, error, places: write_failure(error)
    threading.excepthook = lambda failed: write_failure(failed.exc_value)


def write_failure(error: BaseException | None) -> None:
    """Write the kind of an exception and the places that it went through to standard error."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-_PLACES:]]
    _write(event="failed", error=type(error).__qualname__, places=places)


def _on_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    place = f"{filename.rpartition('/')[2]}:{lineno}"
    _write(event="warning", category=category.__qualname__, place=place)


def _write(**content: object) -> None:
    sys.stderr.write(json.dumps(content) + "\n")
