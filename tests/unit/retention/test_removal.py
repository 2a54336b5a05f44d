"""What is old, or what there is no room for, goes; what anybody waits for stays."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.adapters.errors import Away
from gateway.adapters.folder import FolderStore
from gateway.config import Config, ConfigError, read_config
from gateway.configured import warnings_about
from gateway.events import InstanceStored
from gateway.ledger.erasing import request_forget
from gateway.ledger.records import utc_time
from gateway.ledger.removals import Gone, plan_removal, removals_of
from gateway.ledger.retention import Part, Terms, oldest_with, remove_part
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.transaction import NotPossible, WhyDone
from gateway.retention.remover import Remover
from tests.place import Place, open_place

EVERYTHING = {"images_days": 1, "results_days": 1, "uploads_days": 1, "quarantine_days": 1, "ledger_days": 1}


# -- by age -----------------------------------------------------------------------------------------------


def test_images_of_a_done_study_go_when_they_are_old_enough_and_results_stay(place: Place) -> None:
    key = place.done("1.1", days_ago=1.1)
    place.look(images_days=1)
    assert place.files("instances", "work") == set()
    assert f"objects/jobs/{key}/input.nii.gz" not in place.files()  # voxels are images, too
    assert {f"objects/jobs/{key}/labels.nii.gz", f"results/{key}/1.1.1.dcm"} <= place.files()
    assert not (place.data_dir / "instances" / "1.1").exists()
    study = place.study("1.1")
    assert study.images_removed_at is not None
    assert place.job(key).results_removed_at is None
    assert place.events("1.1")[-1] == "study.images_removed"


def test_results_of_a_delivered_study_go_when_they_are_old_enough_and_images_stay(place: Place) -> None:
    key = place.done("1.1", days_ago=1.1)
    place.look(results_days=1)
    assert place.files("objects", "results") == set()
    assert len(place.files("instances")) == 3
    assert place.job(key).results_removed_at is not None
    assert place.study("1.1").images_removed_at is None
    assert place.events("1.1")[-1] == "study.results_removed"


def test_nothing_goes_that_is_not_old_enough_and_the_next_look_is_when_it_is(place: Place) -> None:
    place.done("1.1", days_ago=0.9999)  # nine seconds before its time
    before = place.files()
    wait_s = place.worker(images_days=1, results_days=1).work()
    assert place.files() == before
    assert 5 < wait_s < 9


def test_fraction_of_a_day_is_an_age(place: Place) -> None:
    place.done("1.1", days_ago=0.01)
    place.look(images_days=0.009)
    assert place.files("instances") == set()


def test_without_settings_nothing_goes_however_old_it_is(place: Place) -> None:
    place.done("1.1", days_ago=10_000)
    place.put_aside("a" * 64, days_ago=10_000)
    before = place.files()
    assert place.worker().work() == 60.0
    assert place.files() == before


@pytest.mark.parametrize(
    "state", ["receiving", "processing", "failed", "held", "undelivered", "delivery failed", "not committed"]
)
def test_study_that_is_not_done_never_goes_however_old_it_is(place: Place, state: str) -> None:
    place.receive("1.1")
    if state != "receiving":
        place.complete("1.1", hold="a gap" if state == "held" else "")
    if state in ("failed", "undelivered", "delivery failed", "not committed"):
        place.segment("1.1")
    if state == "failed":
        place.move("job-1.1", JobEvent.FAILED)
    if state in ("undelivered", "delivery failed", "not committed"):
        place.encode("1.1")
    if state == "delivery failed":
        place.deliver("1.1", DeliveryEvent.FAILED)
    if state == "not committed":
        place.deliver("1.1")
        with place.ledger.transaction() as transaction:
            transaction.move_delivery(place.deliveries("1.1")[0].key, DeliveryEvent.COMMITMENT_REFUSED)
    with place.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET updated_at = '2001', received_at = '2001'")
    before = place.files()
    place.free_mb = 0
    place.look(**dict.fromkeys(EVERYTHING, 1e-05), min_free_mb=2000)
    assert place.files() == before
    assert place.study("1.1").images_removed_at is None


def test_sent_is_not_delivered_where_the_destination_is_asked_to_commit(place: Place) -> None:
    place.done("1.1", days_ago=9)
    study = oldest_with(place.ledger, Part.RESULTS)
    assert study is not None
    for since, may_go in (("2026-01-01T00:00:00.000000Z", False), (None, True)):
        with place.ledger.transaction() as transaction:
            transaction.execute("UPDATE deliveries SET unkept_since = ?", (since,))
            assert remove_part(transaction, study, Part.RESULTS, Terms(), why="age") is may_go


def test_results_that_no_destination_has_stay_and_their_images_go(place: Place) -> None:
    place.receive("1.1")
    key = place.complete("1.1", send_to=())
    place.segment("1.1")
    place.encode("1.1")
    assert place.study("1.1").reason == WhyDone.NO_DESTINATION
    place.age("1.1", 100)
    place.look(**EVERYTHING)
    assert place.files("instances") == set()
    assert {f"objects/jobs/{key}/labels.nii.gz", f"results/{key}/1.1.1.dcm"} <= place.files()
    assert place.study("1.1").state == "done"  # and its rows are here, too


def test_results_that_a_person_cancelled_go_with_the_rest(place: Place) -> None:
    place.receive("1.1")
    place.complete("1.1")
    place.segment("1.1")
    place.move("job-1.1", JobEvent.CANCELLED)
    place.age("1.1", 2)
    place.look(images_days=1, results_days=1)
    assert place.files() == set()


def test_upload_goes_with_its_label_map_by_its_own_age_only(place: Place) -> None:
    key = place.upload("1.1")
    place.segment("1.1")
    place.move(key, JobEvent.DELIVERED)
    place.age("1.1", 2)
    before = place.files()
    place.free_mb = 0
    place.look(images_days=1, results_days=1, min_free_mb=2000)
    assert place.files() == before
    place.look(uploads_days=1)
    assert place.files() == set()
    assert (place.study("1.1").images_removed_at, place.job(key).results_removed_at) != (None, None)


def test_upload_that_comes_again_after_it_was_removed_is_a_new_one(place: Place) -> None:
    key = place.upload("1.1")
    place.segment("1.1")
    place.move(key, JobEvent.DELIVERED)
    assert place.upload("1.1") == key
    assert place.job(key).state == "delivered"  # it is here still
    place.age("1.1", 2)
    place.look(uploads_days=1)
    assert place.upload("1.1") == key
    assert place.job(key).state == "planned"
    place.look(uploads_days=1)
    assert place.files("uploads") == {"uploads/1.1.nii.gz"}


def test_upload_of_what_is_being_forgotten_is_refused(place: Place) -> None:
    place.upload("1.1")
    with place.ledger.transaction() as transaction:
        request_forget(transaction, "1.1")
    with pytest.raises(NotPossible, match="upload it again in a minute"):
        place.upload("1.1")
    place.look()
    assert place.files() == set()
    place.upload("1.1")
    assert place.files() == {"uploads/1.1.nii.gz"}


def test_quarantine_is_emptied_by_the_last_time_that_an_object_came(place: Place) -> None:
    place.put_aside("a" * 64, days_ago=3)
    place.put_aside("b" * 64, days_ago=1)
    place.look(quarantine_days=2)
    assert place.files() == {f"quarantine/{'b' * 64}.dcm"}
    assert [row["key"] for row in place.ledger.read("SELECT key FROM quarantine")] == ["b" * 64]


def test_rows_go_after_images_and_results_and_leave_a_tombstone(place: Place) -> None:
    key = place.done("1.1", days_ago=2)
    received = place.study("1.1").received_at
    place.look(images_days=1, results_days=1, ledger_days=1)
    tables = ["studies", "jobs", "job_images", "result_objects", "deliveries", "instances", "events"]
    assert [table for table in tables if place.ledger.read(f"SELECT 1 FROM {table}")] == []
    [tombstone] = place.ledger.read("SELECT * FROM tombstones")
    assert dict(tombstone) | {"removed_at": ""} == {
        "study_key": "key-1.1",
        "job_keys": f'["{key}"]',
        "received_at": received,
        "done_at": tombstone["done_at"],
        "removed_at": "",
        "why": "age",
    }
    figures = {row["number"] for row in place.ledger.read("SELECT number FROM counts")}
    assert figures == {0}


def test_rows_stay_while_something_of_the_study_is_here(place: Place) -> None:
    place.done("1.1", days_ago=2)
    place.look(images_days=1, ledger_days=1)
    assert place.study("1.1").images_removed_at is not None
    assert place.ledger.read("SELECT * FROM tombstones") == []


def test_rows_stay_while_the_mirror_does_not_have_them(place: Place) -> None:
    with place.ledger.transaction() as transaction:
        transaction.execute("UPDATE mirror SET is_on = 1")
    place.done("1.1", days_ago=2)
    place.look(images_days=1, results_days=1, ledger_days=1)
    assert place.study("1.1").state == "done"
    with place.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM mirror_outbox")  # it has been shipped
    place.look(images_days=1, results_days=1, ledger_days=1)
    assert place.ledger.read("SELECT * FROM studies") == []


def test_study_that_became_done_again_is_looked_at_again(place: Place) -> None:
    place.done("1.1", days_ago=2)
    place.look(images_days=1)
    place.store("1.1", 7, series_uid="1.1.9", of_use=False, why_not="a report")  # comes late
    place.complete("1.1")
    assert place.study("1.1").state == "done"
    assert len(place.files("instances")) == 1
    place.look(images_days=1)
    assert len(place.files("instances")) == 1
    place.age("1.1", 2)
    place.look(images_days=1)
    assert place.files("instances") == set()


def test_many_studies_go_in_one_look_the_oldest_first(place: Place) -> None:
    for number in range(12):
        place.done(f"1.{number}", days_ago=20 - number)
    place.look(images_days=10, results_days=10)
    left = {path.split("/")[1] for path in place.files("instances")}
    assert left == {"1.11"}


# -- for room -----------------------------------------------------------------------------------------------


def test_oldest_done_studies_go_first_until_there_is_room(place: Place) -> None:
    for number in range(4):
        place.done(f"1.{number}", days_ago=4 - number)
    place.receive("1.9")

    def free(_: Path) -> int:
        return (2100 - 30 * len(place.files("instances", "results"))) * 1_000_000

    worker = place.worker(min_free_mb=1700)
    worker._free = free
    worker.work()
    assert free(place.data_dir) >= 1_700_000_000
    left = {path.split("/")[1] for path in place.files("instances")}
    assert left == {"1.2", "1.3", "1.9"}
    assert worker.trouble == ""


def test_disk_that_stays_short_is_told_and_nothing_undelivered_goes(place: Place) -> None:
    place.receive("1.9")
    place.done("1.1")
    place.free_mb = 900
    worker = place.look(min_free_mb=2000)
    assert "900 MB free, under retention.min_free_mb" in worker.trouble
    assert {path.split("/")[1] for path in place.files("instances")} == {"1.9"}
    place.free_mb = 5000
    worker.work()
    assert worker.trouble == ""


def test_instance_that_comes_in_wakes_the_worker_only_while_the_disk_is_short(place: Place) -> None:
    worker = place.worker(min_free_mb=2000)
    assert not worker.is_woken_by(InstanceStored("1.1", 1))
    place.free_mb = 1000
    assert not worker.is_woken_by(InstanceStored("1.1", 1))  # it was looked at within this second
    worker._room_looked_at -= 2
    assert worker.is_woken_by(InstanceStored("1.1", 1))


@pytest.mark.parametrize(
    ("free_mb", "low_mb", "is_refused"), [(1024, 1024, True), (1025, 1024, False), (0, 1024, False)]
)
def test_room_to_keep_must_be_above_the_low_water_mark(
    monkeypatch: pytest.MonkeyPatch, free_mb: int, low_mb: int, is_refused: bool
) -> None:
    monkeypatch.setenv("IRIS_RETENTION__MIN_FREE_MB", str(free_mb))
    monkeypatch.setenv("IRIS_SITE__LOW_WATER_MB", str(low_mb))
    if is_refused:
        with pytest.raises(ConfigError, match="min_free_mb = 1024 must be above site"):
            read_config()
    else:
        assert isinstance(read_config(), Config)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"LEDGER_DAYS": "9", "IMAGES_DAYS": "1"}, "retention.ledger_days removes nothing by itself"),
        ({"RESULTS_DAYS": "9"}, "retention.results_days removes nothing: without"),
        ({"LEDGER_DAYS": "9", "IMAGES_DAYS": "1", "RESULTS_DAYS": "1"}, "retention.results_days removes"),
        ({"IMAGES_DAYS": "1"}, ""),
    ],
)
def test_setting_that_removes_nothing_is_told_at_start(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], says: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"IRIS_RETENTION__{name}", value)
    about = [sentence for sentence in warnings_about(read_config()) if "retention" in sentence]
    assert [sentence.startswith(says) for sentence in about] == ([True] if says else [])


# -- killed, hindered ---------------------------------------------------------------------------------------


def test_what_the_ledger_says_is_gone_goes_at_the_next_start_after_a_kill(place: Place) -> None:
    key = place.done("1.1", days_ago=2)
    worker = place.worker(images_days=1, results_days=1)
    worker._remover.remove = lambda _: None  # killed before the first file
    worker.work()
    assert len(place.files("instances")) == 3
    place.ledger.close()
    again = open_place(place.data_dir)
    again.look()  # whatever is configured by now
    assert again.files() == set()
    assert again.ledger.read("SELECT * FROM removals") == []
    assert again.job(key).state == "delivered"
    again.ledger.close()


def test_file_that_cannot_be_removed_holds_up_no_other_and_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.done("1.1", days_ago=2)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "1-h.dcm":
            raise OSError(5, "Input/output error")
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        worker = place.look(images_days=1)
        assert place.files("instances") == {"instances/1.1/1-h.dcm"}
        assert "Input/output error" in worker.trouble
    worker.work()
    assert place.files("instances") == set()
    assert worker.trouble == ""


def test_job_folders_wait_for_a_bucket_that_is_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    key = place.done("1.1", days_ago=2)

    def away(_: str) -> None:
        raise Away("nobody answers; look at the network")

    with monkeypatch.context() as patch:
        patch.setattr(place.objects, "remove", away)
        worker = place.look(results_days=1)
        assert worker.trouble == "nobody answers; look at the network"
        assert f"objects/jobs/{key}/labels.nii.gz" in place.files()
        assert place.files("results") == set()
    worker.work()
    assert place.files("objects") == set()


def test_removed_file_is_gone_for_good_before_it_is_struck_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.done("1.1", days_ago=2)
    synced: list[tuple[Path, int]] = []
    fsync, open_folders = os.fsync, {}
    real_open = os.open

    def note_open(path, *args, **named):
        descriptor = real_open(path, *args, **named)
        open_folders[descriptor] = Path(path)
        return descriptor

    def note_fsync(descriptor: int) -> None:
        fsync(descriptor)
        waiting = place.ledger.read("SELECT count(*) FROM removals WHERE kind = 'file'")[0][0]
        if descriptor in open_folders:
            synced.append((open_folders[descriptor], waiting))

    monkeypatch.setattr(os, "open", note_open)
    monkeypatch.setattr(os, "fsync", note_fsync)
    place.look(images_days=1)
    assert (place.data_dir / "instances" / "1.1", 3) in synced


def test_ages_are_counted_from_done(place: Place) -> None:
    place.done("1.1", days_ago=0)
    study = place.study("1.1")
    assert study.done_at is not None
    assert utc_time(study.done_at) - utc_time(study.received_at) < timedelta(seconds=30)
    with place.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET received_at = '2001-01-01T00:00:00.000000Z'")
    place.look(images_days=1)
    assert len(place.files("instances")) == 3


def test_job_folder_is_removed_where_a_copy_of_it_lies_too(place: Place, tmp_path: Path) -> None:
    abroad = FolderStore(tmp_path / "second region")
    abroad.put("jobs/k1/input.nii.gz", b"voxels")
    with place.ledger.transaction() as transaction:
        plan_removal(transaction, Gone.OBJECTS, ["jobs/k1/"])
    Remover(place.ledger, place.data_dir, place.objects, place.locks, [abroad]).remove(lambda: False)
    assert abroad.get("jobs/k1/input.nii.gz") is None
    assert removals_of(place.ledger, Gone.OBJECTS, 0, 10) == []
