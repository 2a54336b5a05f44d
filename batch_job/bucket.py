"""A job under a prefix of an S3 bucket: claimed with conditional writes, every object put in one step.

Who may write what, when several attempts live at once:

    runs/{n}/owner.json       the first Batch job that wants run n; its own later attempts go on
    attempts/{k}/begun.json   the first attempt that wants folder k; another one takes the next number
    manifest.json             the first attempt that finishes (If-None-Match; the others are answered 412)

Endpoint, region and credentials are boto3's own business: AWS_ENDPOINT_URL, the instance's role, and so on.
AWS_MAX_ATTEMPTS sets how often a request is tried, 5 times by default.
"""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from .contract import ATTEMPT_NAME, OWNER_NAME, ContractError, Owner
from .errors import BadInput, ComeBackLater, OwnedByAnother
from .place import Attempt, Claim, Fetched

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 30
TRIES: Final = 5
"""How often a request is sent, with growing pauses between."""
TIMES_CUT_OFF: Final = 5
"""How often a download whose connection breaks is taken up again before the run gives up."""
TIMES_IN_CONFLICT: Final = 5
"""How often a conditional write is tried again that met another one; S3 then says neither yes nor no."""
CONFLICT_S: Final = 0.2
CHUNK_BYTES: Final = 1 << 20
AT_ONCE_BYTES: Final = 8 << 20
"""Up to here a file is sent from memory, which spares the question whether S3 would take it."""
PARTS: Final = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=16 << 20, max_concurrency=4)

_ADDRESS: Final = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<prefix>[^?#]*[^/?#])/?")
_CUT_OFF: Final = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, ConnectionError)
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_MET_ANOTHER: Final = frozenset({"PreconditionFailed", "412"})
_CONFLICT: Final = frozenset({"ConditionalRequestConflict", "409"})
_NOT_LET_IN: Final = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_STRANGER: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})


