"""Files that others put into the bucket: a URL for exactly one of them, and what S3 then says of it.

The URL's signature covers the file's length and SHA-256. S3 refuses another length (the signature does not
fit) and other bytes (BadDigest: it computes the checksum that a request names and compares), and keeps the
checksum for whoever asks later. What a browser sets by itself, the length, is not among the headers given.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PUT_LIVES_S: Final = 900
"""For how long the PUT may begin; one that has begun is finished."""

_HEADERS: Final = {
    "ChecksumAlgorithm": "x-amz-sdk-checksum-algorithm",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "Tagging": "x-amz-tagging",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
}


@dataclass(frozen=True)
class Offer:
    """One PUT request that the bucket will take."""

    url: str
    headers: Mapping[str, str]
    expires: datetime


@dataclass(frozen=True)
class Held:
    """What S3 says of an object that is there."""

    size_bytes: int
    checksum_sha256: str
    """In base64; empty where S3 has none of the whole object."""

    def is_file(self, sha256: str, size_bytes: int) -> bool:
        """Whether it is the file of this digest (hex) and size."""
        wanted = base64.b64encode(bytes.fromhex(sha256)).decode()
        return (self.size_bytes, self.checksum_sha256) == (size_bytes, wanted)


def presigned_put(client: "S3Client", wanted: Mapping[str, Any]) -> Offer:
    """Sign a PutObject with these parameters, all of which become headers that the sender has to send."""
    expires = datetime.now(UTC) + timedelta(seconds=PUT_LIVES_S)
    url = client.generate_presigned_url("put_object", Params=dict(wanted), ExpiresIn=PUT_LIVES_S)
    headers = {header: _text(wanted[name]) for name, header in _HEADERS.items() if name in wanted}
    return Offer(url, headers, expires)


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
