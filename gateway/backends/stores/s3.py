"""The object store `s3`: a bucket; boto3 is loaded only where it is wanted."""

from gateway.backends.aws import aws_session
from gateway.config import Config, ConfigError

from . import OpenedStore


def open_s3(config: Config) -> OpenedStore:
    """Open the bucket.

    Raises
    ------
    ConfigError
        boto3 is not installed, or the region or endpoint is none.
    """
    session = aws_session(config, "objects.backend = 's3'")
    from gateway.adapters.aws.s3 import BucketStore
    from gateway.adapters.aws.session import TAG

    wanted = config.objects
    try:
        bucket = BucketStore(session, wanted.bucket, wanted.prefix, wanted.kms_key, TAG)
    except ValueError:
        raise ConfigError("aws.region or aws.endpoint_url is none that AWS knows; correct it") from None
    endpoint = {"AWS_ENDPOINT_URL": config.aws.endpoint_url} if config.aws.endpoint_url else {}
    return OpenedStore(
        bucket,
        job_variables={"AWS_DEFAULT_REGION": config.aws.region, **endpoint},
        origin=lambda: bucket.origin,
        sweep=bucket.sweep,
    )
