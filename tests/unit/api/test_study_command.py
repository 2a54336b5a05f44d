"""`iris study` in words: what a person reads of a job's runs."""

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.api.ledger_store import LedgerStore
from gateway.api.store import Cut
from gateway.cli import app
from gateway.ledger.finding import StudyFilter
from gateway.ledger.records import utc_in, utc_now, utc_time
from gateway.ledger.runs import note_cost
from gateway.ledger.work import wait_with_job
from tests.results import COST


def test_study_lists_each_run_of_a_job_and_how_it_ended(world, tmp_path: Path) -> None:
    uid = world.study()
    world.runs(world.job(uid))
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    assert (result.exit_code, result.stderr) == (0, "")
    said = " ".join(result.stdout.split())
    at = r"2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.search(rf"run 1 \(batch\): submitted {at}, ended {at}: memory ran out", said)
    assert re.search(rf"run 2 \(batch\): submitted {at} 2\d{{3}}-", said)  # the timeline follows


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, "g4dn.xlarge, Spot at 0.2160 USD an hour: 100 s, GPU 62 s, start and idle before 350 s;"),
        ({}, "start and idle before 350 s; 0.0060 + 0.0210 USD"),
        ({"is_spot_price": False}, "g4dn.xlarge, Spot at less than 0.2160 USD an hour: 100 s"),
        (
            {"is_spot_price": False, "is_spot": False, "shared_s": None},
            "xlarge, at 0.2160 USD an hour: 100 s, GPU 62 s; 0.0060 USD",
        ),
        ({"usd_per_hour": None}, "g4dn.xlarge: 100 s, GPU 62 s, start and idle before 350 s 2"),
        ({"machine": "", "usd_per_hour": None, "gpu_s": 0.0, "shared_s": None}, "this machine: 100 s 2"),
    ],
)
def test_study_says_what_a_run_cost(world, tmp_path: Path, known: dict[str, object], said: str) -> None:
    uid = world.study()
    job_key = world.job(uid)
    world.runs(job_key)
    with world.ledger.transaction() as transaction:
        note_cost(transaction, transaction.job(job_key), COST.model_copy(update=known), "i-0abc", utc_now())
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    assert said in " ".join(result.stdout.split())


def test_study_says_when_a_job_is_tried_again_and_how_it_is_tried_now(world, tmp_path: Path) -> None:
    uid = world.study()
    job_key = world.job(uid)
    with world.ledger.transaction() as transaction:
        wait_with_job(transaction, job_key, delay_s=300, reason="the disk is full", on="machine")
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    at = r"2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d"
    said = rf"the disk is full\n +tried again at {at}; `iris retry {job_key[:16]}`: now\n"
    assert re.search(said, result.stdout)


def test_study_says_in_words_what_changed_since_the_earlier_result(world, tmp_path: Path) -> None:
    earlier, uid = world.study(1), world.study(2)
    line = {"then_ml": 100.0, "now_ml": 87.5, "change_ml": None, "change_percent": None}
    world.compare(
        world.job(uid),
        prior_study_uid=earlier,
        prior_job_key=world.job(earlier),
        prior_date="2026-03-04",
        interval_days=91,
        changes=[
            {
                **line,
                "structure": "spleen",
                "change_ml": -12.5,
                "change_percent": -12.5,
                "not_compared": None,
            },
            {**line, "structure": "liver", "not_compared": "cut_now"},
            {**line, "structure": "colon", "now_ml": None, "not_compared": "not_found_now"},
        ],
    )
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    assert (result.exit_code, result.stderr) == (0, "")
    said = " ".join(result.stdout.split())
    assert "compared with 2026-03-04, 91 days before" in said
    assert "spleen: then 100 ml, now 87.5 ml (-12.5 ml, -12.5 %)" in said
    assert "liver: then 100 ml, now 87.5 ml (not compared: the scan cuts it off now)" in said
    assert "colon: then 100 ml, now not found" in said


def test_study_says_that_the_earlier_result_is_of_the_same_day(world, tmp_path: Path) -> None:
    earlier, uid = world.study(1), world.study(2)
    world.compare(
        world.job(uid),
        prior_study_uid=earlier,
        prior_job_key=world.job(earlier),
        prior_date="2026-03-04",
        interval_days=0,
    )
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    assert "compared with 2026-03-04, on the same day\n" in result.stdout


