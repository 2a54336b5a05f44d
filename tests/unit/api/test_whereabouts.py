"""Where a study is, why, and what to do: for every state of the state machines, here and in the cloud."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.api.ledger_store import LedgerStore
from gateway.api.mirrored.table_shapes import summary_of
from gateway.api.studies.whereabouts import SAYINGS, Kind, whereabouts
from gateway.cli import app
from gateway.ledger.deliveries import drop_delivery
from gateway.ledger.flags import Flag, FlagSource, add_flag
from gateway.ledger.states import JOB_OPEN, DeliveryEvent, DeliveryState, JobEvent, JobState, StudyState
from gateway.ledger.transaction import WhyDone
from gateway.ledger.work import wait_with_job


def study(state: StudyState, reason: str = "", **parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"state": state.value, "reason": reason, "updated": "2026", "jobs": [], "deliveries": [], **parts}


def job(state: JobState, goes_on_from: JobState | None = None, **said: Any) -> dict[str, Any]:
    return {
        "updated": "2026", "job_key": "j1", "task": "total", "rule": "ct", "state": state.value,
        "reason": "the reason", "flags": [],
        "goes_on_from": goes_on_from.value if goes_on_from else None, "next_try": None, **said,
    }  # fmt: skip


def delivery(state: DeliveryState, reason: str = "", **said: Any) -> dict[str, Any]:
    return {
        "updated": "2026", "key": "d1", "job_key": "j1", "destination": "pacs", "state": state.value,
        "reason": reason, "waiting_since": None, "next_try": None, **said,
    }  # fmt: skip


PARTS = [
    *(study(StudyState.RECEIVING) for _ in "1"),
    *(study(StudyState.PROCESSING, jobs=[job(state)]) for state in JobState),
    *(study(StudyState.PROCESSING, deliveries=[delivery(state)]) for state in DeliveryState),
    *(study(StudyState.FAILED, jobs=[job(JobState.FAILED, state)]) for state in (*JobState, None)),
    *(study(StudyState.HELD, jobs=[job(JobState.QUARANTINED, state)]) for state in (*JobState, None)),
    study(StudyState.FAILED, deliveries=[delivery(DeliveryState.FAILED, "refused")]),
    *(study(StudyState.DONE, why) for why in WhyDone),
    *(study(StudyState.DONE, "delivered", deliveries=[delivery(state)]) for state in DeliveryState),
    study(StudyState.PROCESSING, jobs=[job(JobState.STAGED, next_try="2026-01-01T00:00:00.000000Z")]),
    study(StudyState.PROCESSING, deliveries=[delivery(DeliveryState.PENDING, "nobody is there")]),
    study(StudyState.PROCESSING, deliveries=[delivery(DeliveryState.SENT, waiting_since="2026-01-01")]),
    study(StudyState.DONE, "something new"),
    study(
        StudyState.DONE,
        "delivered",
        jobs=[job(JobState.DELIVERED, flags=[{"code": "cut", "sentence": "the liver is cut"}])],
        deliveries=[delivery(DeliveryState.SENT)],
    ),
]


def test_whereabouts_say_something_in_every_state_and_each_kind_is_reached() -> None:
    told = [whereabouts(each) for each in PARTS]
    assert {each["kind"] for each in told} == {kind.value for kind in Kind} == {*SAYINGS}
    for each in told:
        assert each["where"]
        assert each["what_to_do"].endswith(".")
        assert "{" not in each["where"] + each["what_to_do"]


@pytest.mark.parametrize("state", sorted(JOB_OPEN - {JobState.ENCODED}))
def test_whereabouts_of_each_open_job_are_their_own(state: JobState) -> None:
    assert whereabouts(study(StudyState.PROCESSING, jobs=[job(state)]))["kind"] == state.value


def test_whereabouts_of_the_cloud_are_the_same_with_codes_for_reasons() -> None:
    ours = {"created_at": "2026", "changed_at": "2026", "run": 1, "lane": "main", "engine": "threshold"}
    item = {
        **job(JobState.FAILED), **ours, "reason": "failed exit=2", "stage": "", "fraction": 0.0,
        "deliveries": [], "outputs": [],
    }  # fmt: skip
    of_study = {
        "study_key": "k", "state": "failed", "reason": "job_failed exit=2", "received_at": "2026",
        "updated_at": "2026", "instances": 3,
    }  # fmt: skip
    told = summary_of(of_study, [item])["whereabouts"]
    assert (told["kind"], told["why"], told["job_key"]) == ("failed", "failed exit=2", "j1")


def test_whereabouts_of_a_study_with_several_jobs_name_the_one_that_holds_it_up(world) -> None:
    parts = [job(JobState.DELIVERED), job(JobState.RUNNING, task="lung_vessels")]
    told = whereabouts(study(StudyState.PROCESSING, jobs=parts))
    assert told["where"] == "Being segmented (lung_vessels, one of 2 jobs)"


def test_whereabouts_follow_a_study_from_its_first_image_to_a_doubted_result(world, tmp_path: Path) -> None:
    def where() -> tuple[str, str, str]:
        told = (LedgerStore(world.ledger).study(uid) or {})["whereabouts"]
        return told["where"], told["why"], told["waits_for"]

    uid = world.study()
    assert where() == ("Its images are coming in", "", "sender")
    job_key = world.job(uid)
    assert where() == ("Waits to be converted", "", "gateway")
    with world.ledger.transaction() as transaction:
        wait_with_job(transaction, job_key, delay_s=300, reason="the disk is full", on="machine")
    assert where() == ("Put off", "the disk is full", "gateway")
    world.move(job_key, JobEvent.FAILED, reason="the disk is broken")
    assert where() == ("Failed while its images were converted", "the disk is broken", "person")
    world.move(job_key, JobEvent.RETRIED)
    key = world.encode(job_key)
    assert where() == ("Being sent to pacs", "", "destination")
    world.move(job_key, JobEvent.HELD, reason="pacs has it for another patient's")
    assert where()[0] == "Held: its destination has it for another patient's"
    world.move(job_key, JobEvent.RELEASED)
    world.move_delivery(key, DeliveryEvent.FAILED, "pacs answered with 0xA900")
    assert where() == ("Failed at pacs", "pacs answered with 0xA900", "person")
    world.move_delivery(key, DeliveryEvent.RETRIED)
    world.move_delivery(key, DeliveryEvent.SENT)
    assert where() == ("Done: delivered to pacs", "", "nobody")
    with world.ledger.transaction() as transaction:
        for code, sentence in (("truncated", "the liver is cut"), ("fragments", "the spleen is torn")):
            add_flag(transaction, job_key, FlagSource.RESULT, Flag(code, "liver", 3.0, "ml", sentence))
    assert where() == ("Done, with doubts: delivered to pacs", "the liver is cut. And 1 more.", "nobody")
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    for command in (["study", uid], ["studies"]):
        said = CliRunner().invoke(app, [*command, "--config", str(tmp_path / "iris.toml")]).stdout
        assert "Done, with doubts: delivered to pacs: the liver is cut. And 1 more." in " ".join(said.split())


def test_whereabouts_of_what_a_person_gave_up_say_that_it_is_nowhere(world) -> None:
    uid = world.study()
    key = world.encode(world.job(uid))
    with world.ledger.transaction() as transaction:
        drop_delivery(transaction, key, reason="not wanted there")
    told = (LedgerStore(world.ledger).study(uid) or {})["whereabouts"]
    assert (told["kind"], told["why"]) == ("not_sent", "not wanted there")


def test_whereabouts_say_since_when_it_waits_and_of_what_is_over_since_when_it_is() -> None:
    waiting = study(
        StudyState.PROCESSING, jobs=[job(JobState.RUNNABLE, waiting_since="2025", updated="2027")]
    )
    failed = study(StudyState.FAILED, jobs=[job(JobState.FAILED, waiting_since=None, updated="2027")])
    done = study(StudyState.DONE, "delivered", deliveries=[delivery(DeliveryState.SENT, updated="2027")])
    assert [whereabouts(each)["since"] for each in (waiting, failed, done)] == ["2025", "2027", "2026"]
