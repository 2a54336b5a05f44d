"""A destination that is renamed: what waits for it is said by name, what is encoded later goes to the new."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import RecordingPacs, World
from .test_kill import done, has_job


def pending(study: dict[str, Any], destination: str) -> bool:
    return any(
        delivery["destination"] == destination and delivery["state"] == "pending"
        for delivery in study["deliveries"]
    )


def test_results_for_a_renamed_destination_wait_by_name_until_redirected_or_until_the_name_is_back(
    make_world: Callable[..., World],
    write_study: Callable[..., str],
    free_port: Callable[[], int],
    recording_pacs: RecordingPacs,
    tmp_path: Path,
) -> None:
    world = make_world(("old", "RECORDER", free_port()))  # nobody is there
    world.start()
    redirected, waiting = (write_study(tmp_path / seed, seed=seed) for seed in ("redirected", "waiting"))
    for study_uid, seed in ((redirected, "redirected"), (waiting, "waiting")):
        world.send(tmp_path / seed)
        world.until(study_uid, lambda study: pending(study, "old"))
    assert world.stop() == 0

    world.destinations = [("new", "RECORDER", recording_pacs.port)]
    world.start()
    for study_uid in (redirected, waiting):
        study = world.until(study_uid, lambda study: "old is no [[destination]]" in study["reason"])
        assert study["state"] == "processing"
    [sentence] = world.readyz()["degraded"]
    assert sentence.startswith("deliveries: 2 results wait for old, which is no [[destination]], since ")
    new = write_study(tmp_path / "new", seed="new")
    world.send(tmp_path / "new")
    world.until(new, done)
    [delivery] = world.until(redirected, has_job("encoded"))["deliveries"]
    world.post(f"/api/v1/deliveries/{delivery['key']}/redirect", json={"to": "new"})
    world.until(redirected, done)
    assert world.stop() == 0

    world.destinations = [("old", "RECORDER", recording_pacs.port)]
    world.start()
    world.until(waiting, done)
    assert world.readyz()["degraded"] == []
    assert len(recording_pacs.sends) == 3


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
    study = world.until(study_uid, done)
    assert [delivery["destination"] for delivery in study["deliveries"]] == ["new"]
    assert len(recording_pacs.sends) == 1
