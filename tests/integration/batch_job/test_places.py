"""What every place of a job does alike, be it a folder or a bucket."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from batch_job.checkpoints import PlaceCheckpoints
from batch_job.contract import EngineInfo, JobRequest, Manifest
from batch_job.errors import BadInput, ComeBackLater
from batch_job.job import Job
from batch_job.place import Attempt, JobPlace

CONTENT = b"labels"


@pytest.fixture
def place(job: Any) -> JobPlace:
    found: JobPlace = job.place()
    return found


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder of this machine."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def staged(job: Any, small_ct: bytes) -> Any:
    job.stage(small_ct)
    return job


@pytest.fixture
def opened(staged: Any, here: Path) -> Iterator[Job]:
    """The job as a run holds it."""
    place = staged.place()
    with place.claimed(Attempt()) as claim:
        yield Job(place, claim, here)


def manifest_of(opened: Job, here: Path, **fields: Any) -> Manifest:
    """Keep the labels; a manifest that names them."""
    (here / "labels.nii.gz").write_bytes(CONTENT)
    values: dict[str, Any] = {
        "job_key": "key-1",
        "outputs": {"labels.nii.gz": opened.keep("labels.nii.gz", here / "labels.nii.gz")},
        "labels": {1: "bone"},
        "engine": EngineInfo(name="threshold", version="1", weights=""),
        "seconds": {},
        "peak_rss_mb": 1,
        "attempt": opened.claim.attempt,
    }
    return Manifest(**{**values, **fields})


# -- files ------------------------------------------------------------------------------------------------


def test_place_without_a_file_gives_none(place: JobPlace, here: Path) -> None:
    assert place.size("input.nii.gz") is None
    assert place.get("request.json") is None
    assert place.fetch("input.nii.gz", here) is None


def test_place_put_then_read_gives_the_same(place: JobPlace, here: Path) -> None:
    (here / "source").write_bytes(CONTENT)
    place.put("one.bin", here / "source")
    place.put("folder/two.bin", CONTENT)
    place.put("empty.bin", b"")
    for name, content in {"one.bin": CONTENT, "folder/two.bin": CONTENT, "empty.bin": b""}.items():
        assert (place.size(name), place.get(name)) == (len(content), content)
        found = place.fetch(name, here)
        assert found is not None
        assert found.sha256 == hashlib.sha256(content).hexdigest()
        assert found.path.read_bytes() == content


def test_place_put_again_replaces(place: JobPlace) -> None:
    for content in (b"one", b"two"):
        place.put("file", content)
    assert place.get("file") == b"two"


def test_place_put_of_a_file_that_is_missing_leaves_what_was(job: Any, place: JobPlace, here: Path) -> None:
    place.put("file", b"old")
    with pytest.raises(FileNotFoundError):
        place.put("file", here / "missing")
    assert place.get("file") == b"old"
    assert job.names() == {"file"}


def test_place_settle_writes_only_over_what_was_expected(place: JobPlace) -> None:
    assert not place.settle("file", b"new", instead_of=b"old")
    assert place.settle("file", b"one", instead_of=None)
    assert not place.settle("file", b"two", instead_of=None)
    assert not place.settle("file", b"two", instead_of=b"another")
    assert place.get("file") == b"one"
    assert place.settle("file", b"two", instead_of=b"one")
    assert place.get("file") == b"two"


def test_place_remove_takes_a_file_or_a_whole_folder(job: Any, place: JobPlace) -> None:
    for name in ("part", "parts/a", "parts/b/c", "partsbeside"):
        place.put(name, CONTENT)
    place.remove("parts")
    place.remove("missing")
    assert job.names() == {"part", "partsbeside"}
    place.remove("part")
    assert job.names() == {"partsbeside"}


# -- a job ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, b"", b"[]", b'{"contract": 2}'])
def test_job_request_missing_or_wrong_is_bad_input(opened: Job, staged: Any, text: bytes | None) -> None:
    if text is None:
        staged.delete("request.json")
    else:
        staged.write("request.json", text)
    with pytest.raises(BadInput):
        opened.request()


def test_job_input_is_the_file_that_the_request_names(opened: Job, staged: Any, small_ct: bytes) -> None:
    request = opened.request()
    assert opened.input_bytes(request) == len(small_ct)
    assert opened.input(request).read_bytes() == small_ct
    staged.write("input.nii.gz", b"another image")
    with pytest.raises(BadInput, match="stage it again"):
        opened.input(request)
    staged.delete("input.nii.gz")
    for asked in (opened.input, opened.input_bytes):
        with pytest.raises(BadInput, match=r"no input\.nii\.gz"):
            asked(request)


def test_job_with_manifest_and_outputs_is_done(opened: Job, here: Path) -> None:
    request = opened.request()
    assert not opened.is_done(request)
    opened.finish(manifest_of(opened, here))
    assert opened.is_done(request)


def other_job(staged: Any) -> None:
    change_manifest(staged, job_key="other")


def later_contract(staged: Any) -> None:
    change_manifest(staged, contract=2)


def change_manifest(staged: Any, **fields: Any) -> None:
    staged.write("manifest.json", json.dumps({**json.loads(staged.read("manifest.json")), **fields}).encode())


def changed_output(staged: Any) -> None:
    entry = staged.manifest().outputs["labels.nii.gz"]
    staged.write(entry.path or "labels.nii.gz", CONTENT + b"!")


def missing_output(staged: Any) -> None:
    entry = staged.manifest().outputs["labels.nii.gz"]
    staged.delete(entry.path or "labels.nii.gz")


def no_output(staged: Any) -> None:
    change_manifest(staged, outputs={})


def half_a_manifest(staged: Any) -> None:
    staged.write("manifest.json", b'{"contract": 1,')


@pytest.mark.parametrize(
    "harm", [other_job, later_contract, changed_output, missing_output, no_output, half_a_manifest]
)
def test_job_whose_result_is_unsound_is_not_done_and_is_finished_anew(
    opened: Job, staged: Any, here: Path, harm: Any
) -> None:
    request = opened.request()
    opened.finish(manifest_of(opened, here))
    harm(staged)
    assert not opened.is_done(request)
    opened.forget_results()
    opened.finish(manifest_of(opened, here))
    assert opened.is_done(request)


# -- checkpoints ------------------------------------------------------------------------------------------


def checkpoints(place: JobPlace, here: Path, work: str = "this work") -> PlaceCheckpoints:
    return PlaceCheckpoints(place, work, here, nullcontext)


@pytest.fixture
def kept(place: JobPlace, here: Path) -> JobPlace:
    """A place that holds the finished part `model-1`."""
    (here / "source").write_bytes(b"finished")
    checkpoints(place, here).put("model-1", here / "source")
    return place


def test_checkpoint_of_the_same_work_comes_back(kept: JobPlace, here: Path) -> None:
    found = checkpoints(kept, here).get("model-1")
    assert found is not None
    assert found.read_bytes() == b"finished"


def test_checkpoint_of_other_work_or_another_name_does_not_come_back(kept: JobPlace, here: Path) -> None:
    assert checkpoints(kept, here, "other work").get("model-1") is None
    assert checkpoints(kept, here).get("model-2") is None


@pytest.mark.parametrize("content", [b"finishe", b"damaged!", None])
def test_checkpoint_that_is_damaged_does_not_come_back(
    kept: JobPlace, job: Any, here: Path, content: bytes | None
) -> None:
    if content is None:
        job.delete("checkpoint/model-1")
    else:
        job.write("checkpoint/model-1", content)
    assert checkpoints(kept, here).get("model-1") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", None])
def test_checkpoint_without_a_sound_record_does_not_come_back(
    kept: JobPlace, job: Any, here: Path, content: bytes | None
) -> None:
    (record,) = (name for name in job.names() if name.endswith(".record"))
    if content is None:
        job.delete(record)
    else:
        job.write(record, content)
    assert checkpoints(kept, here).get("model-1") is None


@pytest.mark.parametrize("name", ["", "../manifest.json", "a/b", ".hidden", "model.record", "a\n"])
def test_checkpoint_with_a_name_that_is_none_is_refused(place: JobPlace, here: Path, name: str) -> None:
    (here / "source").write_bytes(b"finished")
    with pytest.raises(ValueError, match="plain name"):
        checkpoints(place, here).put(name, here / "source")


def test_job_that_is_finished_keeps_no_checkpoints(
    kept: JobPlace, opened: Job, staged: Any, here: Path
) -> None:
    assert staged.has("checkpoint/model-1")
    opened.finish(manifest_of(opened, here))
    opened.drop_checkpoints()
    assert not [name for name in staged.names() if name.startswith("checkpoint")]


def test_job_request_without_a_key_of_its_own_is_the_same_work() -> None:
    from batch_job.checkpoints import identity_of_work

    def request(**fields: Any) -> JobRequest:
        values = {"job_key": "a", "task": "tissue", "engine": "threshold", "options": {"fast": False}}
        file = {"name": "input.nii.gz", "sha256": "0" * 64}
        return JobRequest.model_validate({**values, "input": file, **fields})

    engine = EngineInfo(name="threshold", version="1", weights="")
    same = identity_of_work(request(), engine)
    assert identity_of_work(request(job_key="b"), engine) == same
    later = EngineInfo(name="threshold", version="2", weights="")
    others = [
        identity_of_work(request(), later),
        identity_of_work(request(options={"fast": True}), engine),
        identity_of_work(request(task="other"), engine),
        identity_of_work(request(input={"name": "input.nii.gz", "sha256": "1" * 64}), engine),
    ]
    assert len({same, *others}) == 5


def test_place_that_fails_is_no_bad_input(job_in_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    place = job_in_bucket.place()
    for ask in (place.size, place.get, place.remove):
        with pytest.raises(ComeBackLater, match="AWS_ENDPOINT_URL"):
            ask("file")
