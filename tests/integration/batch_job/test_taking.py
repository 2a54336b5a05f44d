"""A run that is done takes others that wait: in order, each once, not for ever, and not after a failure."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from batch_job.bucket import BucketPlace
from batch_job.contract import EXIT_BAD_INPUT, RunExit, RunWanted
from batch_job.errors import ComeBackLater
from batch_job.place import Attempt
from batch_job.several import Ended, Wanted
from batch_job.taking import Taking

BUCKET = "iris-taking"
OWN = Attempt(run=1, batch_attempt=2, batch_job_id="own-job")
NUMBERS = itertools.count()


class Bucket:
    """Two groups of markers, and job folders."""

    def __init__(self) -> None:
        self.client: Any = boto3.client("s3")
        self.client.create_bucket(Bucket=BUCKET)
        self.prefix = f"n{next(NUMBERS)}"  # moto's bucket is there for all tests

    def mark(self, name: str, key: str, run: int = 1, group: str = "ordinary") -> None:
        marker = RunWanted(address=self.address(f"jobs/{key}"), run=run)
        self.put(f"waiting/{group}/{name}", marker.to_json())

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}", Body=content)

    def get(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")["Body"].read()
        return content

    def markers(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/waiting/")
        return [each["Key"].rpartition("/")[2] for each in found.get("Contents", [])]

    def address(self, name: str) -> str:
        return f"s3://{BUCKET}/{self.prefix}/{name}/"

    def place(self, group: str) -> BucketPlace:
        return BucketPlace(self.client, BUCKET, f"{self.prefix}/waiting/{group}/")

    def taking(self, *groups: str, for_s: float = 60.0, own: Attempt = OWN) -> Taking:
        return Taking([self.place(group) for group in groups or ("ordinary",)], own, for_s)


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> Bucket:
    return Bucket()


def keys(taken: Iterator[Wanted]) -> list[str]:
    return [wanted.address.rstrip("/").rpartition("/")[2] for wanted in taken]


def test_runs_are_taken_in_the_order_of_their_markers_and_their_markers_go(bucket: Bucket) -> None:
    for name, key in (("9999-2", "third"), ("9990-9", "first"), ("9999-1", "second")):
        bucket.mark(name, key)
    assert keys(bucket.taking().runs()) == ["first", "second", "third"]
    assert bucket.markers() == []
    owner = json.loads(bucket.get("jobs/first/runs/1/owner.json"))
    assert (owner["batch_job_id"], owner["attempt"]) == ("own-job", 2)


def test_urgent_runs_are_taken_before_ordinary_ones_also_where_they_come_later(bucket: Bucket) -> None:
    bucket.mark("9999-1", "ordinary-1")
    bucket.mark("9999-2", "ordinary-2")
    taken = bucket.taking("urgent", "ordinary").runs()
    first = next(taken)
    bucket.mark("9998-9", "urgent-1", group="urgent")
    assert keys(iter([first, *taken])) == ["ordinary-1", "urgent-1", "ordinary-2"]


def test_run_that_somebody_owns_is_left_to_that_one_and_its_marker_goes(bucket: Bucket) -> None:
    bucket.mark("1", "other")
    bucket.put("jobs/other/runs/1/owner.json", b'{"batch_job_id": "another"}')
    bucket.mark("2", "cut-off")  # taken by an earlier attempt of this very job, which did not come to its end
    bucket.put("jobs/cut-off/runs/1/owner.json", b'{"batch_job_id": "own-job", "attempt": 1}')
    bucket.mark("3", "next-run", run=2)
    bucket.put("jobs/next-run/runs/1/owner.json", b'{"batch_job_id": "another"}')
    bucket.put("waiting/ordinary/0-damaged", b"{}")
    taken = list(bucket.taking().runs())
    assert keys(iter(taken)) == ["next-run"]
    assert taken[0].attempt == Attempt(run=2, batch_attempt=2, batch_job_id="own-job")
    assert bucket.markers() == []


def test_two_that_take_at_once_have_each_run_once(bucket: Bucket) -> None:
    for number in range(6):
        bucket.mark(f"{number}", f"job{number}")
    takers = [bucket.taking(own=Attempt(1, 1, name)).runs() for name in ("one", "two")]
    taken = [key for pair in itertools.zip_longest(*takers) for key in keys(filter(None, pair))]
    assert sorted(taken) == [f"job{number}" for number in range(6)]


def test_nothing_is_taken_after_the_time_for_that_or_after_a_failure(bucket: Bucket) -> None:
    bucket.mark("1", "waits")
    assert keys(bucket.taking(for_s=0.0).runs()) == []
    taking = bucket.taking()
    taking.heard(Ended(Wanted(bucket.address("jobs/own"), OWN), EXIT_BAD_INPUT, "no image"))
    assert keys(taking.runs()) == []
    assert bucket.markers() == ["1"]


def test_run_that_was_taken_and_failed_leaves_word_of_why(bucket: Bucket) -> None:
    bucket.mark("1", "bad", run=3)
    taking = bucket.taking()
    (wanted,) = taking.runs()
    taking.heard(Ended(wanted, EXIT_BAD_INPUT, "there is no input.nii.gz in the job folder"))
    left = RunExit.from_json(bucket.get("jobs/bad/runs/3/exit.json"))
    assert (left.run, left.code, left.sentence) == (3, 2, "there is no input.nii.gz in the job folder")


def test_taking_ends_where_the_bucket_does_not_answer(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.mark("1", "waits")

    def away(*_: object) -> list[str]:
        raise ComeBackLater("S3 does not answer")

    monkeypatch.setattr(BucketPlace, "first_names", away)
    assert keys(bucket.taking().runs()) == []


def test_owner_whose_writing_was_not_answered_is_known_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle: Callable[..., bool] = BucketPlace.settle

    def unanswered(place: BucketPlace, name: str, content: bytes, instead_of: bytes | None) -> bool:
        settle(place, name, content, instead_of)
        return settle(place, name, content, instead_of)  # as botocore sends it again

    monkeypatch.setattr(BucketPlace, "settle", unanswered)
    bucket.mark("1", "mine")
    assert keys(bucket.taking().runs()) == ["mine"]
