"""Erasing for good, in a bucket that keeps versions: what was deleted there is only hidden.

S3 says of each deletion whether it left a marker, which it does where versions are kept, also of an object
that is not there (docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html). Only there further rights
are needed, and asked for.
"""

from typing import Final

from .refusals import asking
from .s3_bucket import Bucket

_NOBODYS: Final = "erased"
"""A name below the prefix at which nothing lies."""


def erase_below(bucket: Bucket, prefix: str) -> None:
    """Delete all objects below a prefix that ends with a slash, with their earlier versions and markers.

    Raises
    ------
    Away, Permanent
    """
    with asking("s3:ListBucket", bucket.resource):
        pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=prefix)
        found = [item["Key"] for page in pages for item in page.get("Contents", [])]
    with asking("s3:DeleteObject", bucket.resource):
        answers = [
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
            for key in [*found, f"{prefix}{_NOBODYS}"]
        ]
    if not any(answer.get("DeleteMarker") for answer in answers):
        return
    with asking("s3:ListBucketVersions", bucket.resource):
        versions = bucket.client.get_paginator("list_object_versions").paginate(
            Bucket=bucket.name, Prefix=prefix
        )
        hidden = [
            (item["Key"], item["VersionId"])
            for page in versions
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
    with asking("s3:DeleteObjectVersion", bucket.resource):
        for key, version in hidden:
            bucket.client.delete_object(Bucket=bucket.name, Key=key, VersionId=version)
