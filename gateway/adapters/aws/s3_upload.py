"""A large file into S3, in parts: taken up after a restart, each part compared by its SHA-256.

S3 keeps the parts of an upload that was cut off, until somebody ends it. The next try finds the upload by its
key, compares the parts with the file, and sends what is missing. Two gateways that stage the same input at
once may share an upload: its parts are the same, and who comes too late begins anew.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from botocore.exceptions import ClientError

from gateway.adapters.errors import Retriable

from .refusals import asking, code_of
from .s3_bucket import Bucket
from .s3_checksums import base64_text, composite_text, part_digests, require_same, sha256_text

log = structlog.get_logger(__name__)

PART_BYTES: Final = 8 << 20
PARTS_ALLOWED: Final = 10_000
"""S3's own limit."""
AT_ONCE: Final = 4
"""Parts on their way, each in memory."""
TIMES_BEGUN: Final = 3
"""How often an upload that somebody else ended is begun anew before it is put off."""
ABANDONED_AFTER: Final = timedelta(days=1)

_ALGORITHM: Final = "SHA256"


@dataclass(frozen=True)
class BegunUpload:
    """An upload that is not complete."""

    key: str
    upload_id: str
    begun_at: datetime
    algorithm: str
    """Which checksums its parts have: ours `SHA256`."""


