"""What goes wrong between a job and S3: lost answers, cut connections, refusals; seen through a proxy."""

import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_job import bucket
from batch_job.contract import EXIT_DONE, EXIT_TRANSIENT, Progress
from batch_job.errors import BadInput, ComeBackLater
from batch_job.place import Attempt
from tests.spoiling_proxy import Proxy

LARGE_BYTES = 100_000_000


@pytest.fixture
def proxy(object_store: str) -> Iterator[Proxy]:
    made = Proxy(object_store)
    yield made
    made.stop()


@pytest.fixture
def job(job_in_bucket: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A job whose way to S3 leads through the proxy, and is tried three times."""
    changed = {"AWS_ENDPOINT_URL": proxy.address, "AWS_MAX_ATTEMPTS": "3"}
    job_in_bucket.environment.update(changed)
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    return job_in_bucket


def first_at(ending: str, wish: Any) -> Callable[[str, str, int], Any]:
    """Spoil the first write of one object."""
    return lambda method, path, number: (
        wish if method == "PUT" and path.endswith(ending) and number == 0 else None
    )


# -- answers that are lost --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["manifest.json", "begun.json", "owner.json", "labels.nii.gz", "progress.json"]
)
def test_run_whose_write_lost_its_answer_is_done_once(
    job: Any, proxy: Proxy, small_ct: bytes, name: str
) -> None:
    job.stage(small_ct)
    proxy.spoil = first_at(name, "lose")
    assert job.run(AWS_BATCH_JOB_ID="a").returncode == EXIT_DONE
    manifest = job.manifest()
    assert manifest.attempt == 1
    assert all(job.output(name) for name in manifest.outputs)
    assert [method for method, path, _ in proxy.seen if method == "PUT" and path.endswith(name)] >= [
        "PUT"
    ] * 2


def test_run_writes_its_last_progress_before_the_manifest_and_nothing_after_it(
    job: Any, proxy: Proxy, small_ct: bytes
) -> None:
    job.stage(small_ct)
    assert job.run().returncode == EXIT_DONE
    assert Progress.from_json(job.read("progress.json")).fraction == 1.0
    written = [path for method, path, _ in proxy.seen if method == "PUT"]
    assert written[-1].endswith("manifest.json")


def test_run_whose_claims_and_manifest_meet_others_is_done(job: Any, proxy: Proxy, small_ct: bytes) -> None:
    job.stage(small_ct)
    conditional = ("owner.json", "begun.json", "manifest.json")
    proxy.spoil = lambda method, path, number: (
        (409, "ConditionalRequestConflict")
        if method == "PUT" and path.endswith(conditional) and number < 2
        else None
    )
    assert job.run(AWS_BATCH_JOB_ID="a").returncode == EXIT_DONE
    assert job.manifest().attempt == 1


@pytest.mark.parametrize("value", [{"AWS_MAX_ATTEMPTS": "many"}, {"AWS_ENDPOINT_URL": "no address"}])
def test_run_with_a_setting_that_is_none_is_transient(job_in_bucket: Any, value: dict[str, str]) -> None:
    result = job_in_bucket.run(**value)
    assert (result.returncode, result.stderr.count("\n")) == (EXIT_TRANSIENT, 1)
    assert "the AWS_ variables" in result.stderr


def test_run_that_is_throttled_at_each_first_request_is_done(job: Any, proxy: Proxy, small_ct: bytes) -> None:
    job.stage(small_ct)
    proxy.spoil = lambda method, path, number: (503, "SlowDown") if number == 0 else None
    assert job.run().returncode == EXIT_DONE


# -- downloads that break ---------------------------------------------------------------------------------


def test_download_that_breaks_goes_on_where_it_broke(job: Any, proxy: Proxy, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(5_000_000)
    job.write("input.nii", content)
    proxy.spoil = lambda method, path, number: 2_000_000 if method == "GET" and number < 2 else None
    found = job.place().fetch("input.nii", tmp_path)
    assert found.path.read_bytes() == content
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    starts = [int(re.findall(r"\d+", asked)[0]) for method, _, asked in proxy.seen if method == "GET"]
    assert starts == sorted(set(starts))  # nothing is asked for twice
    assert len(starts) == 3


def test_download_that_breaks_after_the_last_byte_is_whole(job: Any, proxy: Proxy, tmp_path: Path) -> None:
    job.write("empty", b"")
    found = job.place().fetch("empty", tmp_path)
    assert found.path.read_bytes() == b""


def test_download_that_always_breaks_is_given_up(job: Any, proxy: Proxy, tmp_path: Path) -> None:
    job.write("input.nii", bytes(1_000_000))
    proxy.spoil = lambda method, path, number: 1000
    with pytest.raises(ComeBackLater, match="broke off"):
        job.place().fetch("input.nii", tmp_path)


# -- a store that is away ---------------------------------------------------------------------------------


def test_run_whose_store_goes_away_ends_within_bounded_time(job: Any, proxy: Proxy, small_ct: bytes) -> None:
    job.stage(small_ct)
    stopped: list[float] = []

    def stop_at_first_output(method: str, path: str, number: int) -> str | None:
        if method == "PUT" and path.endswith("labels.nii.gz"):
            stopped.append(time.monotonic())
            proxy.server.socket.close()  # nobody is answered from here on
            return "lose"
        return None

    proxy.spoil = stop_at_first_output
    result = job.run()
    assert result.returncode == EXIT_TRANSIENT
    assert "look at the network" in result.stderr
    assert result.stderr.count("\n") == 1
    assert time.monotonic() - stopped[0] < 60
    assert not job.has("manifest.json")


def test_store_that_never_answers_is_given_up_within_bounded_time(
    job: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "READ_TIMEOUT_S", 0.3)
    silent = threading.Event()
    proxy.spoil = lambda method, path, number: "lose" if silent.wait(200) else None
    began = time.monotonic()
    with pytest.raises(ComeBackLater, match="ReadTimeoutError"):
        job.place().get("request.json")
    assert time.monotonic() - began < 100
    silent.set()


def test_run_without_a_store_is_transient(job_in_bucket: Any) -> None:
    result = job_in_bucket.run(AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_MAX_ATTEMPTS="2")
    assert result.returncode == EXIT_TRANSIENT
    assert "AWS_ENDPOINT_URL" in result.stderr


# -- a store that refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "way_out"),
    [
        (403, "AccessDenied", ComeBackLater, "s3:ListBucket"),
        (400, "ExpiredToken", ComeBackLater, "a new run gets new ones"),
        (403, "InvalidAccessKeyId", ComeBackLater, "give the job a role"),
        (403, "SignatureDoesNotMatch", ComeBackLater, "give the job a role"),
        (503, "SlowDown", ComeBackLater, "SlowDown"),
        (500, "InternalError", ComeBackLater, "InternalError"),
        (404, "NoSuchBucket", BadInput, "the address and the region"),
    ],
)
def test_store_that_refuses_is_told_in_our_words(
    job: Any, proxy: Proxy, tmp_path: Path, status: int, code: str, kind: type[Exception], way_out: str
) -> None:
    proxy.spoil = lambda *asked: (status, code)
    place = job.place()
    source = tmp_path / "source"
    source.write_bytes(b"content")
    for ask in (
        lambda: place.get("file"),
        lambda: place.put("file", b"content"),
        lambda: place.put("file", source),
        lambda: place.settle("file", b"content", None),
        lambda: place.fetch("file", tmp_path),
        lambda: place.remove("file"),
        lambda: place.claimed(Attempt()).__enter__(),
    ):
        with pytest.raises(kind, match=way_out) as raised:
            ask()
        assert "secret text" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_run_without_credentials_says_where_they_come_from(job_in_bucket: Any, tmp_path: Path) -> None:
    nowhere = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        job_in_bucket.environment[name] = ""
    result = job_in_bucket.run(**nowhere)
    assert result.returncode == EXIT_TRANSIENT
    assert "give the job a role" in result.stderr


def test_run_without_boto3_says_how_to_get_it(job_in_bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('boto3')")
    result = job_in_bucket.run(PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "pip install boto3" in result.stderr


# -- objects larger than memory ---------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
from batch_job.address import open_place
from batch_job.resources import peak_rss_mb
place = open_place(sys.argv[3])
place.get("nothing")
before = peak_rss_mb()
place.put("large.bin", Path(sys.argv[1]))
between = peak_rss_mb()
found = place.fetch("large.bin", Path(sys.argv[2]))
print(between - before, peak_rss_mb() - between, found.sha256)
"""


def test_large_object_is_streamed_both_ways_in_bounded_memory(job_in_bucket: Any, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(1_000_000) * (LARGE_BYTES // 1_000_000)
    (tmp_path / "source").write_bytes(content)
    (tmp_path / "into").mkdir()
    arguments = [str(tmp_path / "source"), str(tmp_path / "into"), job_in_bucket.address]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, **job_in_bucket.environment},
    )
    up_mb, down_mb, digest = result.stdout.split()
    assert digest == hashlib.sha256(content).hexdigest()
    assert float(up_mb) < 40
    assert float(down_mb) < 20
