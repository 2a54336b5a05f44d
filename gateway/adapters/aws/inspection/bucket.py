"""The bucket: there, in our region, for us to write, sealed and not public."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from gateway.adapters.aws.refusals import asking, code_of
from gateway.adapters.aws.s3 import BucketStore
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.checks import Check, Verdict, until_refused
from gateway.adapters.errors import OutsideError, Retriable

from .account import clock

_BLOCKS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True)
class WantedBucket:
    """What the configuration says of it."""

    name: str
    prefix: str = ""
    kms_key: str = ""

    @property
    def resource(self) -> str:
        """As sentences name it."""
        return f"the bucket {self.name}"


def bucket(session: AwsSession, wanted: WantedBucket) -> Iterator[Check]:
    """Everything about the bucket, and our clock, which its first answer tells.

    Raises
    ------
    Away, Permanent
        It cannot be reached at all.
    """
    client = session.s3()
    with asking("s3:ListBucket", wanted.resource):  # unlike HEAD, a list says why where it is refused
        listed = client.list_objects_v2(Bucket=wanted.name, MaxKeys=1)
        region = client.head_bucket(Bucket=wanted.name).get("BucketRegion", session.region)
    yield clock(listed["ResponseMetadata"]["HTTPHeaders"].get("date", ""), datetime.now(UTC))
    if region != session.region:  # boto3 was led there
        finding = f"{wanted.name} is in {region}, and aws.region says {session.region}"
        yield Check("bucket", Verdict.FAILED, finding, f'aws.region = "{region}"')
        return
    yield Check("bucket", Verdict.OK, f"{wanted.name} in {session.region}")
    yield from until_refused("bucket access", _access(session, wanted))
    look = Verdict.WARNING
    yield from until_refused("bucket encryption", _encryption(session, wanted), look, "not looked at")
    yield from until_refused("bucket public access", _public_access(session, wanted), look, "not looked at")


def _access(session: AwsSession, wanted: WantedBucket) -> Iterator[Check]:
    """Write, read and remove a probe; see unfinished uploads."""
    store = BucketStore(session, wanted.name, wanted.prefix, wanted.kms_key)
    key, content = f"doctor/{uuid.uuid4().hex}", uuid.uuid4().hex.encode()
    store.put(key, content)
    if store.get(key) != content:
        raise Retriable(f"{wanted.resource} gives back something else than was stored; look at its rules")
    store.unfinished_uploads()
    try:
        store.remove(key)
    except OutsideError as error:
        finding, _, fix = str(error).partition("; ")
        yield Check("bucket access", Verdict.WARNING, f"a probe object stays under doctor/: {finding}", fix)
        return
    yield Check("bucket access", Verdict.OK, "a probe was written, read and removed")


def _encryption(session: AwsSession, wanted: WantedBucket) -> Iterator[Check]:
    name, command = "bucket encryption", f"aws s3api put-bucket-encryption --bucket {wanted.name} ..."
    rule: Any = {}
    with asking("s3:GetEncryptionConfiguration", wanted.resource):
        try:
            found = session.s3().get_bucket_encryption(Bucket=wanted.name)
            rule = found["ServerSideEncryptionConfiguration"]["Rules"][0][
                "ApplyServerSideEncryptionByDefault"
            ]
        except ClientError as error:
            if code_of(error) != "ServerSideEncryptionConfigurationNotFoundError":
                raise
    algorithm = rule.get("SSEAlgorithm", "")
    if wanted.kms_key and not algorithm.startswith("aws:kms"):
        finding = "what jobs write is not under objects.kms_key: it is the bucket's default that seals it"
        yield Check(name, Verdict.WARNING, finding, f"make that key the default: {command}")
    elif not algorithm:
        yield Check(name, Verdict.WARNING, "the bucket names no default", command)
    else:
        yield Check(name, Verdict.OK, f"by default {algorithm}")


def _public_access(session: AwsSession, wanted: WantedBucket) -> Iterator[Check]:
    name, client = "bucket public access", session.s3()
    command = (
        f"aws s3api put-public-access-block --bucket {wanted.name} --public-access-block-configuration "
        + ",".join(f"{block}=true" for block in _BLOCKS)
    )
    block: Any = {}
    with asking("s3:GetBucketPublicAccessBlock", wanted.resource):
        try:
            block = client.get_public_access_block(Bucket=wanted.name)["PublicAccessBlockConfiguration"]
        except ClientError as error:
            if code_of(error) != "NoSuchPublicAccessBlockConfiguration":
                raise
    missing = [each for each in _BLOCKS if not block.get(each)]
    if not missing:
        yield Check(name, Verdict.OK, "is blocked")
        return
    with asking("s3:GetBucketPolicyStatus", wanted.resource):
        try:
            is_public = client.get_bucket_policy_status(Bucket=wanted.name)["PolicyStatus"]["IsPublic"]
        except ClientError as error:
            if code_of(error) != "NoSuchBucketPolicy":
                raise
            is_public = False
    if is_public:
        yield Check(name, Verdict.FAILED, "the bucket's policy makes it public", command)
    else:
        finding = f"nothing is public, but it could be made so ({', '.join(missing)} not set)"
        yield Check(name, Verdict.WARNING, finding, command)
