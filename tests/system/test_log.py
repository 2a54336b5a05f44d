"""A study on its way through `iris serve`, with faults: what the log says, who is told, and its trace."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.told import Web
from tests.traces import spans

from .conftest import DEADLINE_S, RecordingPacs, World
from .log_lines import log_lines

REFUSED, OUT_OF_RESOURCES = 0xC000, 0xA700


@pytest.fixture
def world(make_world: Callable[..., World], recording_pacs: RecordingPacs, web: Web) -> World:
    notify = f'[notify]\nwebhooks = [{{ name = "ops", url = "{web.url}", secret = "s", on = ["failed"] }}]\n'
    return make_world(("recorder", "RECORDER", recording_pacs.port), config=notify)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reason_of_delivery(study: dict[str, Any]) -> str:
    return "".join(delivery["reason"] for delivery in study["deliveries"])


def test_every_line_of_a_study_that_meets_faults_names_it(
    world: World,
    recording_pacs: RecordingPacs,
    write_study: Callable[..., str],
    tmp_path: Path,
    web: Web,
    collector: Web,
) -> None:
    study_uid = write_study(tmp_path / "study")
    recording_pacs.status = OUT_OF_RESOURCES
    world.start(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}")
    world.send(tmp_path / "study")
    world.until(study_uid, lambda study: "0xA700" in reason_of_delivery(study))
    recording_pacs.status = REFUSED
    failed = world.until(study_uid, lambda study: study["state"] == "failed")
    until(lambda: web.got)
    recording_pacs.status = 0x0000
    world.post(f"/api/v1/deliveries/{failed['deliveries'][0]['key']}/retry")
    done = world.until(study_uid, lambda study: study["state"] == "done")
    until(lambda: len(collector.got) == 2)
    world.stop()

    said = list(log_lines(world.log))
    events = {line["event"] for line in said}
    assert {"association_closed", "study_completed", "delivery_put_off", "delivered"} <= events
    of_the_study = [line for line in said if line.get("job_key") or "study" in line["event"]]
    assert {line["study_key"] for line in of_the_study} == {done["study_key"]}
    assert [line for line in said if line["event"] == "delivery_put_off" and not line["reason"]] == []
    [closed] = [line for line in said if line["event"] == "association_closed"]
    assert (closed["calling_ae_title"], closed["study_key"]) == ("SENDER", done["study_key"])
    assert study_uid not in world.log.read_text()
    assert [item["study_key"] for item in json.loads(web.got[0][1])["items"]] == [done["study_key"]]
    traced = spans(collector)
    assert [span.has_failed for span in traced if span.name == "study"] == [True, False]
    assert len({span.trace_id for span in traced}) == 1
    assert {"received", "segmented", "encoded", "sent recorder"} <= {span.name for span in traced}
    assert study_uid not in str(collector.got)
    with closing(sqlite3.connect(world.data_dir / "ledger.sqlite")) as ledger:
        assert ledger.execute("SELECT state FROM messages").fetchall() == [("sent",)]


@pytest.mark.parametrize(
    "kill_at",
    [
        pytest.param("messages.gathered:after", marks=pytest.mark.long),
        pytest.param("messages.made:before", marks=pytest.mark.long),
        "messages.sent:before",
    ],
)
def test_message_of_a_gateway_that_is_killed_arrives_under_one_key(
    world: World,
    recording_pacs: RecordingPacs,
    write_study: Callable[..., str],
    tmp_path: Path,
    web: Web,
    kill_at: str,
) -> None:
    recording_pacs.status = REFUSED
    study_uid = write_study(tmp_path / "study")
    world.start(kill_at=kill_at)
    world.send(tmp_path / "study")
    world.until_revived()
    world.until(study_uid, lambda study: study["state"] == "failed")
    until(lambda: web.got)
    until(lambda: world.readyz() and "ops" not in str(world.readyz()))
    assert len(set(web.keys)) == 1
