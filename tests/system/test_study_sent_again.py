"""A study that was deleted in a real Orthanc and is sent again in full gets its results back, once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_whose import dcmqrscp

from .conftest import write_study


class Pacs:
    """An Orthanc by its REST API."""

    def __init__(self, orthanc: Any) -> None:
        self.peer = orthanc.peer
        address, user = orthanc.rest
        self._client = httpx.Client(base_url=address, auth=user, trust_env=False)

    def delete_study(self, study_uid: str) -> None:
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}}
        (found,) = self._client.post("/tools/find", json=query).json()
        assert self._client.delete(f"/studies/{found}").is_success

    def objects(self, study_uid: str) -> int:
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}}
        return len(self._client.post("/tools/find", json=query).json())


def _said(study: dict[str, Any]) -> list[str]:
    """What of its timeline is about its results at the destination."""
    return [line["event"] for line in study["timeline"] if line["event"].startswith("study.results")]


@pytest.mark.peer("orthanc")
def test_study_that_was_deleted_in_the_pacs_and_comes_again_in_full_gets_its_result_back_once(
    make_world: Callable[..., Any], orthanc: Any, tmp_path: Path
) -> None:
    pacs = Pacs(orthanc)
    world = make_world(("pacs", pacs.peer.ae_title, pacs.peer.port))
    world.start()
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    world.until(study_uid, lambda study: bool(study["state"] == "done"))
    results = pacs.objects(study_uid)
    assert results > 0

    world.send(tmp_path / "study")
    study = world.until(study_uid, lambda study: bool(_said(study)))
    assert _said(study) == ["study.results_still_there"]

    pacs.delete_study(study_uid)
    world.send(tmp_path / "study")
    study = world.until(study_uid, lambda study: len(_said(study)) == 2)
    assert _said(study)[-1] == "study.results_sent_again"
    study = world.until(study_uid, lambda study: bool(study["state"] == "done"))
    assert pacs.objects(study_uid) == results
    events = [line["event"] for line in study["timeline"]]
    assert (events.count("delivery.resent"), events.count("job.encoded")) == (results, 1)
    [line] = [line for line in study["timeline"] if line["event"] == "delivery.resent"]
    assert line["detail"]["said"] == "the study came again, and pacs does not have this any more"

    shutil.rmtree(
        world.data_dir / "results"
    )  # what is gone here is made again of the labels, and is the same
    pacs.delete_study(study_uid)
    wish = {"action": "resend", "filter": {"key": study["study_key"][:12]}, "dry_run": False}
    world.post("/api/v1/actions", json=wish)
    again = world.until(
        study_uid, lambda now: now["state"] == "done" and now["timeline"][-1] != study["timeline"][-1]
    )
    assert pacs.objects(study_uid) == results
    assert [one["key"] for one in again["deliveries"]] == [one["key"] for one in study["deliveries"]]
    assert "job.files_gone" in [line["event"] for line in again["timeline"]]


@pytest.mark.long  # it waits until it asks whether the PACS shows what it took
@pytest.mark.peer("dcmtk")
def test_study_that_comes_again_to_an_archive_that_lost_its_disk_gets_its_result_back_and_is_looked_for(
    make_world: Callable[..., Any], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    folders = [tmp_path / name for name in ("before", "after")]
    for folder in folders:
        folder.mkdir()
    world = make_world(("pacs", "QRSCP", port))
    world.start()
    study_uid = write_study(tmp_path / "study")
    with dcmqrscp(folders[0], port):
        world.send(tmp_path / "study")
        world.until(study_uid, lambda study: bool(study["state"] == "done"))
    with dcmqrscp(folders[1], port):
        world.send(tmp_path / "study")
        study = world.until(study_uid, lambda study: bool(_said(study)))
    assert _said(study) == ["study.results_back"]
    kept = [len([path for path in folder.rglob("*") if path.is_file()]) for folder in folders]
    assert kept[0] == kept[1] > 0
