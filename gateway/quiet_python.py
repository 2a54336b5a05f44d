"""What Python and libraries would print by themselves, as log lines without any of their words.

Their texts hold values of the header: pydicom warns of "Invalid value for VR IS: ...", a thread's traceback
ends with the exception's text. A line names the kind and the place in the code; each place warns once.
"""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

PLACES_KEPT: Final = 1000
_warned: set[tuple[str, str, int]] = set()


class _Libraries(logging.Handler):
    """Says that a library had something to say, and where its code is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it down without its message."""
        place = f"{record.filename}:{record.lineno}"
        level = logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING
        log.log(level, "library", logger=record.name, place=place, exc_info=record.exc_info)


def quieten_python() -> None:
    """Take over warnings, exceptions that nobody caught, and the logging of libraries, in this process."""
    warnings.showwarning = _on_warning
    sys.excepthook = _on_exception
    threading.excepthook = _on_thread_exception
    sys.unraisablehook = _on_unraisable
    logging.getLogger().addHandler(_Libraries(logging.WARNING))


def _on_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    seen = (category.__qualname__, filename, lineno)
    if seen in _warned or len(_warned) >= PLACES_KEPT:
        return
    _warned.add(seen)
    log.warning("warning", category=category.__qualname__, place=f"{filename.rpartition('/')[2]}:{lineno}")


def _on_exception(kind: type[BaseException], error: BaseException, places: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, places)
    else:
        log.error("failed", exc_info=error)


def _on_thread_exception(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread else ""
    log.error("thread_failed", thread=name, exc_info=failed.exc_value)


def _on_unraisable(failed: "sys.UnraisableHookArgs") -> None:
    log.error("failed", exc_info=failed.exc_value)
