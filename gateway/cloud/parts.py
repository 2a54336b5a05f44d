"""Puts the parts of the cloud's own jobs together, for both functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batch_job.contract import engine_facts
from gateway.backends.aws import aws_session, batch_queue
from gateway.backends.stores import open_store
from gateway.config import Config, ConfigError
from gateway.config.stores import buckets
from gateway.mirror.details import ConfiguredNames

from .jobs import UploadJobs
from .news import UploadNews
from .results import UploadResults
from .runs import UploadRuns
from .uploads import CloudUploads, UploadEngine

if TYPE_CHECKING:
    from gateway.adapters.aws.s3 import BucketStore


@dataclass(frozen=True)
class CloudParts:
    """What works on uploads."""

    jobs: UploadJobs
    runs: UploadRuns
    uploads: CloudUploads
    news: UploadNews


def cloud_parts(config: Config) -> CloudParts | None:
    """The parts; None where no job queue is configured, so that nothing can be computed here.

    Raises
    ------
    ConfigError
        A part that they need is not switched on, or cannot be opened.
    """
    require(clouds_own(config))
    if config.queue.backend == "local":
        return None
    from gateway.adapters.aws.dynamodb_own import OwnItems
    from gateway.adapters.aws.dynamodb_reading import DynamoReader

    session = aws_session(config, "queue.backend = 'batch'")
    client, table = session.dynamodb(), config.mirror.table
    objects, reader = bucket_of(config), DynamoReader(client, table)
    names = ConfiguredNames.of(config)
    jobs = UploadJobs(OwnItems(client, table), config.site.name, names, config.mirror.keep_days)
    results = UploadResults(objects)
    queue = batch_queue(config)
    runs = UploadRuns(jobs, objects, queue, results, config.queue.unseen_s)
    facts = engine_facts(config.engine.name)
    engine = UploadEngine(config.engine.name, config.engine.version or facts.version)
    uploads = CloudUploads(engine, jobs, objects, runs, reader)
    return CloudParts(jobs, runs, uploads, UploadNews(jobs, runs, results, queue, reader))


def bucket_of(config: Config) -> "BucketStore":
    """The bucket of job folders.

    Raises
    ------
    ConfigError
    """
    from gateway.adapters.aws.s3 import BucketStore

    objects = open_store(config).objects
    if not isinstance(objects, BucketStore):
        raise ConfigError(f"the function needs objects.backend = {buckets()}")
    return objects


def require(settings: Mapping[str, bool]) -> None:
    """Refuse a configuration in which one of these settings is not made.

    Raises
    ------
    ConfigError
    """
    missing = [setting for setting, is_made in settings.items() if not is_made]
    if missing:
        raise ConfigError(f"the function needs {' and '.join(missing)}")


def clouds_own(config: Config) -> dict[str, bool]:
    """The settings that everything in the cloud needs, and whether they are made."""
    return {
        "mirror.backend = 'dynamodb'": config.mirror.backend == "dynamodb",
        f"objects.backend = {buckets()}": config.objects.facts.is_bucket,
    }
