"""Opens what the configuration names of the outside world. boto3 is imported only where AWS is wanted."""

from typing import TYPE_CHECKING

from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import ObjectStore
from gateway.config import Config, ConfigError

if TYPE_CHECKING:
    from gateway.adapters.aws.batch import BatchQueue
    from gateway.adapters.aws.session import AwsSession
    from gateway.adapters.aws.sqs_news import SqsNews


def aws_session(config: Config) -> "AwsSession":
    """The session for everything in AWS.

    Raises
    ------
    ConfigError
        boto3 is not installed.
    """
    try:
        from gateway.adapters.aws.session import AwsSession
    except ModuleNotFoundError:
        raise ConfigError('boto3 is missing for the AWS backends: pip install "iris-gateway[aws]"') from None
    return AwsSession(config.aws.region, config.aws.endpoint_url)


def object_store(config: Config) -> ObjectStore:
    """Where job folders lie.

    Raises
    ------
    ConfigError
        boto3 is missing, or region or endpoint is none.
    Retriable
        The folder on this machine cannot be made.
    """
    if config.objects.backend == "local":
        return FolderStore(config.data_dir / "objects")
    session = aws_session(config)
    from gateway.adapters.aws.s3 import BucketStore

    wanted = config.objects
    try:
        return BucketStore(session, wanted.bucket, wanted.prefix, wanted.kms_key)
    except ValueError as error:
        raise ConfigError(f"aws.region, aws.endpoint_url: {error}") from None


def batch_queue(config: Config) -> "tuple[BatchQueue, SqsNews | None]":
    """The job queue of AWS Batch, and where its news come from.

    Raises
    ------
    ConfigError
        boto3 is missing.
    """
    session = aws_session(config)
    from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
    from gateway.adapters.aws.sqs_news import SqsNews

    queue, fallback = config.queue, config.queue.fallback
    settings = BatchSettings(
        main=LaneSettings(queue.job_queue, queue.job_definition),
        fallback=LaneSettings(fallback.job_queue, fallback.job_definition or queue.job_definition)
        if fallback.job_queue
        else None,
        site=config.site.name,
        timeout_s=queue.timeout_s,
        attempts=queue.attempts,
    )
    news = SqsNews(session, config.news.queue_url) if config.news.backend == "sqs" else None
    return BatchQueue(session, settings, news), news
