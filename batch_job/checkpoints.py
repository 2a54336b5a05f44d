"""Finished parts of a run, kept under `checkpoint/` for the next attempt.

Beside each part lies a record that says of what it is a part: only the same input, request and engine take it
up again. The record is written after the part, so that half a part has none.
"""

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from .contract import CHECKPOINT_NAME, EngineInfo, JobRequest
from .place import JobPlace, file_sha256

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


class _Record(BaseModel):
    """What a part belongs to, and its bytes."""

    work: str
    sha256: str


class PlaceCheckpoints:
    """Parts of one piece of work at its place.

    Parameters
    ----------
    scratch
        A folder for parts that are brought here.
    finishing_first
        Holds off an interruption while a part is written.
    """

    def __init__(
        self,
        place: JobPlace,
        work: str,
        scratch: Path,
        finishing_first: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._place = place
        self._work = work
        self._scratch = scratch
        self._finishing_first = finishing_first

    def get(self, name: str) -> Path | None:
        """A part that an earlier attempt at the same work finished, with the bytes it had then; read only."""
        try:
            record = _Record.model_validate_json(self._place.get(_path(name) + ".record") or b"")
        except ValidationError:
            return None
        if record.work != self._work:
            return None
        found = self._place.fetch(_path(name), self._scratch)
        return found.path if found is not None and found.sha256 == record.sha256 else None

    def put(self, name: str, path: Path) -> None:
        """Keep a finished part; it is durable on return.

        Raises
        ------
        OSError, ComeBackLater
        """
        record = _Record(work=self._work, sha256=file_sha256(path))
        with self._finishing_first():
            self._place.put(_path(name), path)
            self._place.put(_path(name) + ".record", record.model_dump_json().encode())


def identity_of_work(request: JobRequest, engine: EngineInfo) -> str:
    """A digest of all that decides what comes out: input, task, options, engine."""
    content = request.model_dump_json(exclude={"job_key"}) + engine.model_dump_json()
    return hashlib.sha256(content.encode()).hexdigest()


def _path(name: str) -> str:
    if _NAME.fullmatch(name) is None or name.endswith(".record"):
        raise ValueError("a checkpoint has a plain name")
    return f"{CHECKPOINT_NAME}/{name}"
