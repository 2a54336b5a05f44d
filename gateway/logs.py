"""How the gateway logs: one line an event on standard error, with keys, never with patient data.

Texts of exceptions are left out, since libraries put values of the header into them: a trace names the type
and the places in the code only. Each line has `at`, `level` and `event`; one about a study its `study_key`:
who takes up a piece of work binds the key of its study or job to all lines of its thread, those of libraries
too (`structlog.contextvars`), and a job's study is looked up when a line names the job alone.
"""

import logging
import sys
import traceback
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, WrappedLogger

AT = "at"
"""When a line was written: ISO 8601, UTC."""


def _nobody_knows(job_key: str) -> str:
    return ""


_study_of_job: Callable[[str], str] = _nobody_knows


def name_studies_of_jobs(study_of_job: Callable[[str], str]) -> None:
    """Have each line that names a job name its study.

    Parameters
    ----------
    study_of_job
        Gives the study key; empty where it is not known.
    """
    global _study_of_job
    _study_of_job = study_of_job


def configure_logging() -> None:
    """Log as JSON lines; for people to read where standard error is a terminal."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(timestamp_key=AT)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_study,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key=AT),
            places_only,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    # Libraries say what they read: their own loggers stay quiet.
    for name in ("pynetdicom", "pydicom", "highdicom", "nibabel", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def name_study(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the key of a job's study."""
    job_key = event.get("job_key")
    if isinstance(job_key, str) and "study_key" not in event:
        try:
            study_key = _study_of_job(job_key)
        except Exception:  # the ledger's trouble, which may be what the line is about
            study_key = ""
        if study_key:
            event["study_key"] = study_key
    return event


def places_only(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and the places it went through."""
    exc_info = event.pop("exc_info", None)
    if not exc_info:
        return event
    error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__qualname__
        event["places"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-8:]]
    return event


def silence_logging() -> None:
    """Log nothing: for a command that says by itself what went wrong."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
