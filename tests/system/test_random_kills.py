"""Killed at random instants under load, the gateway loses nothing, repeats nothing in the PACS, and ends all.

`IRIS_KILLS` says how often (200), `IRIS_KILLS_SEED` repeats the instants of a run that failed, and
`IRIS_KILLS_PAGE` names a page whose figures are written anew.
"""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from pydicom import dcmread

from benchmarks.outcome import machine
from gateway.files.names import LEDGER_NAME
from tests.quick_start import IRIS, quick_python

from .random_kills import NOTHING, STARTING, WORK, WRITING, Figures, Killer, Senders

KILLS = int(os.environ.get("IRIS_KILLS", "200"))
SEED = int(os.environ.get("IRIS_KILLS_SEED") or random.SystemRandom().randrange(1_000_000))
PAGE = os.environ.get("IRIS_KILLS_PAGE", "")
BEGIN, END = "<!-- figures: made by tests/system/test_random_kills.py -->\n", "<!-- figures: end -->\n"


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_gateway_killed_at_random_instants_under_load_loses_and_repeats_nothing(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    print(f"IRIS_KILLS_SEED={SEED}")
    figures = Figures(SEED)
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    senders = Senders(world, write_study, tmp_path / "sent", SEED)
    killer = Killer(world, senders, _uid_of, figures)
    began = time.monotonic()
    with senders.at_work():
        killer.kill(KILLS)
    for study in senders.studies:
        world.until(study.study_uid, lambda said: said["state"] == "done")
    minutes = (time.monotonic() - began) / 60
    assert world.stop() == 0

    with closing(sqlite3.connect(world.data_dir / LEDGER_NAME)) as ledger:
        _require_every_instance(world.data_dir, ledger, senders)
        _require_every_result_once(ledger, recording_pacs, senders)
        _require_no_run_without_a_reason(ledger, figures)
        runs = dict(ledger.execute("SELECT job_key, count(*) FROM runs GROUP BY job_key"))
    assert [path for path in (world.data_dir / "incoming").rglob("*") if path.is_file()] == []
    _require_the_ledger_is_content(world)
    lines = [*_page(figures, senders, recording_pacs, runs, minutes)]
    print("\n".join(lines))
    if PAGE:
        _write_page(Path(PAGE), "\n".join(lines))


def _uid_of(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _require_every_instance(data_dir: Path, ledger: sqlite3.Connection, senders: Senders) -> None:
    """Each that was acknowledged is kept as it was sent, once."""
    acknowledged = senders.acknowledged()
    assert acknowledged == {path for study in senders.studies for path in study.paths}
    for path in acknowledged:
        sent = dcmread(path)
        rows = ledger.execute(
            "SELECT path FROM instances WHERE sop_instance_uid = ?", (sent.SOPInstanceUID,)
        ).fetchall()
        assert len(rows) == 1, path
        assert dcmread(data_dir / rows[0][0]) == sent, path


def _require_every_result_once(ledger: sqlite3.Connection, pacs: Any, senders: Senders) -> None:
    """Each study has a result of all of its images; the PACS has what the ledger says, in the same bytes."""
    for study in senders.studies:
        jobs = ledger.execute(
            "SELECT j.job_key, j.state, count(i.name) FROM jobs j LEFT JOIN job_images i USING (job_key)"
            " WHERE j.study_uid = ? GROUP BY j.job_key",
            (study.study_uid,),
        ).fetchall()
        whole = [state for _, state, images in jobs if images == len(study.paths)]
        assert whole == ["delivered"], (study.study_uid, jobs)
    sent = ledger.execute("SELECT sop_instance_uid FROM deliveries WHERE state = 'sent'").fetchall()
    assert sorted(uid for (uid,) in sent) == sorted(pacs.objects)
    assert pacs.every_send_of_an_object_had_the_same_bytes()
    unfinished = ledger.execute("SELECT state, count(*) FROM deliveries WHERE state <> 'sent' GROUP BY state")
    assert {state for state, _ in unfinished} <= {"superseded"}


def _require_no_run_without_a_reason(ledger: sqlite3.Connection, figures: Figures) -> None:
    """A job has one run, and one more for each kill while one of its runs was open."""
    rows = ledger.execute("SELECT job_key, count(*) FROM runs GROUP BY job_key").fetchall()
    assert [(key, runs) for key, runs in rows if runs > 1 + figures.open_runs[key]] == []


def _require_the_ledger_is_content(world: Any) -> None:
    config = str(world.folder / "iris.toml")
    command = [quick_python(IRIS), "-m", "gateway.cli", "ledger", "check", "--config", config]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert checked.returncode == 0, checked.stdout


def _page(
    figures: Figures, senders: Senders, pacs: Any, runs: dict[str, int], minutes: float
) -> Iterator[str]:
    on = machine()
    starts = sorted(figures.listening_s[sys.executable])
    yield (
        f"Made on {datetime.now(UTC).date()} in {minutes:.0f} minutes on {on['cpus']} cores"
        f" ({on['processor']}, {on['system']}, Python {on['python']}), seed {figures.seed}."
    )
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield f"| kills | {figures.killed} |"
    for what in (STARTING, WRITING, *WORK, NOTHING):
        yield f"| ... while {what} | {figures.kills[what]} |"
    yield f"| studies sent | {len(senders.studies)} |"
    yield f"| instances acknowledged | {len(senders.acknowledged()):,} |"
    yield f"| ... of these sent again as a whole study | {senders.again:,} |"
    yield "| ... lost | 0 |"
    yield f"| jobs | {len(runs)} |"
    yield f"| runs | {sum(runs.values())} |"
    yield f"| ... repeated, all for a kill | {sum(runs.values()) - len(runs)} |"
    yield f"| ... of one job, at most | {max(runs.values())} |"
    yield f"| result objects in the PACS | {len(pacs.objects)} |"
    yield f"| ... sent once more, same UID, same bytes | {len(pacs.sends) - len(pacs.objects)} |"
    yield (
        f"| restart, until the DICOM port was open | {median(starts):.1f} s"
        f" (longest of {len(starts)}: {starts[-1]:.1f} s) |"
    )


def _write_page(page: Path, text: str) -> None:
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{page} has no place for figures"
    assert end, f"{page} has no end of its figures"
    page.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}", encoding="utf-8")
