"""One run: its progress."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch_job import run as run_module
from batch_job.contract import PROGRESS_INTERVAL_S, STAGES, read_progress
from batch_job.folder import JobFolder
from batch_job.run import SHARES, Reporter


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(run_module, "time", made)
    return made


def test_reporter_shares_cover_the_contracts_stages() -> None:
    assert tuple(SHARES) == STAGES
    assert sum(SHARES.values()) == pytest.approx(1)


def test_reporter_tells_at_once_and_then_at_most_every_five_seconds(tmp_path: Path, clock: Clock) -> None:
    folder = JobFolder(tmp_path)
    told_at = []
    tell = folder.tell

    def counting(progress: Any) -> None:
        told_at.append(clock.now)
        tell(progress)

    folder.tell = counting  # type: ignore[method-assign]
    reporter = Reporter(folder)
    with reporter.stage("fetch"):
        clock.now += 1
    with reporter.stage("segment"):
        for step in range(40):
            clock.now += 1
            reporter.got(step / 40)
    assert told_at[0] == 100
    assert len(told_at) > 5
    assert min(np.diff(told_at)) >= PROGRESS_INTERVAL_S
    assert reporter.seconds == {"fetch": 1, "segment": 40}


def test_reporter_fraction_never_falls_and_an_end_is_foreseen(tmp_path: Path, clock: Clock) -> None:
    reporter = Reporter(JobFolder(tmp_path))
    seen = []
    with reporter.stage("fetch"):
        clock.now += 1
    with reporter.stage("segment"):
        for share in (0.1, 0.5, 0.2, 1.0, 2.0):
            clock.now += 10
            reporter.got(share)
            progress = read_progress(tmp_path)
            assert progress is not None
            seen.append(progress.fraction)
    assert seen == sorted(seen)
    assert seen[-1] <= 1
    assert progress.stage == "segment"
    assert progress.eta_s is not None
    assert progress.eta_s > 0