def test_study_says_of_each_delivery_which_output_it_is_and_of_many_alike_how_many(
    world, tmp_path: Path
) -> None:
    uid = world.study()
    world.encode(world.job(uid), ("seg", *["overlay"] * 3))
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    assert (result.exit_code, result.stderr) == (0, "")
    said = [line.strip() for line in result.stdout.splitlines() if line.startswith("  delivery")]
    assert [re.sub("delivery [0-9a-f]{16}", "KEY", line) for line in said] == [
        "KEY  seg to pacs: pending",
        "KEY  overlay, 3 objects to pacs: pending",
    ]
    assert "    warning: a warning\n" in result.stdout
    assert "  To be sent to pacs (4 times)\n" in result.stdout


def test_study_that_is_receiving_says_for_what_it_waits_where_no_gateway_runs(world, tmp_path: Path) -> None:
    uid = world.study()
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    for command in (["study", uid], ["studies"]):
        result = CliRunner().invoke(app, [*command, "--config", str(tmp_path / "iris.toml")])
        assert (result.exit_code, result.stderr) == (0, "")
        assert "no gateway is running; `iris serve` goes on with it" in " ".join(result.stdout.split())


def test_reason_of_a_study_that_is_receiving_is_what_the_watch_says_and_of_another_its_own(world) -> None:
    receiving, done = world.study(1), world.study(2)
    world.job(done)
    store = LedgerStore(world.ledger, lambda study_uid: f"{study_uid} waits")
    shown = store.study(receiving)
    assert shown is not None
    assert shown["reason"] == f"{receiving} waits"
    items = store.studies(StudyFilter(), None, Cut(9))["items"]
    reasons = {item["study_uid"]: item["reason"] for item in items}
    assert reasons == {receiving: f"{receiving} waits", done: ""}


def test_study_is_shown_by_the_beginning_of_any_key_that_no_other_has(world, tmp_path: Path) -> None:
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    job_key, _ = world.job(world.study(1)), world.study(2)

    def shown(key: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["study", key, "--config", str(tmp_path / "iris.toml")])
        return result.exit_code, " ".join(result.output.split())

    for key in (job_key[:12], "key0001", "1.2.826.0.1.1"):
        code, said = shown(key)
        assert (code, said.startswith("1.2.826.0.1.1: processing")) == (0, True)
    code, said = shown("key")
    assert (code, "several begin so, give more of the key: study 1.2.826.0.1.1, study" in said) == (1, True)


def test_study_tells_times_by_this_machines_clock_and_events_in_sentences(
    world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    uid = world.study()
    with world.ledger.transaction() as transaction:
        for _ in range(2):
            transaction.step_of_study("study.results_still_there", uid, destination="pacs", objects=3)
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    monkeypatch.undo()
    time.tzset()
    [row] = world.ledger.read("SELECT max(at) AS at FROM events")
    at = utc_time(row["at"]) + timedelta(hours=2)
    told = "Its results are still there at pacs, objects: 3 (2 times)"
    assert result.stdout.splitlines()[-1].strip() == f"{at:%Y-%m-%d %H:%M:%S}  {told}"


def test_study_says_how_long_each_step_took(world, tmp_path: Path) -> None:
    job_key = world.job(world.study())
    world.encode(job_key)
    for event, at in (
        ("study.instance_stored", "00.0"),
        ("study.completed", "03.5"),
        ("job.planned", "04.0"),
    ):
        world.at(event, f"2026-01-01T00:00:{at}00000Z")
    world.at("job.segmented", "2026-01-01T00:01:10.000000Z")
    world.at("job.encoded", "2026-01-01T02:01:10.000000Z")
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    said = CliRunner().invoke(app, ["study", "key0001", "--config", str(tmp_path / "iris.toml")]).stdout
    assert "\n  received 3.5 s\n" in said
    assert "\n    converted 1 min 6 s, encoded 2 h 0 min, delivered " in said


def test_study_says_of_a_delivery_when_it_is_tried_again_and_no_time_that_is_over(
    world, tmp_path: Path
) -> None:
    uid = world.study()
    world.encode(world.job(uid), ("seg", "sr"))
    keys = [row["key"] for row in world.ledger.read("SELECT key FROM deliveries")]
    with world.ledger.transaction() as transaction:
        for key, delay_s in zip(keys, (300.0, -300.0), strict=True):
            transaction.update("deliveries", "key", key, {"not_before": utc_in(delay_s)})
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    said = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("  delivery ")}
    told = ["tried again at 2" in said[key[:16]] for key in keys]
    assert (told, result.stdout.count("tried again")) == ([True, False], 1)
