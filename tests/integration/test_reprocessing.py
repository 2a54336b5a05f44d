"""A whole gateway: another wish for the images of a job is made beside it, and goes where its results go."""

from collections.abc import Callable
from pathlib import Path

import httpx
from pydicom import dcmread

from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.config import Config
from gateway.delivery.sending import send_files


def test_another_wish_is_made_and_delivered_beside_what_the_rule_asked_for(
    tmp_path: Path, small_study: Path, eventually: Callable[..., None]
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    gateway = App(
        Config(
            site={"data_dir": tmp_path / "data", "low_water_mb": 0},
            dicom={"port": 0},
            api={"port": 0},
            study={"quiet_s": 0.1},
            destination=[{"name": "share", "folder": str(share)}],
        )
    )
    gateway.start()
    try:
        assert gateway.api is not None
        token = (tmp_path / "data" / "admin-token").read_text().strip()
        host, port = gateway.api.address
        api = httpx.Client(
            base_url=f"http://{host}:{port}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        send_files(sorted(small_study.glob("*.dcm")), Peer("IRIS", *gateway.listener.address), "TEST")
        eventually(lambda: len(list(share.rglob("*.dcm"))) == 1)
        eventually(lambda: api.get("/studies").json()["items"][0]["state"] == "done")
        (first,) = api.get("/studies").json()["items"][0]["jobs"]
        wish = {"task": "tissue", "options": {"fast": True}}
        asked = api.post(f"/jobs/{first['job_key']}/reprocess", json=wish)
        assert asked.status_code == 202
        eventually(lambda: api.get(f"/jobs/{asked.json()['key']}").json()["state"] == "delivered")
        study = api.get("/studies").json()["items"][0]
        planned = api.get(f"/jobs/{asked.json()['key']}").json()["timeline"][0]
    finally:
        gateway.stop()
    assert [job["state"] for job in study["jobs"]] == ["delivered", "delivered"]
    assert (planned["event"], planned["detail"]["by"]) == ("job.planned", "admin-token")
    made = [dcmread(path) for path in share.rglob("*.dcm")]
    assert len({each.SOPInstanceUID for each in made}) == 2
    assert len({each.SeriesInstanceUID for each in made}) == 2
