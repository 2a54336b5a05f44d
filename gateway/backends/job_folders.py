"""Where job folders lie: the store that is configured, and what follows from it for the parts that use it."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batch_job.contract import MANIFEST_NAME, PROGRESS_NAME, ContractError, Manifest
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import ObjectStore, job_object
from gateway.adapters.subprocess_queue import SubprocessQueue
from gateway.config import Config, ConfigError

from .aws import aws_session

if TYPE_CHECKING:
    from gateway.adapters.aws.s3 import BucketStore


@dataclass(frozen=True)
class JobFolderFiles:
    """Where the API finds the outputs of a job: where its manifest says."""

    objects: ObjectStore

    def located(self, job_key: str, name: str) -> Path | str | None:
        """The file or its URL, or None where it is not there (yet): without a manifest there is no result."""
        content = self.objects.get(job_object(job_key, MANIFEST_NAME))
        try:
            where = Manifest.from_json(content).where(name) if content is not None else None
        except (ContractError, KeyError):
            return None
        return self.objects.located(job_object(job_key, where)) if where is not None else None


def object_store(config: Config) -> "FolderStore | BucketStore":
    """Where job folders lie.

    Raises
    ------
    ConfigError
        What S3 needs is not installed, or the region or endpoint is none.
    """
    if config.objects.backend == "local":
        return FolderStore(config.data_dir / "objects")
    session = aws_session(config, "objects.backend = 's3'")
    from gateway.adapters.aws.s3 import BucketStore
    from gateway.adapters.aws.session import TAG

    try:
        return BucketStore(
            session,
            config.objects.bucket,
            config.objects.prefix,
            config.objects.kms_key,
            TAG,
        )
    except ValueError:
        raise ConfigError("aws.region or aws.endpoint_url is none that AWS knows; correct it") from None


def aws_variables(config: Config) -> dict[str, str]:
    """What a job on this machine needs to reach the bucket, beside the credentials of this process."""
    if config.objects.backend == "local":
        return {}
    endpoint = {"AWS_ENDPOINT_URL": config.aws.endpoint_url} if config.aws.endpoint_url else {}
    return {"AWS_DEFAULT_REGION": config.aws.region, **endpoint}


def kept_here(config: Config) -> frozenset[str]:
    """The rules whose images may not go where job folders lie."""
    if not config.leaves_site:
        return frozenset()
    return frozenset(rule.name for rule in config.rule if rule.leave_site is not True)


def local_queue(config: Config, objects: ObjectStore) -> SubprocessQueue:
    """The queue on this machine, whose jobs work in that store."""
    return SubprocessQueue(
        config.queue.workers,
        read_progress=lambda ticket: objects.get(job_object(ticket.job_key, PROGRESS_NAME)),
        environment=aws_variables(config),
    )


def pictures_from(objects: "FolderStore | BucketStore") -> str:
    """The origin of the URLs that the store gives; empty where it gives files."""
    return "" if isinstance(objects, FolderStore) else objects.origin


def begin_to_sweep(objects: "FolderStore | BucketStore") -> None:
    """Clear away what uploads left that nobody will complete, while everything else starts."""
    if not isinstance(objects, FolderStore):
        threading.Thread(target=objects.sweep, name="sweep-objects", daemon=True).start()
