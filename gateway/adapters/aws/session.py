"""The one boto3 session: region, endpoint, timeouts, and how often a request is sent again.

Credentials are boto3's own business (variables, profile, the machine's role); they never stand in our
configuration. An empty endpoint leaves AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_BATCH to boto3.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore import UNSIGNED
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0
TRIES: Final = 3
"""How often a request is sent, with growing pauses between; what is refused even then, we wait out."""
LONG_POLL_S: Final = 20
"""How long SQS may hold an answer back (its own limit)."""
CONNECTIONS: Final = 16
TAG: Final = {"Application": "iris-oculus"}
"""On everything that we make in AWS; the name is that of the present system."""


def default_region() -> str:
    """The region that boto3 finds by itself (variable, profile); empty where there is none."""
    return boto3.session.Session().region_name or ""


@dataclass(frozen=True)
class AwsSession:
    """Makes clients, which are safe to share between threads."""

    region: str
    endpoint_url: str = ""

    @cached_property
    def _session(self) -> boto3.session.Session:
        return boto3.session.Session(region_name=self.region)

    def s3(self, *, is_signed: bool = True) -> "S3Client":
        """Objects; URLs that it signs are good for a KMS key's objects, and lead to the bucket's region."""
        settings = self._settings()
        urls = Config(
            signature_version="s3v4" if is_signed else UNSIGNED,
            s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
        )
        return self._session.client("s3", **{**settings, "config": settings["config"].merge(urls)})

    def batch(self) -> "BatchClient":
        """Job queues and jobs, to look at and to end."""
        return self._session.client("batch", **self._settings())

    def batch_for_submitting(self) -> "BatchClient":
        """The same for SubmitJob alone, which has no token: a repeated request would be a second job."""
        return self._session.client("batch", **self._settings(tries=1))

    def sqs(self) -> "SQSClient":
        """Job news; a receive may be held back for `LONG_POLL_S`."""
        return self._session.client("sqs", **self._settings(read_timeout_s=LONG_POLL_S + READ_TIMEOUT_S))

    def dynamodb(self) -> "DynamoDBClient":
        """The mirror's table."""
        return self._session.client("dynamodb", **self._settings())

    def cloudwatch(self) -> "CloudWatchClient":
        """Figures of this gateway; what is not taken soon comes with the next, so it does not wait long."""
        return self._session.client("cloudwatch", **self._settings(tries=2, read_timeout_s=10.0))

    def ec2(self) -> "EC2Client":
        """Prices, which nothing waits for long."""
        return self._session.client("ec2", **self._settings(tries=2, read_timeout_s=10.0))

    def sts(self) -> "STSClient":
        """Who we are."""
        return self._session.client("sts", **self._settings())

    def ecr(self) -> "ECRClient":
        """Where the job's image is."""
        return self._session.client("ecr", **self._settings())

    def service_quotas(self) -> "ServiceQuotasClient":
        """How many vCPUs the account may have."""
        return self._session.client("service-quotas", **self._settings())

    def cloudformation(self) -> "CloudFormationClient":
        """What was deployed."""
        return self._session.client("cloudformation", **self._settings())

    def _settings(
        self, *, tries: int | None = None, read_timeout_s: float = READ_TIMEOUT_S
    ) -> dict[str, Any]:
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": tries or TRIES},
        )
        return {"config": config, **({"endpoint_url": self.endpoint_url} if self.endpoint_url else {})}
