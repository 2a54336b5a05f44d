"""What a call asks IAM for, and whether a policy allows it.

Which actions an operation needs, and on which resources, is that of AWS's Service Authorization Reference
(docs.aws.amazon.com/service-authorization/latest/reference), and for S3 of the page "Required permissions for
Amazon S3 API operations" of its user guide. An operation that is not in the table raises: nothing is guessed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.cloud import REGION
from tests.infra.deployment import ACCOUNT
from tests.infra.recorded_calls import Call

HERE: Final = f"{REGION}:{ACCOUNT}"
TAGS: Final = "aws:ResourceTag/"
WISHED_TAGS: Final = "aws:RequestTag/"
Statement = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One action on one resource, as IAM judges it."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What conditions are asked of: `kms:ViaService`, `aws:ResourceTag/Application`."""


@dataclass(frozen=True)
class Sealed:
    """With which keys what is asked for is sealed; the services use them in the caller's name."""

    bucket: str
    queues: str

    def by(self, service: str, *actions: str) -> Iterator[Request]:
        key = {"s3": self.bucket, "sqs": self.queues}[service]
        context = {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}
        yield from (Request(f"kms:{action}", key, context) for action in actions)


# -- what calls ask for -----------------------------------------------------------------------------------

READ: Final = ("GetObject", "HeadObject")
WRITE: Final = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
OF_THE_BUCKET: Final = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "GetBucketPolicyStatus": "GetBucketPolicyStatus",
}
OF_AN_OBJECT: Final = {
    **dict.fromkeys(READ, "GetObject"),
    **dict.fromkeys(WRITE, "PutObject"),
    "DeleteObject": "DeleteObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
    "ListParts": "ListMultipartUploadParts",
}
OF_EVERYTHING: Final = {  # these take no resource but `*`
    "batch": {
        *("DescribeJobs", "ListJobs", "DescribeJobQueues"),
        *("DescribeComputeEnvironments", "DescribeJobDefinitions"),
    },
    "ec2": {"DescribeSpotPriceHistory", "DescribeInstanceTypeOfferings", "GetEbsDefaultKmsKeyId"},
    "service-quotas": {"GetServiceQuota", "GetAWSDefaultServiceQuota"},
}
OF_A_TABLE: Final = {
    *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"),
    *("DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups"),
}
OF_A_QUEUE: Final = {
    *("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"),
    *("GetQueueAttributes", "GetQueueUrl"),
}