class BucketPlace:
    """A `JobPlace` in a bucket.

    Parameters
    ----------
    prefix
        Ends with `/`.
    """

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def at(cls, address: str) -> "BucketPlace":
        """The place at `bucket/prefix/`.

        Raises
        ------
        BadInput, ComeBackLater
        """
        bucket, prefix = _parts(address)
        try:
            tries = int(os.environ.get("AWS_MAX_ATTEMPTS", TRIES))
            config = Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": tries},
            )
            client = boto3.client("s3", config=config)
        except (BotoCoreError, ValueError):  # ValueError: no number, no URL
            raise ComeBackLater(
                "S3 cannot be asked with this configuration; look at the AWS_ variables"
            ) from None
        return cls(client, bucket, prefix)

    def at_address(self, address: str) -> "BucketPlace":
        """Another place, `s3://bucket/prefix/`, asked in the same way as this one.

        Raises
        ------
        BadInput
        """
        return BucketPlace(self._client, *_parts(address.removeprefix("s3://")))

    def scratch_parent(self, temporary: Path) -> Path:
        """The folder for temporary files (TMPDIR)."""
        return temporary

    @contextmanager
    def claimed(self, attempt: Attempt) -> Iterator[Claim]:
        """Write down who works on this run, where a Batch job does, and take a folder for its outputs."""
        if attempt.batch_job_id:
            self._own_run(attempt)
        number = self._take_folder(attempt.run + attempt.batch_attempt - 1)
        yield Claim(number, outputs=ATTEMPT_NAME.format(attempt=number) + "/", is_alone=False)

    def _own_run(self, attempt: Attempt) -> None:
        name = OWNER_NAME.format(run=attempt.run)
        if self.settle(name, Owner(batch_job_id=attempt.batch_job_id).to_json(), instead_of=None):
            return
        try:
            owner = Owner.from_json(self.get(name) or b"")
        except ContractError:
            raise BadInput(f"{name} is damaged; submit the job again as its next run") from None
        if owner.batch_job_id != attempt.batch_job_id:
            raise OwnedByAnother("another Batch job works on this run; nothing is left to do here")

    def _take_folder(self, number: int) -> int:
        """The first number from this one on whose folder nobody has."""
        mine = uuid.uuid4().hex.encode()
        while True:
            name = ATTEMPT_NAME.format(attempt=number) + "/begun.json"
            # A repeated request finds what its first sending wrote, where only the answer was lost.
            if self.settle(name, b'{"token": "' + mine + b'"}\n', None) or mine in (self.get(name) or b""):
                return number
            number += 1

    def size(self, name: str) -> int | None:
        """How many bytes an object has."""
        try:
            return self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)["ContentLength"]
        except (ClientError, BotoCoreError) as error:
            _refuse_unless_missing(error)
            return None

    def get(self, name: str) -> bytes | None:
        """A small object's content."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            _refuse_unless_missing(error)
            return None

    def fetch(self, name: str, into: Path) -> Fetched | None:
        """Stream an object into a file; a connection that breaks is taken up where it broke."""
        target = into / Path(name).name
        digest = hashlib.sha256()
        with target.open("wb") as stream:
            for _ in range(TIMES_CUT_OFF):
                try:
                    body = self._open(name, stream.tell())
                except (ClientError, BotoCoreError) as error:
                    _refuse_unless_missing(error)
                    return None
                try:
                    for chunk in body:
                        stream.write(chunk)
                        digest.update(chunk)
                    return Fetched(target, digest.hexdigest())
                except _CUT_OFF:
                    continue
        raise ComeBackLater(f"a download from S3 broke off {TIMES_CUT_OFF} times; look at the network")

    def _open(self, name: str, start: int) -> Iterator[bytes]:
        """The bytes of an object from `start` on."""
        try:
            found = self._client.get_object(
                Bucket=self._bucket, Key=self._prefix + name, Range=f"bytes={start}-"
            )
        except ClientError as error:
            if _code(error) == "InvalidRange":  # it has no byte there: empty, or it broke after the last one
                return iter(())
            raise
        return found["Body"].iter_chunks(CHUNK_BYTES)

    def put(self, name: str, source: Path | bytes) -> None:
        """Write an object, a large one in parts; it is there when the last part is."""
        try:
            if isinstance(source, Path) and source.stat().st_size <= AT_ONCE_BYTES:
                source = source.read_bytes()
            if isinstance(source, bytes):
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=source)
            else:
                self._client.upload_file(str(source), self._bucket, self._prefix + name, Config=PARTS)
        except S3UploadFailedError as error:
            cause = error.__context__  # what was answered; the error itself holds text only
            _refuse(cause if isinstance(cause, ClientError) else error)
        except (ClientError, BotoCoreError) as error:
            _refuse(error)

    def first_names(self, most: int) -> list[str]:
        """The names of what is here, the first ones in the order of their bytes."""
        try:
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=most)
        except (ClientError, BotoCoreError) as error:
            _refuse(error)
        return [each["Key"].removeprefix(self._prefix) for each in found.get("Contents", [])]

    def settle(self, name: str, content: bytes, instead_of: bytes | None) -> bool:
        """Write it on the condition that S3 itself checks (If-None-Match, If-Match)."""
        for again in range(TIMES_IN_CONFLICT, -1, -1):
            try:
                return self._write_if(name, content, instead_of)
            except (ClientError, BotoCoreError) as error:
                if _code(error) in _MET_ANOTHER | _MISSING:
                    return False
                if _code(error) not in _CONFLICT or not again:
                    _refuse(error)
                time.sleep(CONFLICT_S)
        raise AssertionError("the last time either returns or raises")

    def _write_if(self, name: str, content: bytes, instead_of: bytes | None) -> bool:
        key = self._prefix + name
        if instead_of is None:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content, IfNoneMatch="*")
            return True
        found = self._client.get_object(Bucket=self._bucket, Key=key)
        if found["Body"].read() != instead_of:
            return False
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content, IfMatch=found["ETag"])
        return True

    def remove(self, name: str) -> None:
        """Remove an object, and all whose names begin with `name/`."""
        key = self._prefix + name
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key)
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{key}/"
            )
            for page in pages:
                for found in page.get("Contents", []):
                    self._client.delete_object(Bucket=self._bucket, Key=found["Key"])
        except (ClientError, BotoCoreError) as error:
            _refuse(error)


def _parts(address: str) -> tuple[str, str]:
    """Bucket, and prefix with its slash, of an address without its scheme."""
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise BadInput("an address in S3 is s3://bucket/prefix/jobs/KEY/")
    return parts["bucket"], parts["prefix"] + "/"


def _code(error: Exception) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else ""


def _refuse_unless_missing(error: Exception) -> None:
    if _code(error) not in _MISSING:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    """Say in our words what the store said; nothing of its text, which may name keys, is passed on."""
    code = _code(error)
    if code == "NoSuchBucket":
        raise BadInput("there is no bucket of that name; look at the address and the region") from None
    if code in _NOT_LET_IN:
        raise ComeBackLater(
            "S3 denies access to the job's objects: give the job's role s3:GetObject, s3:PutObject and"
            " s3:ListBucket on them (without the last a missing object looks like this, too)"
        ) from None
    if code in _EXPIRED:
        raise ComeBackLater("the AWS credentials have expired; a new run gets new ones") from None
    if code in _STRANGER or isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        raise ComeBackLater(
            "there are no AWS credentials that S3 accepts; give the job a role, or set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY"
        ) from None
    if isinstance(error, ParamValidationError):
        raise BadInput("S3 takes no such bucket or key; look at the address") from None
    raise ComeBackLater(
        f"S3 does not answer as it should ({code or type(error).__name__}); look at the network and"
        " AWS_ENDPOINT_URL"
    ) from None
