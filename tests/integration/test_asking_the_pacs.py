"""A gateway that asks a PACS by C-FIND which images a study has: Orthanc, and one that is away."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.events import Event
from structlog.testing import capture_logs

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.peer import Peer, association
from gateway.app import App
from gateway.commands.doctor import _pacs
from gateway.config import Config
from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc
from tests.doubles.query_pacs import Answers, Find, images, pacs

DEADLINE_S = 60.0
HOUR_S = 3600.0
NOBODY = [{"name": "none", "when": {"SeriesDescription": "no series has this"}}]
"""No job, so no engine."""


@contextmanager
def gateway_asking(pacs: Peer, folder: Path, quiet_s: float = HOUR_S) -> Iterator[App]:
    """A gateway that closes a study by what the PACS says, or not for an hour."""
    find = {"ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.port}
    gateway = App(
        Config(
            site={"data_dir": folder, "low_water_mb": 0},
            dicom={"port": 0},
            api={"port": 0},
            study={"quiet_s": quiet_s, "timeout_s": HOUR_S, "find": find},
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


@pytest.mark.peer("orthanc")
def test_studies_that_come_interleaved_and_one_broken_off_are_complete_when_the_rest_of_each_came(
    orthanc: Orthanc, tmp_path: Path, demo_study: Path, small_study: Path
) -> None:
    demo, small = sorted(demo_study.glob("*.dcm"))[:6], sorted(small_study.glob("*.dcm"))
    send_files([*demo, *small], orthanc.peer, "IRIS-TEST")
    with gateway_asking(orthanc.peer, tmp_path / "data") as gateway:
        here = Peer("IRIS", *gateway.listener.address)
        with pytest.raises(BrokenOff):
            _send_and_break_off(small[:3], here)
        until(lambda: timeline(gateway, "study.pacs_answered"))
        (said,) = timeline(gateway, "study.pacs_answered")
        assert (said["answer"], said["missing"]) == ("more_there", len(small) - 3)
        interleaved = [path for pair in zip(demo, small[2:], strict=True) for path in pair]
        send_files(interleaved, here, "PACS")
        until(lambda: len(timeline(gateway, "study.completed")) == 2)
        evidence = [line["evidence"] for line in timeline(gateway, "study.completed")]
        assert evidence == ["nothing else named"] * 2


class BrokenOff(Exception):
    """Leaves an association by an abort."""


def _send_and_break_off(paths: Sequence[Path], here: Peer) -> None:
    contexts = [build_context(CTImageStorage, ExplicitVRLittleEndian)]
    with association(here, "PACS", contexts) as opened:
        assert [opened.send_c_store(path).Status for path in paths] == [0x0000] * len(paths)
        raise BrokenOff


def refuse(_: Event) -> Answers:
    yield 0xA700, None


@pytest.mark.parametrize(
    "find",
    [images("1.1", "1.2"), images("1.1", StudyInstanceUID="1.2.9"), refuse],
    ids=["others", "other study", "refused"],
)
def test_pacs_that_answers_wrongly_leaves_the_quiet_time(
    tmp_path: Path, small_study: Path, find: Find
) -> None:
    with capture_logs(), pacs(find) as peer, gateway_asking(peer, tmp_path, quiet_s=0.5) as gateway:
        send_files(sorted(small_study.glob("*.dcm")), Peer("IRIS", *gateway.listener.address), "PACS")
        until(lambda: timeline(gateway, "study.completed"))
        assert timeline(gateway, "study.completed")[0]["evidence"] == "released"


def test_pacs_that_is_away_makes_readyz_degraded_and_doctor_fail(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with capture_logs(), gateway_asking(Peer("PACS", "127.0.0.1", free_port()), tmp_path) as gateway:
        until(lambda: gateway.readiness().degraded)
        (sentence,) = gateway.readiness().degraded
        assert sentence.startswith("study.find: PACS@127.0.0.1")
        assert gateway.readiness().ready
        assert doctor_says(gateway).verdict is Verdict.FAILED
