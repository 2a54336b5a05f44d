"""One run of a job: fetch, segment, measure, preview, save; the manifest last."""

import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .contract import (
    LABELS_NAME,
    PREVIEW_NAME,
    PROGRESS_INTERVAL_S,
    STATISTICS_NAME,
    ContractError,
    JobRequest,
    Manifest,
    Progress,
    canonical_options,
)
from .engines import NoCheckpoints, Segmented, Work, load_engine
from .errors import BadInput
from .folder import JobFolder
from .image import Image, read_image, write_labels
from .preview import draw_preview
from .statistics import measure

SHARES = {"fetch": 0.05, "segment": 0.8, "measure": 0.03, "preview": 0.04, "save": 0.08}
"""How much of the whole each stage usually takes."""


class Reporter:
    """Writes progress.json: at once, then at most every `PROGRESS_INTERVAL_S`; never less than before."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._began = time.monotonic()
        self._told = -math.inf
        self._stage = ""
        self._fraction = 0.0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and tell of its beginning."""
        self._stage, began = name, time.monotonic()
        self.got(0.0)
        yield
        self.seconds[name] = round(time.monotonic() - began, 3)

    def got(self, share_of_stage: float) -> None:
        """Tell how far the present stage is, 0 to 1, unless something was told just now."""
        if time.monotonic() - self._told >= PROGRESS_INTERVAL_S:
            self._tell(share_of_stage)

    def _tell(self, share_of_stage: float) -> None:
        before = sum(share for name, share in SHARES.items() if name in self.seconds)
        fraction = min(1.0, before + SHARES[self._stage] * min(max(share_of_stage, 0.0), 1.0))
        self._fraction = max(self._fraction, fraction)
        now = self._told = time.monotonic()
        rest = (now - self._began) * (1 / self._fraction - 1) if self._fraction > 0.1 else None
        self._folder.tell(
            Progress(
                stage=self._stage,
                fraction=round(self._fraction, 4),
                eta_s=None if rest is None else round(rest, 1),
                at=datetime.now(UTC),
            )
        )


def run_job(folder: JobFolder, run: int) -> None:
    """Do the job in this folder, or nothing where it is done.

    Parameters
    ----------
    run
        The run's number, which becomes the manifest's `attempt`.

    Raises
    ------
    BadInput
        Request or input cannot be used.
    NotSetUp
        The engine lacks weights or a licence.
    FolderBusy, ComeBackLater
    OSError, MemoryError
    """
    with folder.locked():
        request = folder.request()
        if folder.is_done(request):
            return
        folder.forget_results()
        reporter = Reporter(folder)
        options = _checked_options(request)
        with reporter.stage("fetch"):
            source = folder.input(request)
            image = read_image(source)
        engine = load_engine(request.engine)
        with reporter.stage("segment"), tempfile.TemporaryDirectory() as scratch:
            work = Work(
                image=image,
                source=source,
                task=request.task,
                options=options,
                scratch=Path(scratch),
                checkpoints=NoCheckpoints(),
                on_progress=lambda share, what: reporter.got(share),
            )
            segmented = engine.segment(work)
        _write_outputs(folder, source, image, segmented, reporter)
        folder.finish(
            Manifest(
                job_key=request.job_key,
                outputs={name: folder.output(name) for name in (LABELS_NAME, STATISTICS_NAME, PREVIEW_NAME)},
                labels=dict(segmented.names),
                engine=engine.info,
                seconds={**reporter.seconds, **segmented.seconds},
                peak_rss_mb=round(_peak_rss_mb(), 1),
                attempt=run,
                notes=segmented.notes,
            )
        )


def _checked_options(request: JobRequest) -> dict[str, Any]:
    """The options with their defaults, of an engine and a task that there are."""
    try:
        return canonical_options(request.engine, request.task, request.options)
    except ContractError as error:
        raise BadInput(str(error)) from None


def _write_outputs(
    folder: JobFolder, source: Path, image: Image, segmented: Segmented, reporter: Reporter
) -> None:
    with reporter.stage("measure"), folder.writing(STATISTICS_NAME) as path:
        path.write_text(json.dumps(measure(image, segmented), indent=2) + "\n", encoding="utf-8")
    with reporter.stage("preview"), folder.writing(PREVIEW_NAME) as path:
        draw_preview(image, segmented, path)
    with reporter.stage("save"), folder.writing(LABELS_NAME) as path:
        write_labels(segmented.labels, source, path)


def _peak_rss_mb() -> float:
    """Peak resident memory of this process in 10^6 bytes; the system says KiB on Linux, bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024) / 1e6
