"""A bucket, with what the sentences about it need."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Bucket:
    """Where objects are, for uploads and downloads."""

    client: "S3Client"
    name: str
    putting: str = "s3:PutObject"
    """The IAM actions that storing needs."""

    @property
    def resource(self) -> str:
        """The bucket as an operator knows it."""
        return f"the bucket {self.name}"
