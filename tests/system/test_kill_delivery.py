"""A gateway that is killed while an object is under way never takes it for one that was not sent."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.files.names import LEDGER_NAME


@pytest.mark.parametrize("kill_at", ["delivery.begun:after", "delivery.sent:before"])
def test_object_that_may_have_arrived_before_a_kill_is_sent_to_its_end_though_a_late_slice_supersedes_it(
    kill_at: str,
    make_world: Callable[..., Any],
    recording_pacs: Any,
    write_study: Callable[..., str],
    tmp_path: Path,
) -> None:
    study_uid = write_study(tmp_path / "study", seed="under way")
    (tmp_path / "late").mkdir()
    (tmp_path / "study" / "007.dcm").rename(tmp_path / "late" / "007.dcm")
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start(kill_at)
    world.send(tmp_path / "study")
    world.until_dead()
    assert len(recording_pacs.objects) == (kill_at == "delivery.sent:before")
    recording_pacs.status = 0xA700
    world.start()
    world.until(study_uid, lambda study: any(d["attempts"] for d in study["deliveries"]))
    world.send(tmp_path / "late")
    study = world.until(study_uid, lambda study: any(j["state"] == "superseded" for j in study["jobs"]))
    (first,) = [job["job_key"] for job in study["jobs"] if job["state"] == "superseded"]
    kept_open = [d for d in study["deliveries"] if d["job_key"] == first]
    assert [d["state"] for d in kept_open] == ["pending"]
    recording_pacs.status = 0x0000
    world.post(f"/api/v1/jobs/{kept_open[0]['key']}/retry")
    study = world.until(study_uid, lambda study: study["state"] == "done")
    assert [job["state"] for job in study["jobs"]] == ["superseded", "delivered"]
    assert world.stop() == 0
    with closing(sqlite3.connect(world.data_dir / LEDGER_NAME)) as ledger:
        rows = ledger.execute("SELECT sop_instance_uid, state, begun_at FROM deliveries").fetchall()
    assert sorted(uid for uid, _, _ in rows) == sorted(recording_pacs.objects)
    assert {(state, begun_at) for _, state, begun_at in rows} == {("sent", None)}
    assert recording_pacs.every_send_of_an_object_had_the_same_bytes()
