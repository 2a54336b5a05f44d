"""A destination that is renamed: what waits for it is said by name, what is encoded later goes to the new."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import RecordingPacs, World


def pending(study: dict[str, Any], destination: str) -> bool:
    return any(
        delivery["destination"] == destination and delivery["state"] == "pending"
        for delivery in study["deliveries"]
    )


def degraded(world: World) -> list[str]:
    answer = world._request("GET", "/readyz")
    assert answer is not None
    return list(answer.json()["degraded"])


def test_result_for_a_renamed_destination_waits_by_name_and_goes_on_when_the_name_is_back(
    make_world: Callable[..., World],
    write_study: Callable[..., str],
    free_port: Callable[[], int],
    recording_pacs: RecordingPacs,
    tmp_path: Path,
) -> None:
    world = make_world(("old", "RECORDER", free_port()))  # nobody is there
    world.start()
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    world.until(study_uid, lambda study: pending(study, "old"))
    assert world.stop() == 0

    world.destinations = [("new", "RECORDER", recording_pacs.port)]
    world.start()
    study = world.until(study_uid, lambda study: "old is no [[destination]]" in study["reason"])
    assert study["state"] == "processing"
    [sentence] = degraded(world)
    assert sentence.startswith("deliveries: 1 result waits for old, which is no [[destination]], since ")
    assert world.stop() == 0

    world.destinations = [("old", "RECORDER", recording_pacs.port)]
    world.start()
    world.until(study_uid, lambda study: study["state"] == "done")
    assert degraded(world) == []
    assert len(recording_pacs.sends) == 1


def test_job_that_is_encoded_after_its_destination_was_renamed_goes_to_the_new_name(
    make_world: Callable[..., World],
    write_study: Callable[..., str],
    recording_pacs: RecordingPacs,
    tmp_path: Path,
) -> None:
    world = make_world(("old", "RECORDER", recording_pacs.port))
    world.start(kill_at="job.segmented:after")
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    world.until_dead()
    world.destinations = [("new", "RECORDER", recording_pacs.port)]
    world.start()
    study = world.until(study_uid, lambda study: study["state"] == "done")
    assert [delivery["destination"] for delivery in study["deliveries"]] == ["new"]
    assert len(recording_pacs.sends) == 1