class Upload:
    """A file on its way to an object.

    Parameters
    ----------
    sealing
        Encryption and tags, as CreateMultipartUpload takes them.
    """

    def __init__(self, bucket: Bucket, key: str, sealing: Mapping[str, Any]) -> None:
        self._bucket = bucket
        self._key = key
        self._sealing = sealing
        self._client = bucket.client

    def send(self, source: Path) -> None:
        """Send a file, or what is missing of it.

        Raises
        ------
        Retriable, Away, Permanent, OSError
        """
        part_bytes = max(PART_BYTES, -(-source.stat().st_size // PARTS_ALLOWED))
        file = _File(source, part_bytes, part_digests(source, part_bytes))
        for _ in range(TIMES_BEGUN):
            upload_id, etags = self._find(file) or (self._begin(), {})
            try:
                etags = etags | self._send_missing(upload_id, file, file.numbers - etags.keys())
                self._complete(upload_id, file, etags)
                return
            except _Gone:
                log.info("upload_ended_by_another")
        raise Retriable(
            f"an upload to {self._bucket.resource} was ended by another process {TIMES_BEGUN} times"
        )

    # -- what is there already ----------------------------------------------------------------------------

    def _find(self, file: "_File") -> tuple[str, dict[int, str]] | None:
        """The newest upload of this key whose parts are the file's; newer ones that differ are ended."""
        begun = [begun for begun in uploads_below(self._bucket, self._key) if begun.key == self._key]
        for upload in sorted(begun, key=lambda upload: upload.begun_at, reverse=True):
            is_ours = upload.algorithm == _ALGORITHM  # another takes no parts with our checksums
            etags = self._parts_that_fit(upload.upload_id, file) if is_ours else None
            if etags is not None:
                return upload.upload_id, etags
            end_upload(self._bucket, upload)
        return None

    def _parts_that_fit(self, upload_id: str, file: "_File") -> dict[int, str] | None:
        """The ETags of the parts that are there; None where one of them is not the file's."""
        etags: dict[int, str] = {}
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket.name, Key=self._key, UploadId=upload_id
        )
        try:
            with asking("s3:ListMultipartUploadParts", self._bucket.resource), _gone():
                for page in pages:
                    for part in page.get("Parts", []):
                        number = part["PartNumber"]
                        if part.get("ChecksumSHA256") != file.checksum(number):
                            return None
                        etags[number] = part["ETag"]
        except _Gone:
            return None
        return etags

    # -- sending ------------------------------------------------------------------------------------------

    def _begin(self) -> str:
        with asking(self._bucket.putting, self._bucket.resource):
            return self._client.create_multipart_upload(
                Bucket=self._bucket.name, Key=self._key, ChecksumAlgorithm=_ALGORITHM, **self._sealing
            )["UploadId"]

    def _send_missing(self, upload_id: str, file: "_File", numbers: set[int]) -> dict[int, str]:
        with ThreadPoolExecutor(AT_ONCE, "s3-upload") as pool:
            sent = pool.map(lambda number: self._send_part(upload_id, file, number), sorted(numbers))
            return dict(zip(sorted(numbers), sent, strict=True))

    def _send_part(self, upload_id: str, file: "_File", number: int) -> str:
        content = file.part(number)
        checksum = sha256_text(content)
        if checksum != file.checksum(number):
            raise Retriable("a file changed while it was sent")
        with asking(self._bucket.putting, self._bucket.resource), _gone():
            answer = self._client.upload_part(
                Bucket=self._bucket.name,
                Key=self._key,
                UploadId=upload_id,
                PartNumber=number,
                Body=content,
                ChecksumAlgorithm=_ALGORITHM,
                ChecksumSHA256=checksum,
            )
        require_same(answer, checksum, self._bucket.resource)
        return answer["ETag"]

    def _complete(self, upload_id: str, file: "_File", etags: Mapping[int, str]) -> None:
        """Let the parts be one object; an answer that is lost may show as an upload that is gone."""
        parts: Any = [
            {"PartNumber": number, "ETag": etags[number], "ChecksumSHA256": file.checksum(number)}
            for number in sorted(etags)
        ]
        with asking(self._bucket.putting, self._bucket.resource), _gone():
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket.name, Key=self._key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        require_same(answer, composite_text(file.digests), self._bucket.resource)


@dataclass(frozen=True)
class _File:
    """A local file seen as parts, numbered from 1."""

    path: Path
    part_bytes: int
    digests: list[bytes] = field(repr=False)

    @property
    def numbers(self) -> set[int]:
        return set(range(1, len(self.digests) + 1))

    def checksum(self, number: int) -> str:
        """The part's SHA-256 as S3 writes it; empty where the file has no such part."""
        return base64_text(self.digests[number - 1]) if number in self.numbers else ""

    def part(self, number: int) -> bytes:
        with self.path.open("rb") as stream:
            stream.seek((number - 1) * self.part_bytes)
            return stream.read(self.part_bytes)


class _Gone(Exception):
    """The upload was completed or ended meanwhile, or one of its parts was sent anew by another."""


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code_of(error) in ("NoSuchUpload", "InvalidPart"):
            raise _Gone from None
        raise


# -- those that nobody will complete ----------------------------------------------------------------------


def uploads_below(bucket: Bucket, prefix: str) -> list[BegunUpload]:
    """The uploads that are not complete, of every key that begins so.

    Raises
    ------
    Away, Permanent
    """
    with asking("s3:ListBucketMultipartUploads", bucket.resource):
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.name, Prefix=prefix
        )
        return [
            BegunUpload(
                upload["Key"], upload["UploadId"], upload["Initiated"], upload.get("ChecksumAlgorithm", "")
            )
            for page in pages
            for upload in page.get("Uploads", [])
        ]


def end_upload(bucket: Bucket, upload: BegunUpload) -> None:
    """End an upload; S3 then forgets its parts. One that is over already is no error.

    Raises
    ------
    Away, Permanent
    """
    with suppress(_Gone), asking("s3:AbortMultipartUpload", bucket.resource), _gone():
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload.key, UploadId=upload.upload_id)


def end_abandoned(bucket: Bucket, prefix: str) -> int:
    """End the uploads that were begun more than a day ago; how many they were.

    Younger ones may be those of another gateway that is at it.

    Raises
    ------
    Away, Permanent
    """
    oldest = datetime.now(UTC) - ABANDONED_AFTER
    abandoned = [upload for upload in uploads_below(bucket, prefix) if upload.begun_at < oldest]
    for upload in abandoned:
        end_upload(bucket, upload)
    return len(abandoned)