def asked_of_iam(call: Call, sealed: Sealed, job_tags: Mapping[str, str]) -> list[Request]:
    """What IAM is asked for one call; AWS judges all of them, and one that is denied denies the call.

    Parameters
    ----------
    job_tags
        The tags of the Batch job that the call names.
    """
    given = call.parameters
    match call.service:
        case "s3":
            return list(_s3(call.operation, given, sealed))
        case "batch" if call.operation in ("SubmitJob", "TerminateJob", "CancelJob"):
            return list(_jobs(call.operation, given, job_tags))
        case "dynamodb":
            return list(_table(call.operation, given))
        case "sqs":
            return list(_queue(call.operation, given, sealed))
        case "batch" | "ec2" | "service-quotas" if call.operation in OF_EVERYTHING[call.service]:
            return [Request(f"{call.service.replace('-', '')}:{call.operation}", "*")]
        case "cloudwatch" if call.operation == "PutMetricData":
            return [Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": given["Namespace"]})]
        case "ecr" if call.operation == "DescribeImages":
            return [Request("ecr:DescribeImages", f"arn:aws:ecr:{HERE}:repository/{given['repositoryName']}")]
        case "sts" if call.operation == "GetCallerIdentity":
            return []  # allowed to everyone
    raise AssertionError(f"say in {__name__} what {call.service} {call.operation} asks IAM for")


def _s3(operation: str, given: Mapping[str, Any], sealed: Sealed) -> Iterator[Request]:
    bucket = f"arn:aws:s3:::{given['Bucket']}"
    if operation in OF_THE_BUCKET:
        prefix = {"s3:prefix": given["Prefix"]} if "Prefix" in given else {}
        yield Request(f"s3:{OF_THE_BUCKET[operation]}", bucket, prefix)
        return
    key = f"{bucket}/{given['Key']}"
    yield Request(f"s3:{OF_AN_OBJECT[operation]}", key)
    if operation in READ:
        yield Request("s3:ListBucket", bucket)  # else S3 says of what is missing that it is denied
        yield from sealed.by("s3", "Decrypt")
    if operation in WRITE:
        parts = () if operation == "PutObject" else ("Decrypt",)
        yield from sealed.by("s3", "GenerateDataKey", *parts)
    if "Tagging" in given:
        yield Request("s3:PutObjectTagging", key)


def _jobs(operation: str, given: Mapping[str, Any], job_tags: Mapping[str, str]) -> Iterator[Request]:
    if operation != "SubmitJob":
        tags = {TAGS + name: of for name, of in job_tags.items()}
        yield Request(f"batch:{operation}", _batch("job", given["jobId"]), tags)
        return
    definition = _batch("job-definition", given["jobDefinition"])
    # With a revision and without: which of the two is judged depends on the age of the account's Batch.
    names = [definition, f"{definition}:1"] if definition.count(":") == 5 else [definition]
    wished = {WISHED_TAGS + name: of for name, of in given.get("tags", {}).items()}
    share = {"batch:ShareIdentifier": given["shareIdentifier"]} if "shareIdentifier" in given else {}
    for resource in (_batch("job-queue", given["jobQueue"]), *names, _batch("job", "new")):
        yield Request("batch:SubmitJob", resource, wished | share)
    if wished:
        yield Request("batch:TagResource", _batch("job", "new"), wished)


def _batch(kind: str, name: str) -> str:
    return name if name.startswith("arn:") else f"arn:aws:batch:{HERE}:{kind}/{name}"


def _table(operation: str, given: Mapping[str, Any]) -> Iterator[Request]:
    """Sealing needs nothing of the caller's role: the key's own policy lets in who may use the table."""
    if operation == "TransactWriteItems":
        for item in given["TransactItems"]:
            [(kind, of)] = item.items()
            yield from _table(f"{kind}Item", of)
        return
    assert operation in OF_A_TABLE, operation
    index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
    yield Request(f"dynamodb:{operation}", f"arn:aws:dynamodb:{HERE}:table/{given['TableName']}{index}")


def _queue(operation: str, given: Mapping[str, Any], sealed: Sealed) -> Iterator[Request]:
    action = operation.removesuffix("Batch")
    assert action in OF_A_QUEUE, operation
    name = given.get("QueueName") or given["QueueUrl"].rpartition("/")[2]
    yield Request(f"sqs:{action}", f"arn:aws:sqs:{HERE}:{name}")
    if action == "ReceiveMessage":
        yield from sealed.by("sqs", "Decrypt")


# -- what policies say ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grant:
    """One action of a statement on one of its resources."""

    sid: str
    action: str
    resource: str

    @classmethod
    def all_of(cls, statements: Iterable[Statement]) -> list["Grant"]:
        return [
            cls(statement["Sid"], action, resource)
            for statement in statements
            if statement["Effect"] == "Allow"
            for action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        ]


def as_list(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value]


def is_allowed(statements: Sequence[Statement], request: Request) -> bool:
    """Whether a statement allows it, and none denies it."""
    effects = {statement["Effect"] for statement in statements if _applies(statement, request)}
    return effects == {"Allow"}


def used_by(statements: Sequence[Statement], request: Request) -> set[Grant]:
    """The grants that allow it."""
    applying = [statement for statement in statements if _applies(statement, request)]
    return {
        grant
        for grant in Grant.all_of(applying)
        if fnmatchcase(request.action, grant.action) and fnmatchcase(request.resource, grant.resource)
    }


def _applies(statement: Statement, request: Request) -> bool:
    return (
        any(fnmatchcase(request.action.lower(), each.lower()) for each in as_list(statement["Action"]))
        and any(fnmatchcase(request.resource, pattern) for pattern in as_list(statement["Resource"]))
        and all(_holds(kind, of, request) for kind, of in statement.get("Condition", {}).items())
    )


def _holds(kind: str, wanted: Mapping[str, Any], request: Request) -> bool:
    operator = kind.removesuffix("IfExists")
    assert operator in ("StringEquals", "StringLike"), f"say in {__name__} what the condition {kind} means"

    def fits(value: str, pattern: str) -> bool:
        return fnmatchcase(value, pattern) if operator == "StringLike" else value == pattern

    return all(
        any(fits(request.context[key], each) for each in as_list(values))
        if key in request.context
        else kind.endswith("IfExists")
        for key, values in wanted.items()
    )
