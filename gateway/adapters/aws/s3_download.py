"""One object from S3, streamed: taken up where the connection broke, and compared with S3's own checksum."""

from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from gateway.adapters.errors import Away, Retriable

from .refusals import asking, code_of
from .s3_bucket import Bucket
from .s3_checksums import Checksum, Comparison

CHUNK_BYTES: Final = 1 << 20
TIMES_CUT_OFF: Final = 5
"""How often a connection that breaks is followed by another before the download is put off."""
GET: Final = "s3:GetObject with s3:ListBucket"
"""Without s3:ListBucket an object that is not there is answered as denied."""

_MISSING: Final = frozenset({"NoSuchKey", "404"})
_REPLACED: Final = frozenset({"PreconditionFailed", "412"})
_CUT_OFF: Final = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, ConnectionError)


class Download:
    """One download into a stream that can be written, sought and cut."""

    def __init__(self, bucket: Bucket, key: str, sink: BinaryIO) -> None:
        self._client = bucket.client
        self._resource = bucket.resource
        self._object: Any = {"Bucket": bucket.name, "Key": key}
        self._sink = sink
        self._taken = 0
        self._comparison: Comparison | None = None
        self.etag = ""
        """What S3 calls the content that was read."""

    def run(self) -> bool:
        """Read all of it; False where there is no such object.

        Raises
        ------
        Away, Permanent
        Retriable
            The bytes are not those that S3 has the checksum of.
        """
        for _ in range(TIMES_CUT_OFF):
            try:
                answer = self._ask()
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return False
                if code_of(error) not in _REPLACED:
                    raise
                self._begin_anew()
                continue
            if self._take(answer):
                return True
        raise Away(f"a download from {self._resource} broke off {TIMES_CUT_OFF} times; look at the network")

    def _ask(self) -> Mapping[str, Any]:
        """The object from where we are; the same content as before, or an error."""
        if self._taken:
            return self._client.get_object(
                **self._object, Range=f"bytes={self._taken}-", IfMatch=self.etag, ChecksumMode="ENABLED"
            )
        answer = self._client.get_object(**self._object, ChecksumMode="ENABLED")
        self.etag = answer["ETag"]
        self._comparison = self._compare_with(answer)
        return answer

    def _take(self, answer: Mapping[str, Any]) -> bool:
        """Read an answer's body; False where it broke off."""
        try:
            for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                self._sink.write(chunk)
                self._taken += len(chunk)
                if self._comparison is not None:
                    self._comparison.update(chunk)
        except FlexibleChecksumError:  # boto3's own look at the whole of an unbroken answer
            raise self._wrong() from None
        except _CUT_OFF:
            return False
        finally:
            answer["Body"].close()
        if self._comparison is not None and not self._comparison.agrees():
            raise self._wrong()
        return True

    def _compare_with(self, answer: Mapping[str, Any]) -> Comparison | None:
        checksum = Checksum.of(answer)
        if checksum is None:
            return None
        if not checksum.parts:
            return Comparison(checksum, 0)
        first = self._client.get_object(**self._object, PartNumber=1, IfMatch=self.etag)
        first["Body"].close()
        size, part_bytes = answer["ContentLength"], first["ContentLength"]
        if -(-size // max(part_bytes, 1)) != checksum.parts:
            return None  # parts of several sizes: we make none, and cannot tell where they end
        return Comparison(checksum, part_bytes)

    def _begin_anew(self) -> None:
        self._sink.seek(0)
        self._sink.truncate()
        self._taken = 0

    def _wrong(self) -> Retriable:
        return Retriable(
            f"what came from {self._resource} is not what was stored there (its checksum differs);"
            " look at the network and at what lies between"
        )


def download(bucket: Bucket, key: str, sink: BinaryIO) -> str | None:
    """Read an object into a stream; the ETag of what was read, None where there is no such object.

    Raises
    ------
    Retriable, Away, Permanent
        What the stream holds is then worth nothing.
    """
    wanted = Download(bucket, key, sink)
    with asking(GET, bucket.resource):
        return wanted.etag if wanted.run() else None
