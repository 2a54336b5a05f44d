"""A whole gateway: a destination that refuses a form gets the next one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, SegmentationStorage, Verification

from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.config import Config
from gateway.delivery.sending import send_files
from gateway.demo.loopback import free_port
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.system.conftest import write_study

DEADLINE_S = 90.0
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
WARNING = f"pacs: it does not take Label Map Segmentation Storage ({LABEL_MAP}): its segmentation is BINARY"


@contextmanager
def gateway(folder: Path, peer: Peer) -> Iterator[App]:
    pacs = {"name": "pacs", "ae_title": peer.ae_title, "host": peer.host, "port": peer.port}
    app = App(
        Config(
            site={"data_dir": folder, "low_water_mb": 0},
            dicom={"port": 0},
            api={"port": 0},
            study={"quiet_s": 0.2},
            queue={"keep_warm_s": 0},
            seg={"type": "labelmap"},
            destination=[pacs],
            rule=[{"name": "ct", "when": {"Modality": "CT"}, "outputs": ["seg", "sr"]}],
        )
    )
    app.start()
    try:
        yield app
    finally:
        app.stop()


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def send(app: App, folder: Path) -> None:
    write_study(folder, seed=folder.name)
    host, port = app.listener.address
    send_files(sorted(folder.glob("*.dcm")), Peer("IRIS", host, port), "PACS")


def rows(app: App, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in app._ledger.read(sql)]


def job_states(app: App) -> list[tuple[Any, ...]]:
    return rows(app, "SELECT state FROM jobs")


@pytest.mark.long
def test_pacs_that_was_away_and_refuses_label_maps_when_it_is_back_gets_a_binary_one(tmp_path: Path) -> None:
    peer, stored = Peer("PACS", "127.0.0.1", free_port()), list[str]()
    with gateway(tmp_path / "data", peer) as app:
        send(app, tmp_path / "study")
        until(lambda: job_states(app) == [("encoded",)])
        pacs = AE("PACS")
        for each in (Verification, SegmentationStorage, Comprehensive3DSRStorage):
            pacs.add_supported_context(each)
        handlers = [(evt.EVT_C_STORE, lambda e: stored.append(str(e.request.AffectedSOPClassUID)) or 0)]
        server = pacs.start_server((peer.host, peer.port), block=False, evt_handlers=handlers)
        try:
            until(lambda: job_states(app) == [("delivered",)])
        finally:
            server.shutdown()
        refused = rows(app, "SELECT count(*) FROM events WHERE event = 'job.form_refused'")
        (warnings,) = rows(app, "SELECT warnings FROM jobs")
    assert sorted(stored) == sorted([str(SegmentationStorage), str(Comprehensive3DSRStorage)])
    assert refused == [(1,)]
    assert WARNING in warnings[0]


@pytest.mark.long
@pytest.mark.peer("orthanc")
def test_orthanc_as_it_comes_gets_a_binary_segmentation_and_readyz_says_why(tmp_path: Path) -> None:
    program = find_orthanc()
    assert program is not None
    orthanc = Orthanc(tmp_path / "orthanc", program, configuration={"UnknownSopClassAccepted": False})
    orthanc.start()
    try:
        with gateway(tmp_path / "data", orthanc.peer) as app:
            until(lambda: "UnknownSopClassAccepted" in " ".join(app.readiness().degraded))
            send(app, tmp_path / "study")
            until(lambda: job_states(app) == [("delivered",)])
            (warnings,) = rows(app, "SELECT warnings FROM jobs")
        address, credentials = orthanc.rest
        with httpx.Client(base_url=address, auth=credentials, trust_env=False) as rest:
            found = [
                rest.get(f"/instances/{each}/metadata/SopClassUid").text
                for each in rest.get("/instances").json()
            ]
    finally:
        orthanc.stop()
    assert sorted(found) == sorted([str(SegmentationStorage), str(Comprehensive3DSRStorage)])
    assert CTImageStorage not in found
    assert WARNING in warnings[0]
