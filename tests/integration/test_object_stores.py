"""Every object store behaves the same: a folder, and a prefix of a bucket in a moto server over HTTP."""

import random
import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from gateway.adapters.aws.s3 import BucketStore
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.errors import Permanent
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import ObjectStore, job_object, job_prefix
from gateway.config.stores import STORES

KEY = job_object("abc", "manifest.json")
LARGE = random.Random(0).randbytes(20_000_000)


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def bucket_store(aws_environment: dict[str, str]) -> BucketStore:
    bucket = f"iris-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return BucketStore(AwsSession("us-east-1"), bucket, "site")


FIXTURES = {
    "local": "folder_store",
    "s3": "bucket_store",
}
"""What every store has to do is tried on each: its name in the configuration, and the fixture of one."""


@pytest.fixture(params=FIXTURES)
def store(request: pytest.FixtureRequest) -> ObjectStore:
    found: ObjectStore = request.getfixturevalue(FIXTURES[request.param])
    return found


def test_every_store_of_the_catalogue_is_tried() -> None:
    assert set(FIXTURES) == set(STORES), "a store of gateway/config/stores.py without its fixture here"


@pytest.mark.parametrize("content", [b"", b"voxels" * 1000, LARGE], ids=["empty", "small", "large"])
def test_put_file_when_read_again_gives_the_same_bytes(
    store: ObjectStore, tmp_path: Path, content: bytes
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    store.put_file(KEY, source)
    assert store.fetch(KEY, target)
    assert target.read_bytes() == content
    assert store.get(KEY) == content


def test_put_of_an_existing_key_replaces_it(store: ObjectStore) -> None:
    store.put(KEY, b"one")
    store.put(KEY, b"two")
    assert store.get(KEY) == b"two"


def test_missing_key_gives_none(store: ObjectStore, tmp_path: Path) -> None:
    store.put(f"{KEY}.bak", b"a longer name that begins so")
    target = tmp_path / "target"
    target.write_bytes(b"what was")
    assert store.get(KEY) is None
    assert store.modified_at(KEY) is None
    assert store.located(KEY) is None
    assert not store.fetch(KEY, target)
    assert target.read_bytes() == b"what was"
    assert [path.name for path in tmp_path.glob("*target*")] == ["target"]


def test_fetch_replaces_its_target_and_leaves_nothing_beside_it(store: ObjectStore, tmp_path: Path) -> None:
    store.put(KEY, b"new")
    target = tmp_path / "here" / "target"
    target.parent.mkdir()
    target.write_bytes(b"what was")
    assert store.fetch(KEY, target)
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_settle_stores_where_nothing_stands_and_only_there(store: ObjectStore) -> None:
    assert store.settle(KEY, b"mine", None)
    assert not store.settle(KEY, b"another's", None)
    assert not store.settle(KEY, b"mine", None)  # it stood before this call
    assert store.get(KEY) == b"mine"


def test_settle_stores_instead_of_what_it_names_and_of_nothing_else(store: ObjectStore) -> None:
    assert not store.settle(KEY, b"two", b"one")
    store.put(KEY, b"one")
    assert not store.settle(KEY, b"two", b"another")
    assert store.settle(KEY, b"two", b"one")
    assert not store.settle(KEY, b"three", b"one")
    assert store.get(KEY) == b"two"


@pytest.mark.parametrize("before", [None, b"before"])
def test_settle_by_several_at_once_is_won_by_one(store: ObjectStore, before: bytes | None) -> None:
    if before is not None:
        store.put(KEY, before)
    won: list[bytes] = []
    ready = threading.Barrier(4)
    # moto's server looks at the condition and writes in two steps; that S3 does it in one is its promise.
    one_at_a_time = threading.Lock() if isinstance(store, BucketStore) else nullcontext()

    def settle(mine: bytes) -> None:
        ready.wait(120)
        with one_at_a_time:
            if store.settle(KEY, mine, before):
                won.append(mine)

    several = [threading.Thread(target=settle, args=(b"%d" % number,)) for number in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join(60)
    assert won == [store.get(KEY)]


def test_modified_at_after_a_put_is_now_in_utc(store: ObjectStore) -> None:
    store.put(KEY, b"{}")
    at = store.modified_at(KEY)
    assert at is not None
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=60)
    assert at == store.modified_at(KEY)


def test_located_object_can_be_read_where_it_says(store: ObjectStore) -> None:
    store.put(KEY, b"content")
    where = store.located(KEY)
    if isinstance(where, Path):
        assert where.read_bytes() == b"content"
    else:
        assert where is not None
        answer = httpx.get(where, trust_env=False)
        assert answer.content == b"content"
        assert answer.headers["content-type"].startswith("application/json")


def test_removed_object_is_gone_and_what_begins_like_it_is_not(store: ObjectStore) -> None:
    store.put(KEY, b"it")
    store.put(f"{KEY}.bak", b"another")
    store.remove(KEY)
    assert store.get(KEY) is None
    assert store.get(f"{KEY}.bak") == b"another"


def test_removed_prefix_takes_all_below_it_and_nothing_beside_it(store: ObjectStore) -> None:
    below = [job_object("abc", name) for name in ("input.nii.gz", "runs/1/owner.json", "checkpoint/a/b")]
    beside = [job_object("abcd", "manifest.json"), "jobs/ab/c"]
    for key in (*below, *beside):
        store.put(key, b"{}")
    store.remove(job_prefix("abc"))
    assert [store.get(key) for key in below] == [None] * 3
    assert [store.get(key) for key in beside] == [b"{}"] * 2
    store.put(KEY, b"anew")
    assert store.get(KEY) == b"anew"


def test_removing_what_is_not_there_changes_nothing(store: ObjectStore) -> None:
    store.put(job_object("other", "manifest.json"), b"{}")
    for key in (KEY, job_prefix("abc"), "nothing/of/the/kind"):
        store.remove(key)
    assert store.get(job_object("other", "manifest.json")) == b"{}"


@pytest.mark.parametrize("key", ["", "/"])
def test_whole_store_is_removed_by_nobody(store: ObjectStore, key: str) -> None:
    store.put(KEY, b"{}")
    with pytest.raises(Permanent):
        store.remove(key)
    assert store.get(KEY) == b"{}"


@pytest.mark.parametrize("key", ["jobs/../../elsewhere", "../elsewhere", "/elsewhere"])
def test_key_that_leads_out_of_the_store_is_refused(store: ObjectStore, key: str, tmp_path: Path) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: store.put(key, b""),
        lambda: store.get(key),
        lambda: store.fetch(key, tmp_path / "target"),
        lambda: store.settle(key, b"", None),
        lambda: store.modified_at(key),
        lambda: store.located(key),
        lambda: store.remove(key),
        lambda: store.address(key),
    ]
    for call in calls:
        with pytest.raises(Permanent, match="leads out"):
            call()


