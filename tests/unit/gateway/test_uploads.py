"""NIfTI files that are given to a gateway: what the ledger holds of them, and why others are refused."""

import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.api.store import TooLarge, UploadWish
from gateway.api.studies.listings import show_study
from gateway.config import Fallback
from gateway.events import Bus
from gateway.identity import SiteSecret
from gateway.ledger import work
from gateway.ledger.completion import jobs_of
from gateway.ledger.outbox import due_changes, switch_mirror
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible
from gateway.mirror.details import ConfiguredNames
from gateway.mirror.items import Items
from gateway.running.fallback import FallbackQueue
from gateway.uploads import NiftiUploads
from tests.nifti import ENGINE, PATIENT, content, image, uploads_of, voxels

ANY = UploadWish("", "{}", None, None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", Bus()) as ledger:
        yield ledger


@pytest.fixture
def uploads(ledger: Ledger, tmp_path: Path) -> NiftiUploads:
    return uploads_of(ledger, tmp_path)


def give(uploads: NiftiUploads, wish: UploadWish = ANY, given: bytes = b"") -> dict[str, Any]:
    return uploads.take(wish, io.BytesIO(given or content()))


def move(ledger: Ledger, job_key: str, *events: JobEvent) -> None:
    for event in events:
        with ledger.transaction() as transaction:
            transaction.move_job(job_key, event)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "uploads").iterdir())


def test_image_that_is_taken_has_a_study_of_its_own_with_one_planned_job(
    uploads: NiftiUploads, ledger: Ledger, tmp_path: Path
) -> None:
    taken = give(uploads)
    study = show_study(ledger, taken["study_key"])
    assert study is not None
    assert (study["state"], study["study_description"]) == ("processing", "NIfTI upload")
    assert study["study_uid"].startswith("2.25.")
    assert [study[name] for name in ("patient_id", "accession_number", "study_date")] == ["", "", ""]
    [job] = study["jobs"]
    assert (job["job_key"], job["state"], job["rule"]) == (taken["job_key"], "planned", "upload")
    assert (taken["state"], taken["put"]) == ("planned", None)
    [name] = files(tmp_path)
    assert PATIENT not in gzip.decompress((tmp_path / "uploads" / name).read_bytes())


def test_same_image_given_twice_is_one_job_with_the_same_keys(
    uploads: NiftiUploads, ledger: Ledger, tmp_path: Path
) -> None:
    first = give(uploads)
    move(ledger, first["job_key"], JobEvent.SEGMENTED)
    again = give(uploads, given=content(image(voxels(dtype=">i2")), gzipped=False))
    assert again == {**first, "state": "segmented"}
    assert len(files(tmp_path)) == len(ledger.read("SELECT * FROM jobs")) == 1


def test_same_image_with_other_options_is_another_job_of_its_study(
    uploads: NiftiUploads, ledger: Ledger
) -> None:
    first = give(uploads)
    move(ledger, first["job_key"], JobEvent.SEGMENTED, JobEvent.DELIVERED)
    other = give(uploads, UploadWish("tissue", '{"fast": true}', None, None))
    assert other["study_key"] == first["study_key"]
    assert other["job_key"] != first["job_key"]
    study = show_study(ledger, first["study_key"])
    assert study is not None
    assert [job["state"] for job in study["jobs"]] == ["delivered", "planned"]
    assert study["state"] == "processing"


def test_default_options_spelled_out_are_the_same_job(uploads: NiftiUploads) -> None:
    assert give(uploads) == give(uploads, UploadWish("tissue", '{"fast": false}', None, None))


def test_delivered_upload_says_that_its_label_map_is_ready(uploads: NiftiUploads, ledger: Ledger) -> None:
    taken = give(uploads)
    move(ledger, taken["job_key"], JobEvent.SEGMENTED, JobEvent.DELIVERED)
    study = show_study(ledger, taken["study_key"])
    assert study is not None
    assert (study["state"], study["reason"]) == ("done", "the label map is ready")


def test_cancelled_upload_is_planned_again_by_a_retry(uploads: NiftiUploads, ledger: Ledger) -> None:
    key = give(uploads)["job_key"]
    with ledger.transaction() as transaction:
        work.cancel(transaction, key)
    assert give(uploads)["state"] == "cancelled"
    with ledger.transaction() as transaction:
        work.retry(transaction, key)
    assert give(uploads)["state"] == "planned"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (UploadWish("total", "{}", None, None), 'threshold has no task "total"; it has: tissue'),
        (UploadWish("", '{"tta": true}', None, None), 'no option "tta"'),
        (UploadWish("", '{"fast": 1}', None, None), "must be of type bool"),
        (UploadWish("", "{fast", None, None), "no JSON"),
        (UploadWish("", "[" * 4000, None, None), "no JSON"),
        (UploadWish("", "[1]", None, None), "must be a JSON object"),
        (UploadWish("", "{}", "0" * 64, None), "not the one that sha256 names"),
        (UploadWish("", "{}", None, 5), "bytes, not 5"),
    ],
)
def test_wish_that_cannot_be_fulfilled_is_refused_and_leaves_nothing(
    uploads: NiftiUploads, ledger: Ledger, tmp_path: Path, wish: UploadWish, why: str
) -> None:
    with pytest.raises(NotPossible, match=why):
        give(uploads, wish)
    assert files(tmp_path) == []
    assert ledger.read("SELECT * FROM studies") == []


