"""The object store as a prefix of an S3 bucket.

What is stored is sealed by S3: with the configured KMS key, else as the bucket itself says (to name AES256
here would undo a bucket's own key). No object has an ACL or metadata; the one tag of our own, `iris`, says
what lifecycle rules need to know. Every object is sent with its SHA-256, which S3 checks and keeps.
"""

import mimetypes
import re
import time
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode, urlsplit

import structlog
from botocore.exceptions import ClientError

from batch_job.contract import INPUT_NAMES, REQUEST_NAME
from gateway.adapters.durable import in_one_step
from gateway.adapters.errors import Away, OutsideError, Permanent

from .refusals import asking, code_of
from .s3_bucket import Bucket
from .s3_checksums import base64_text, require_same, sha256_text
from .s3_download import GET, download
from .s3_erasing import erase_below
from .s3_offers import Held, Offer, presigned_put
from .s3_settled import Settled
from .s3_upload import Upload, end_abandoned, uploads_below
from .session import AwsSession

log = structlog.get_logger(__name__)

AT_ONCE_BYTES: Final = 8 << 20
"""Up to here a file goes in one request, from memory."""
TIMES_IN_CONFLICT: Final = 5
"""How often a conditional write that met another one is sent again; S3 then says neither yes nor no."""
CONFLICT_S: Final = 0.2
URL_LIVES_S: Final = 300

_KEY: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?")
_NOT_AS_EXPECTED: Final = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404"})
_CONFLICT: Final = frozenset({"ConditionalRequestConflict", "409"})
_KINDS: Final = {**dict.fromkeys(INPUT_NAMES, "input"), REQUEST_NAME: "request"}


