"""What goes wrong between the gateway and S3: broken ways, lost answers, refusals, other bytes, a kill."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.adapters.aws import session as session_module
from gateway.adapters.aws.s3 import BucketStore
from gateway.adapters.aws.s3_upload import PART_BYTES
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.errors import Away, Permanent, Retriable
from gateway.adapters.objects import job_object
from tests.spoiling_proxy import S3Proxy

KEY = job_object("abc", "input.nii.gz")
CONTENT = random.Random(1).randbytes(3 * PART_BYTES + 1000)
PARTS = [1, 2, 3, 4]
DEADLINE_S = 60.0


@pytest.fixture
def proxy(moto_server: str) -> Iterator[S3Proxy]:
    made = S3Proxy(moto_server)
    yield made
    made.stop()


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> str:
    letters = str.maketrans("0123456789", "ghijklmnop")  # so that no number in a sentence is the name's
    name = f"iris-{uuid.uuid4().hex.translate(letters)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(bucket: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    """A store whose way to S3 leads through the proxy, and whose requests are tried twice."""
    monkeypatch.setattr(session_module, "TRIES", 2)
    return BucketStore(AwsSession("us-east-1", proxy.address), bucket, "site")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def unfinished(bucket: str) -> list[Any]:
    return boto3.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])


# -- uploads ----------------------------------------------------------------------------------------------


def test_upload_that_broke_off_sends_only_what_is_missing(
    store: BucketStore, proxy: S3Proxy, bucket: str, source: Path
) -> None:
    proxy.spoil = lambda method, path, count: (
        (500, "InternalError") if method == "PUT" and count > 1 else None
    )
    with pytest.raises(Away, match="AWS is in trouble"):
        store.put_file(KEY, source)
    there = set(proxy.parts_sent)
    assert 0 < len(there) < len(PARTS)
    proxy.asked.clear()
    proxy.spoil = lambda *asked: None
    store.put_file(KEY, source)
    assert set(proxy.parts_sent) == set(PARTS) - there
    assert store.get(KEY) == CONTENT
    assert unfinished(bucket) == []


CHILD = """
import sys
from pathlib import Path
from gateway.adapters.aws.s3 import BucketStore
from gateway.adapters.aws.session import AwsSession
store = BucketStore(AwsSession("us-east-1", sys.argv[1]), sys.argv[2], "site")
store.put_file(sys.argv[3], Path(sys.argv[4]))
"""


def test_upload_of_a_process_that_was_killed_is_taken_up_by_the_next(
    store: BucketStore, proxy: S3Proxy, bucket: str, source: Path
) -> None:
    hold, reached = threading.Event(), threading.Event()

    def hold_third(method: str, path: str, count: int) -> Any:
        if method == "PUT" and count >= 2:
            reached.set()
            hold.wait(DEADLINE_S)
            return 500, "InternalError"
        return None

    proxy.spoil = hold_third
    with subprocess.Popen([sys.executable, "-c", CHILD, proxy.address, bucket, KEY, str(source)]) as child:
        assert reached.wait(DEADLINE_S)
        deadline = time.monotonic() + DEADLINE_S
        while len(proxy.parts_sent) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    hold.set()
    there = set(proxy.parts_sent)
    proxy.asked.clear()
    proxy.spoil = lambda *asked: None
    store.put_file(KEY, source)
    assert set(proxy.parts_sent) == set(PARTS) - there
    assert store.get(KEY) == CONTENT


def test_upload_whose_parts_are_of_another_file_is_ended_and_begun_anew(
    store: BucketStore, proxy: S3Proxy, bucket: str, source: Path
) -> None:
    proxy.spoil = lambda method, path, count: (
        (500, "InternalError") if method == "PUT" and count > 1 else None
    )
    with pytest.raises(Away):
        store.put_file(KEY, source)
    proxy.spoil = lambda *asked: None
    proxy.asked.clear()
    other = CONTENT[::-1]
    source.write_bytes(other)
    store.put_file(KEY, source)
    assert sorted(proxy.parts_sent) == PARTS
    assert store.get(KEY) == other
    assert unfinished(bucket) == []


def test_upload_that_was_begun_by_other_software_is_ended_and_begun_anew(
    store: BucketStore, proxy: S3Proxy, bucket: str, source: Path
) -> None:
    other = boto3.client("s3", endpoint_url=proxy.address)
    other.create_multipart_upload(Bucket=bucket, Key=f"site/{KEY}")
    store.put_file(KEY, source)
    assert store.get(KEY) == CONTENT
    assert unfinished(bucket) == []


def test_upload_whose_completion_lost_its_answer_is_whole(
    store: BucketStore, proxy: S3Proxy, source: Path
) -> None:
    proxy.spoil = lambda method, path, count: "lose" if (method, count) == ("POST", 1) else None
    store.put_file(KEY, source)
    assert store.get(KEY) == CONTENT


def test_upload_of_which_another_gateway_sent_a_part_anew_is_completed(
    store: BucketStore, proxy: S3Proxy, source: Path
) -> None:
    """Under a KMS key the same part sent again has another ETag."""
    proxy.spoil = lambda method, path, count: (400, "InvalidPart") if (method, count) == ("POST", 1) else None
    store.put_file(KEY, source)
    assert store.get(KEY) == CONTENT
    assert sorted(proxy.parts_sent) == PARTS


def test_upload_that_another_gateway_ends_is_begun_anew(
    store: BucketStore, proxy: S3Proxy, bucket: str, source: Path
) -> None:
    ended: list[str] = []

    def end_it(method: str, path: str, count: int) -> None:
        if method == "PUT" and count == 2 and not ended:
            (upload,) = unfinished(bucket)
            ended.append(upload["UploadId"])
            other = boto3.client("s3", endpoint_url=proxy.address)
            other.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=ended[0])

    proxy.spoil = end_it
    store.put_file(KEY, source)
    assert ended
    assert store.get(KEY) == CONTENT


def test_upload_whose_content_is_changed_on_its_way_is_retriable(
    store: BucketStore, proxy: S3Proxy, source: Path
) -> None:
    proxy.spoil_body = lambda body: body[:-1] + b"?" if body else body
    for put in (lambda: store.put_file(KEY, source), lambda: store.put(KEY, b"content")):
        with pytest.raises(Retriable, match="did not come whole") as raised:
            put()
        assert not isinstance(raised.value, Away)
    proxy.spoil_body = lambda body: body
    assert store.get(KEY) is None


def test_abandoned_uploads_are_ended_and_fresh_ones_are_not(
    store: BucketStore, proxy: S3Proxy, bucket: str, source: Path
) -> None:
    client = boto3.client("s3", endpoint_url=proxy.address)
    for key in ("site/jobs/a/input.nii.gz", "site/jobs/b/input.nii.gz", "elsewhere/a"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    assert store.end_abandoned_uploads() == 0
    assert len(unfinished(bucket)) == 3
    proxy.age(days=0.9)
    assert store.end_abandoned_uploads() == 0
    proxy.age(days=1.1)
    assert store.end_abandoned_uploads() == 2
    assert [upload["Key"] for upload in unfinished(bucket)] == ["elsewhere/a"]


# -- downloads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_parted", [True, False])
def test_download_that_breaks_goes_on_where_it_broke(
    store: BucketStore, proxy: S3Proxy, source: Path, tmp_path: Path, is_parted: bool
) -> None:
    content = CONTENT if is_parted else CONTENT[: PART_BYTES - 1]
    source.write_bytes(content)
    store.put_file(KEY, source)
    ranges: list[str] = []

    def cut(method: str, path: str, count: int) -> Any:
        asked = proxy.seen[-1][2]
        ranges.append(asked)
        return 2_000_000 if len(ranges) < 4 and method == "GET" else None

    proxy.spoil = cut
    target = tmp_path / "target"
    assert store.fetch(KEY, target)
    assert target.read_bytes() == content
    starts = [int(number) for asked in ranges for number in re.findall(r"\d+", asked)[:1]]
    assert starts == sorted(set(starts))
    assert len(starts) >= 2


def test_download_that_always_breaks_is_given_up_and_leaves_nothing(
    store: BucketStore, proxy: S3Proxy, tmp_path: Path
) -> None:
    store.put(KEY, bytes(1_000_000))
    proxy.spoil = lambda *asked: 1000
    target = tmp_path / "target"
    with pytest.raises(Away, match="broke off"):
        store.fetch(KEY, target)
    assert list(tmp_path.glob("*target*")) == []


@pytest.mark.parametrize("is_parted", [True, False])
def test_download_of_other_bytes_is_retriable_and_nothing_is_kept(
    store: BucketStore, proxy: S3Proxy, source: Path, tmp_path: Path, is_parted: bool
) -> None:
    source.write_bytes(CONTENT if is_parted else CONTENT[:1000])
    store.put_file(KEY, source)
    proxy.spoil = lambda method, path, count: lambda body: body[:-1] + bytes([body[-1] ^ 1])
    target = tmp_path / "target"
    target.write_bytes(b"what was")
    with pytest.raises(Retriable, match="its checksum differs") as raised:
        store.fetch(KEY, target)
    assert not isinstance(raised.value, Away)
    assert target.read_bytes() == b"what was"
    assert [path.name for path in tmp_path.glob("*target*")] == ["target"]


def test_download_of_other_bytes_after_a_break_is_retriable(
    store: BucketStore, proxy: S3Proxy, source: Path, tmp_path: Path
) -> None:
    """boto3 itself compares only what comes in one answer."""
    source.write_bytes(CONTENT[:5_000_000])
    store.put_file(KEY, source)
    proxy.spoil = lambda method, path, count: 2_000_000 if count == 0 else lambda body: body[:-1] + b"?"
    with pytest.raises(Retriable, match="its checksum differs"):
        store.fetch(KEY, tmp_path / "target")


def test_object_that_is_replaced_during_a_download_is_read_anew(
    store: BucketStore,
    proxy: S3Proxy,
    bucket: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source.write_bytes(CONTENT[:5_000_000])
    store.put_file(KEY, source)
    new = CONTENT[-4_000_000:]

    pass_on = proxy.pass_on

    def then_replace(*asked: Any) -> Any:
        answer = pass_on(*asked)
        boto3.client("s3").put_object(Bucket=bucket, Key=f"site/{KEY}", Body=new)
        return answer

    monkeypatch.setattr(proxy, "pass_on", then_replace)
    proxy.spoil = lambda method, path, count: 2_000_000 if (method, count) == ("GET", 0) else None
    assert store.fetch(KEY, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == new


# -- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, b"before"])
def test_settle_whose_answer_was_lost_knows_its_own_content(
    store: BucketStore, proxy: S3Proxy, before: bytes | None
) -> None:
    if before is not None:
        store.put(KEY, before)
    proxy.seen.clear()
    proxy.spoil = lambda method, path, count: "lose" if (method, count) == ("PUT", 0) else None
    assert store.settle(KEY, b"mine, and nobody else's", before)
    assert sum(seen[0] == "PUT" for seen in proxy.seen) == 2


def test_settle_of_what_was_settled_here_is_one_request(store: BucketStore, proxy: S3Proxy) -> None:
    assert store.settle(KEY, b"first", None)
    proxy.seen.clear()
    assert store.settle(KEY, b"second", b"first")
    assert store.settle(KEY, b"third", b"second")
    assert [seen[0] for seen in proxy.seen] == ["PUT", "PUT"]
    assert store.get(KEY) == b"third"


def test_settle_of_what_another_replaced_meanwhile_changes_nothing(store: BucketStore, bucket: str) -> None:
    assert store.settle(KEY, b"first", None)
    boto3.client("s3").put_object(Bucket=bucket, Key=f"site/{KEY}", Body=b"another's")
    assert not store.settle(KEY, b"second", b"first")
    assert not store.settle(KEY, b"second", b"first")
    assert store.get(KEY) == b"another's"
    assert store.settle(KEY, b"second", b"another's")


def test_settle_whose_request_was_lost_does_not_take_anothers_content_for_its_own(
    store: BucketStore, proxy: S3Proxy, bucket: str
) -> None:
    boto3.client("s3").put_object(Bucket=bucket, Key=f"site/{KEY}", Body=b"another's")
    proxy.spoil = lambda method, path, count: (
        (500, "InternalError") if (method, count) == ("PUT", 0) else None
    )
    assert not store.settle(KEY, b"mine", None)


def test_settle_that_meets_another_is_sent_again(store: BucketStore, proxy: S3Proxy) -> None:
    conflict = (409, "ConditionalRequestConflict")
    proxy.spoil = lambda method, path, count: conflict if method == "PUT" and count < 2 else None
    assert store.settle(KEY, b"mine", None)


def test_settle_that_meets_others_for_ever_is_retriable(
    store: BucketStore, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.aws.s3.CONFLICT_S", 0.0)
    proxy.spoil = lambda *asked: (409, "ConditionalRequestConflict")
    with pytest.raises(Retriable, match="could not finish"):
        store.settle(KEY, b"mine", None)


# -- removing -------------------------------------------------------------------------------------------


def keep_versions(bucket: str) -> None:
    boto3.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def hidden_in(bucket: str) -> set[str]:
    """The keys of which the bucket has anything, be it hidden."""
    answer = boto3.client("s3").list_object_versions(Bucket=bucket)
    return {each["Key"] for each in [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]}


def test_folder_removed_from_a_bucket_with_versions_is_gone_for_good(store: BucketStore, bucket: str) -> None:
    keep_versions(bucket)
    for content in (b"first", b"second"):
        for name in ("KEY/manifest.json", "KEY/input.nii.gz", "KEY2/manifest.json"):
            store.put(f"jobs/{name}", content)
    store.remove("jobs/KEY/input.nii.gz")  # is hidden only
    store.remove("jobs/KEY/")
    assert hidden_in(bucket) == {"site/jobs/KEY2/manifest.json"}


def test_folder_removed_from_a_bucket_without_versions_needs_no_rights_for_them(
    store: BucketStore, proxy: S3Proxy
) -> None:
    store.put("jobs/KEY/manifest.json", b"content")
    proxy.seen.clear()
    store.remove("jobs/KEY/")
    assert [seen[0] for seen in proxy.seen] == ["GET", "DELETE", "DELETE"]
    assert store.get("jobs/KEY/manifest.json") is None


def test_versions_that_may_not_be_listed_are_an_error_that_names_the_right(
    store: BucketStore, proxy: S3Proxy, bucket: str
) -> None:
    keep_versions(bucket)
    store.put("jobs/KEY/manifest.json", b"content")
    proxy.spoil = lambda method, path, count: (403, "AccessDenied") if (method, count) == ("GET", 1) else None
    with pytest.raises(Away, match=r"denies s3:ListBucketVersions on the bucket .*; allow it"):
        store.remove("jobs/KEY/")


# -- refusals ---------------------------------------------------------------------------------------------


def everything(store: BucketStore, source: Path, tmp_path: Path) -> list[Callable[[], Any]]:
    return [
        lambda: store.get(KEY),
        lambda: store.put(KEY, b"content"),
        lambda: store.put_file(KEY, source),
        lambda: store.settle(KEY, b"content", None),
        lambda: store.settle(KEY, b"content", b"before"),
        lambda: store.fetch(KEY, tmp_path / "target"),
        lambda: store.modified_at(KEY),
        lambda: store.located(KEY),
        store.end_abandoned_uploads,
    ]


@pytest.mark.parametrize(
    ("status", "code", "kind", "way_out"),
    [
        (403, "AccessDenied", Away, r"AWS denies s3:\w+.* on the bucket iris-.*; allow it"),
        (400, "ExpiredToken", Away, "have expired .* renew them"),
        (403, "InvalidAccessKeyId", Away, "give this machine a role"),
        (403, "SignatureDoesNotMatch", Away, "give this machine a role"),
        (301, "PermanentRedirect", Away, "is in another region .* correct aws.region"),
        (400, "AuthorizationHeaderMalformed", Away, "is in another region"),
        (404, "NoSuchBucket", Away, "does not find the bucket .* look at its name"),
        (403, "RequestTimeTooSkewed", Away, "clock is wrong"),
        (503, "SlowDown", Away, "asks to wait"),
        (500, "InternalError", Away, "is in trouble"),
        (400, "KMS.DisabledException", Away, "objects.kms_key"),
        (400, "RequestTimeout", Retriable, "look at the network"),
        (400, "InvalidArgument", Permanent, "InvalidArgument"),
    ],
)
def test_refusal_is_a_sentence_without_keys_or_the_stores_own_text(
    bucket: str,
    proxy: S3Proxy,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    kind: Any,
    way_out: str,
) -> None:
    monkeypatch.setattr(session_module, "TRIES", 1)
    store = BucketStore(AwsSession("us-east-1", proxy.address), bucket)
    proxy.spoil = lambda *asked: (status, code)
    for ask in everything(store, source, tmp_path):
        with pytest.raises(kind, match=way_out) as raised:
            ask()
        assert type(raised.value) is kind
        assert not re.search(r"secret|jobs/|testing|\d{12}", str(raised.value)), str(raised.value)
        assert raised.value.__cause__ is None


def test_store_without_credentials_says_where_they_come_from(
    store: BucketStore, bucket: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    stranger = BucketStore(AwsSession("us-east-1", os.environ["AWS_ENDPOINT_URL"]), bucket)
    for ask in everything(stranger, source, tmp_path):
        with pytest.raises(Away, match="give this machine a role"):
            ask()


def test_store_that_nobody_answers_is_away(
    bucket: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "TRIES", 1)
    store = BucketStore(AwsSession("us-east-1", "http://127.0.0.1:1"), bucket)
    for ask in everything(store, source, tmp_path):
        with pytest.raises(Away, match=r"does not answer .* look at the network"):
            ask()


def test_bucket_that_is_not_there_is_a_sentence(
    aws_environment: dict[str, str], source: Path, tmp_path: Path
) -> None:
    store = BucketStore(AwsSession("us-east-1"), f"none-{uuid.uuid4().hex}")
    for ask in everything(store, source, tmp_path):
        with pytest.raises(Away, match="does not find the bucket none-"):
            ask()


def test_bucket_name_that_is_none_is_permanent(aws_environment: dict[str, str]) -> None:
    with pytest.raises(Permanent, match="look at its name"):
        BucketStore(AwsSession("us-east-1"), "No Bucket").put(KEY, b"")


def test_answer_that_was_cut_off_says_nothing_about_whether_an_object_is_there(
    store: BucketStore, proxy: S3Proxy
) -> None:
    store.put(KEY, CONTENT)
    proxy.spoil = lambda method, path, count: 0
    for look in (store.modified_at, store.located):
        with pytest.raises(Away, match="cut off"):
            look(KEY)
