"""AWS as the configuration names it: session and job queue; boto3 is loaded only where AWS is wanted."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from gateway.config import Config, ConfigError

if TYPE_CHECKING:
    from gateway.adapters.aws.batch import BatchQueue
    from gateway.adapters.aws.s3 import BucketStore
    from gateway.adapters.aws.session import AwsSession
    from gateway.adapters.aws.spot_prices import Ec2SpotPrices


def aws_session(config: Config, wanted_by: str) -> "AwsSession":
    """The one session for everything in AWS.

    Parameters
    ----------
    wanted_by
        The setting that needs it, for the sentence: "objects.backend = 's3'".

    Raises
    ------
    ConfigError
        boto3 is not installed.
    """
    try:
        return the_session(config.aws.region, config.aws.endpoint_url)
    except ModuleNotFoundError:
        raise ConfigError(f"{wanted_by} needs boto3, which is not installed: pip install boto3") from None


@cache
def the_session(region: str, endpoint_url: str) -> "AwsSession":
    """The session of this process for a region and an endpoint."""
    from gateway.adapters.aws.session import AwsSession

    return AwsSession(region, endpoint_url)


def batch_queue(config: Config) -> "BatchQueue":
    """The job queue of AWS Batch.

    Raises
    ------
    ConfigError
        boto3 is not installed.
    """
    session = aws_session(config, "queue.backend = 'batch'")
    from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings

    queue, fallback = config.queue, config.queue.fallback
    settings = BatchSettings(
        main=LaneSettings(queue.job_queue, queue.job_definition),
        fallback=LaneSettings(fallback.job_queue, fallback.job_definition or queue.job_definition)
        if fallback.job_queue and not fallback.region
        else None,
        site=config.site.name,
        urgent_queue=queue.urgent.job_queue,
        urgent_priority=queue.urgent.priority,
        timeout_s=queue.timeout_s,
        attempts=queue.attempts,
    )
    return BatchQueue(session, settings)


@dataclass(frozen=True)
class SecondRegion:
    """What `queue.fallback` names in another region."""

    name: str
    queue: "BatchQueue"
    objects: "BucketStore"
    session: "AwsSession"
    news_queue_url: str


def second_region(config: Config) -> SecondRegion | None:
    """The second region; None: there is none, or no job runs elsewhere.

    Raises
    ------
    ConfigError
        boto3 is not installed, or the region is none.
    """
    wanted = config.queue.fallback
    if config.queue.backend != "batch" or not wanted.region:
        return None
    aws_session(config, "queue.fallback.region")
    from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
    from gateway.adapters.aws.s3 import BucketStore
    from gateway.adapters.aws.session import TAG

    there = LaneSettings(wanted.job_queue, wanted.job_definition)
    settings = BatchSettings(
        main=there,
        fallback=there,
        site=config.site.name,
        timeout_s=config.queue.timeout_s,
        attempts=config.queue.attempts,
        named="queue.fallback.job_queue and queue.fallback.region",
    )
    try:
        session = the_session(wanted.region, config.aws.endpoint_url)
        objects = BucketStore(session, wanted.bucket, wanted.prefix, wanted.kms_key, TAG)
    except ValueError:
        raise ConfigError("queue.fallback.region is none that AWS knows; correct it") from None
    return SecondRegion(wanted.region, BatchQueue(session, settings), objects, session, wanted.news_queue_url)


def spot_prices(session: "AwsSession") -> "Ec2SpotPrices":
    """What EC2 says of prices in a region."""
    from gateway.adapters.aws.spot_prices import Ec2SpotPrices

    return Ec2SpotPrices(session)