class BucketStore:
    """Objects in a bucket.

    Parameters
    ----------
    prefix
        What every key begins with, with or without a slash at its end; empty: the whole bucket.
    kms_key
        The KMS key for what is stored; empty: the bucket's own default.
    tags
        For every object, beside `iris`: no patient data.

    Raises
    ------
    ValueError
        The session's region or endpoint is none.
    """

    def __init__(
        self,
        session: AwsSession,
        bucket: str,
        prefix: str = "",
        kms_key: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._client = session.s3()
        putting = "s3:PutObject with s3:PutObjectTagging" + (" and kms:GenerateDataKey" if kms_key else "")
        self._bucket = Bucket(self._client, bucket, putting)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._tags = dict(tags or {})
        self._settled = Settled()
        self._encryption: dict[str, Any] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key, "BucketKeyEnabled": True}
            if kms_key
            else {}
        )

    @property
    def origin(self) -> str:
        """Scheme and host of the URLs that `located` gives."""
        unsigned = self._session.s3(is_signed=False)
        url = urlsplit(
            unsigned.generate_presigned_url("get_object", Params={"Bucket": self._bucket.name, "Key": "a"})
        )
        return f"{url.scheme}://{url.netloc}"

    def address(self, prefix: str) -> str:
        """`s3://bucket/prefix/...`."""
        return f"s3://{self._bucket.name}/{self._key(prefix)}"

    # -- writing ------------------------------------------------------------------------------------------

    def put_file(self, key: str, source: Path) -> None:
        """Store a file: a small one in one request, a large one in parts, of which none is sent twice."""
        if source.stat().st_size <= AT_ONCE_BYTES:
            self.put(key, source.read_bytes())
            return
        Upload(self._bucket, self._key(key), self._sealing(key)).send(source)

    def put(self, key: str, content: bytes) -> None:
        """Store a few bytes."""
        with asking(self._bucket.putting, self._bucket.resource):
            self._write(key, content)

    def settle(self, key: str, content: bytes, instead_of: bytes | None) -> bool:
        """Store on a condition that S3 itself checks (If-None-Match, If-Match).

        A request whose answer was lost is sent again by boto3, and then finds what its first sending stored.
        So where it was sent more than once, our own content counts as stored by us: `content` has to be
        unique to its writer wherever one of several is to win. After `Away` it is not known.
        """
        condition: dict[str, Any] = {"IfNoneMatch": "*"}
        if instead_of is not None:
            etag = self._settled.etag(key, instead_of)
            if etag is None:
                found, etag = self._read(key)
                if found != instead_of:
                    return False
            condition = {"IfMatch": etag}
        self._settled.forget(key)
        is_sent_again = False
        for again in range(TIMES_IN_CONFLICT, -1, -1):
            with asking(self._bucket.putting, self._bucket.resource):
                try:
                    self._settled.remember(key, content, self._write(key, content, **condition))
                    return True
                except ClientError as error:
                    is_sent_again |= bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))
                    if code_of(error) in _NOT_AS_EXPECTED:
                        break
                    if code_of(error) not in _CONFLICT or not again:
                        raise
            is_sent_again = True
            time.sleep(CONFLICT_S)
        return is_sent_again and self.get(key) == content

    def _write(self, key: str, content: bytes, **condition: Any) -> str:
        """Store it; its ETag."""
        checksum = sha256_text(content)
        answer = self._client.put_object(
            Bucket=self._bucket.name,
            Key=self._key(key),
            Body=content,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
            **self._sealing(key),
            **condition,
        )
        require_same(answer, checksum, self._bucket.resource)
        return str(answer["ETag"])

    def _sealing(self, key: str) -> dict[str, Any]:
        kind = _KINDS.get(key.rpartition("/")[2], "other")
        return {**self._encryption, "Tagging": urlencode({**self._tags, "iris": kind})}

    def sweep(self) -> None:
        """End abandoned uploads; what stands in the way is logged, since nothing waits for it."""
        try:
            ended = self.end_abandoned_uploads()
        except OutsideError as error:
            log.warning("abandoned_uploads_not_ended", reason=str(error))
            return
        if ended:
            log.info("abandoned_uploads_ended", uploads=ended)

    def offered(self, key: str, sha256: str, size_bytes: int) -> Offer:
        """A URL that takes exactly one file, of this digest and size, for whoever has it."""
        wanted = {
            "Bucket": self._bucket.name,
            "Key": self._key(key),
            "ContentLength": size_bytes,
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64_text(bytes.fromhex(sha256)),
            **self._sealing(key),
        }
        with asking(self._bucket.putting, self._bucket.resource):
            return presigned_put(self._client, wanted)

    def end_abandoned_uploads(self) -> int:
        """End uploads under the prefix that nobody completed within a day; how many they were.

        Raises
        ------
        Away, Permanent
        """
        return end_abandoned(self._bucket, self._prefix)

    def unfinished_uploads(self) -> int:
        """How many uploads under the prefix are not complete.

        Raises
        ------
        Away, Permanent
        """
        return len(uploads_below(self._bucket, self._prefix))

    def remove(self, key: str) -> None:
        """Remove an object; or all below a prefix that ends with a slash, with the versions of a bucket
        that keeps them.

        Raises
        ------
        Away, Permanent
        """
        if key.endswith("/"):
            erase_below(self._bucket, self._key(key))
            return
        with asking("s3:DeleteObject", self._bucket.resource):
            self._client.delete_object(Bucket=self._bucket.name, Key=self._key(key))

    # -- reading ------------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """Read a small object; None when there is none."""
        return self._read(key)[0]

    def fetch(self, key: str, target: Path) -> bool:
        """Stream an object into a file, which is there whole or not at all; False when there is no object."""
        try:
            with in_one_step(target) as temporary, temporary.open("w+b") as stream:
                if self._download(key, stream) is None:
                    raise _NoSuchObject
        except _NoSuchObject:
            return False
        return True

    def modified_at(self, key: str) -> datetime | None:
        """When an object was stored (UTC), as S3 says; None when there is none."""
        found = self._listed(key)
        return found["LastModified"] if found is not None else None

    def held(self, key: str) -> Held | None:
        """Size and digest of an object, as S3 keeps them; None when there is none."""
        with asking(GET, self._bucket.resource):
            try:
                found = self._client.head_object(
                    Bucket=self._bucket.name, Key=self._key(key), ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if code_of(error) not in _NOT_AS_EXPECTED:
                    raise
                return None
        return Held(found["ContentLength"], found.get("ChecksumSHA256", ""))

    def beginning(self, key: str, most_bytes: int) -> bytes:
        """The first bytes of an object that is there, and not empty."""
        with asking(GET, self._bucket.resource):
            answer = self._client.get_object(
                Bucket=self._bucket.name, Key=self._key(key), Range=f"bytes=0-{most_bytes - 1}"
            )
            return answer["Body"].read()

    def located(self, key: str) -> str | None:
        """A URL that is good for five minutes, for whoever has it; None when there is no object."""
        if self._listed(key) is None:
            return None
        media_type = "application/gzip" if key.endswith(".gz") else mimetypes.guess_type(key)[0]
        wanted = {"Bucket": self._bucket.name, "Key": self._key(key)}
        if media_type is not None:
            wanted["ResponseContentType"] = media_type
        with asking(GET, self._bucket.resource):
            return self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=URL_LIVES_S)

    def _read(self, key: str) -> tuple[bytes | None, str]:
        """An object's content with its ETag."""
        stream = BytesIO()
        etag = self._download(key, stream)
        return (stream.getvalue(), etag) if etag is not None else (None, "")

    def _download(self, key: str, stream: BinaryIO) -> str | None:
        return download(self._bucket, self._key(key), stream)

    def _listed(self, key: str) -> Mapping[str, Any] | None:
        """What the bucket's list says of an object: unlike HEAD, it says why where it is refused."""
        wanted = self._key(key)
        with asking("s3:ListBucket", self._bucket.resource):
            answer = self._client.list_objects_v2(Bucket=self._bucket.name, Prefix=wanted, MaxKeys=1)
        if "KeyCount" not in answer:  # botocore takes an empty body for an empty list
            raise Away(f"an answer about {self._bucket.resource} was cut off; look at the network")
        return next((found for found in answer.get("Contents", []) if found["Key"] == wanted), None)

    def _key(self, key: str) -> str:
        """The whole key of an object.

        Raises
        ------
        Permanent
            It leads out of the prefix, or is none that we make.
        """
        if not _KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
            raise Permanent("the key leads out of the object store")
        return self._prefix + key


class _NoSuchObject(Exception):
    """There is nothing to fetch."""