# -- each on its own --------------------------------------------------------------------------------------


def test_folder_address_of_a_job_is_its_folder_with_a_slash(folder_store: FolderStore) -> None:
    assert folder_store.address(job_prefix("abc")) == f"{folder_store.root}/jobs/abc/"


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("", "s3://iris-data/jobs/abc/"),
        ("a/site", "s3://iris-data/a/site/jobs/abc/"),
        ("site/", "s3://iris-data/site/jobs/abc/"),
    ],
)
def test_bucket_address_of_a_job_is_its_prefix_with_a_slash(
    aws_environment: dict[str, str], prefix: str, address: str
) -> None:
    assert BucketStore(AwsSession("us-east-1"), "iris-data", prefix).address(job_prefix("abc")) == address


def test_bucket_objects_are_tagged_and_under_the_key(bucket_store: BucketStore, tmp_path: Path) -> None:
    session, bucket = AwsSession("us-east-1"), bucket_store._bucket.name
    key_arn = f"arn:aws:kms:us-east-1:123456789012:key/{uuid.uuid4()}"
    store = BucketStore(session, bucket, "site", key_arn, {"Application": "iris-oculus"})
    kinds = {"input.nii.gz": "input", "request.json": "request", "claim.json": "other"}
    store_everything(store, tmp_path)
    for name, kind in kinds.items():
        where: Any = {"Bucket": bucket, "Key": f"site/jobs/abc/{name}"}
        head = session.s3().head_object(**where)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key_arn)
        assert head["Metadata"] == {}
        tags = {tag["Key"]: tag["Value"] for tag in session.s3().get_object_tagging(**where)["TagSet"]}
        assert tags == {"Application": "iris-oculus", "iris": kind}


def test_bucket_objects_have_no_acl_and_without_a_key_the_bucket_says_how_they_are_sealed(
    bucket_store: BucketStore, tmp_path: Path
) -> None:
    sent: dict[str, set[str]] = {}

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        sent.setdefault(model.name, set()).update(name.lower() for name in params["headers"])

    bucket_store._client.meta.events.register("before-call.s3", note)
    store_everything(bucket_store, tmp_path)
    assert {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} <= set(sent)
    names = set.union(*sent.values())
    assert not [name for name in names if "acl" in name or "grant" in name or "encryption" in name]


def store_everything(store: BucketStore, scratch: Path) -> None:
    """A large file, a small one, and one on a condition."""
    (scratch / "large").write_bytes(LARGE)
    store.put_file(job_object("abc", "input.nii.gz"), scratch / "large")
    store.put(job_object("abc", "request.json"), b"{}")
    assert store.settle(job_object("abc", "claim.json"), b"{}", None)


def test_bucket_urls_come_from_its_origin(bucket_store: BucketStore) -> None:
    bucket_store.put(KEY, b"{}")
    where = bucket_store.located(KEY)
    assert where is not None
    assert where.startswith(f"{bucket_store.origin}/")
    assert "X-Amz-Expires=300" in where


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_bucket_in_aws_has_an_origin_in_its_own_region(
    monkeypatch: pytest.MonkeyPatch, aws_environment: dict[str, str], region: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    store = BucketStore(AwsSession(region), "iris-data")
    assert store.origin == f"https://iris-data.s3.{region}.amazonaws.com"
