"""A gateway that asks a PACS by C-FIND which images a study has: Orthanc, and one that is away."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.commands.doctor import _pacs
from gateway.config import Config
from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc

DEADLINE_S = 60.0
HOUR_S = 3600.0
NOBODY = [{"name": "none", "when": {"SeriesDescription": "no series has this"}}]
"""No job, so no engine."""


@contextmanager
def gateway_asking(pacs: Peer, folder: Path) -> Iterator[App]:
    """A gateway that closes a study by what the PACS says, or not for an hour."""
    find = {"ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.port}
    gateway = App(
        Config(
            site={"data_dir": folder, "low_water_mb": 0},
            dicom={"port": 0},
            api={"port": 0},
            study={"quiet_s": HOUR_S, "timeout_s": HOUR_S, "find": find},
            rule=NOBODY,
        )
    )
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def timeline(gateway: App, event: str) -> list[dict[str, Any]]:
    rows = gateway._ledger.read("SELECT detail FROM events WHERE event = ? ORDER BY seq", (event,))
    return [json.loads(row["detail"]) for row in rows]


def doctor_says(gateway: App) -> Check:
    (check,) = _pacs(gateway.config)
    return check


@pytest.mark.peer("orthanc")
def test_study_is_complete_when_everything_that_orthanc_has_of_its_series_came(
    orthanc: Orthanc, tmp_path: Path, demo_study: Path
) -> None:
    files = sorted(demo_study.glob("*.dcm"))
    send_files(files, orthanc.peer, "IRIS-TEST")
    with gateway_asking(orthanc.peer, tmp_path / "data") as gateway:
        here = Peer("IRIS", *gateway.listener.address)
        send_files(files[:7], here, "PACS")
        until(lambda: timeline(gateway, "study.pacs_answered"))
        send_files(files[7:], here, "PACS")
        until(lambda: timeline(gateway, "study.completed"))
        said = [(a["answer"], a["missing"]) for a in timeline(gateway, "study.pacs_answered")]
        assert said == [("more_there", len(files) - 7), ("all_here", 0)]
        assert timeline(gateway, "study.completed")[0]["evidence"] == "nothing else named"
        assert doctor_says(gateway).finding.endswith("answers C-ECHO; answers C-FIND at IMAGE level")
        assert gateway.readiness().degraded == ()


def test_pacs_that_is_away_makes_readyz_degraded_and_doctor_fail(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with capture_logs(), gateway_asking(Peer("PACS", "127.0.0.1", free_port()), tmp_path) as gateway:
        until(lambda: gateway.readiness().degraded)
        (sentence,) = gateway.readiness().degraded
        assert sentence.startswith("study.find: PACS@127.0.0.1")
        assert gateway.readiness().ready
        assert doctor_says(gateway).verdict is Verdict.FAILED