def test_file_that_is_no_image_is_refused_and_leaves_nothing(
    uploads: NiftiUploads, ledger: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(NotPossible, match="4 dimensions"):
        give(uploads, given=content(image(voxels(3, 3, 3, 3))))
    assert files(tmp_path) == []
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []
    assert ledger.read("SELECT * FROM studies") == []


def test_image_that_unpacks_to_more_than_is_taken_is_too_large(ledger: Ledger, tmp_path: Path) -> None:
    uploads = uploads_of(ledger, tmp_path, max_upload_mb=1)
    with pytest.raises(TooLarge, match="max_upload_mb sets that"):
        give(uploads, given=content(image(voxels(100, 100, 100))))


def test_file_as_it_was_said_to_be_is_taken(uploads: NiftiUploads) -> None:
    given = content()
    wish = UploadWish("tissue", "{}", hashlib.sha256(given).hexdigest(), len(given))
    assert give(uploads, wish, given)["state"] == "planned"


def test_start_of_an_upload_says_its_state_and_of_nothing_else_anything(
    uploads: NiftiUploads, ledger: Ledger
) -> None:
    taken = give(uploads)
    key = taken["job_key"]
    assert uploads.start(key) == {"kind": "job", "key": key, "state": "planned"}
    move(ledger, key, JobEvent.CANCELLED)
    assert uploads.start(key) == {"kind": "job", "key": key, "state": "cancelled"}
    assert uploads.start("a" * 64) is None


def test_offer_is_refused_with_the_way_out(uploads: NiftiUploads) -> None:
    with pytest.raises(NotPossible, match="send the image itself"):
        uploads.offer(ANY)


def test_tasks_are_those_of_the_engine(uploads: NiftiUploads) -> None:
    tasks = uploads.tasks()
    assert (tasks["engine"], tasks["default_task"], tasks["takes"]) == ("threshold", "tissue", "file")
    assert tasks["items"] == [
        {"task": "tissue", "modality": "CT", "is_licensed": False, "variants": ["fast"]}
    ]


def test_file_without_a_row_is_kept_and_said_at_the_next_start_and_half_a_file_is_removed(
    uploads: NiftiUploads, tmp_path: Path
) -> None:
    give(uploads)
    whole = tmp_path / "uploads" / f"{'f' * 64}.nii.gz"
    whole.write_bytes(b"of a gateway whose ledger was put back")
    kept = files(tmp_path)
    whole.with_name(f".{whole.name}.0.part").write_bytes(b"half")
    with capture_logs() as said:
        uploads.begin()
    assert files(tmp_path) == kept
    assert [(entry["event"], entry.get("files")) for entry in said] == [("uploads_unknown", 1)]


def test_image_belongs_to_no_rule_whatever_comes_in_under_its_study(
    uploads: NiftiUploads, ledger: Ledger
) -> None:
    give(uploads)
    [row] = ledger.read("SELECT of_use, why_not FROM instances")
    assert (row["of_use"], bool(row["why_not"])) == (0, True)


def test_upload_is_mirrored_with_keys_states_and_nothing_of_its_file(
    uploads: NiftiUploads, ledger: Ledger, tmp_path: Path
) -> None:
    switch_mirror(ledger, is_on=True, keep_days=90)
    taken = give(uploads)
    move(ledger, taken["job_key"], JobEvent.SEGMENTED, JobEvent.DELIVERED)
    names = ConfiguredNames(rules=frozenset({"upload"}), tasks=frozenset({"tissue"}))
    items = [item.attributes for item in Items(ledger, "test", names, 90).of(due_changes(ledger, 100), 1)]
    assert [item["details"] for item in items if item.get("event") == "job.planned"] == [
        {"rule": "upload", "task": "tissue"}
    ]
    [study] = [item for item in items if "instances" in item]
    assert (study["state"], study["reason"]) == ("done", "label_map_ready")
    said = str(items)
    [path] = ledger.read("SELECT path, sop_instance_uid, pixel_sha256 FROM instances")
    [row] = ledger.read("SELECT study_uid FROM studies")
    assert not any(str(value) in said for value in (*path, *row))


def test_job_of_an_upload_is_known_by_its_state(uploads: NiftiUploads, ledger: Ledger) -> None:
    taken = give(uploads)
    [study] = ledger.read("SELECT study_uid FROM studies")
    [job] = jobs_of(ledger, study["study_uid"])
    assert (job.is_upload, job.state, job.job_key) == (True, JobState.PLANNED, taken["job_key"])
    assert (job.send_to, job.slot) == ((), job.job_key)


def test_upload_that_goes_to_the_fallback_is_the_job_that_its_options_would_have_made(
    uploads: NiftiUploads, ledger: Ledger, tmp_path: Path
) -> None:
    taken = give(uploads)
    move(ledger, taken["job_key"], JobEvent.QUEUED)
    secret = SiteSecret(tmp_path / "site-secret")
    queue = Fallback(job_queue="cpu", options={"fast": True})
    job = work.next_job(ledger, JobState.RUNNABLE)
    FallbackQueue(ledger, queue, secret, ENGINE).move(job, "it waited too long")
    fast = give(uploads, UploadWish("", '{"fast": true}', None, None))
    open_job = work.next_job(ledger, JobState.PLANNED)
    assert (open_job.job_key, open_job.is_upload) == (fast["job_key"], True)
    assert open_job.fallback_of == taken["job_key"]
    assert give(uploads)["state"] == "superseded"
