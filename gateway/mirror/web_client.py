"""The mirror with `layout = "iris-web"`: beside our own items the present web client's, one a job.

Its table, attributes, statuses and places in the bucket are those of iris-web (docs/aws.md). All studies are
one user's, whom the configuration names; nothing of the patient is in them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from gateway.adapters.mirror import ItemKey, ItemKind, Mirror, MirrorItem, Value
from gateway.ledger.records import utc_time
from gateway.ledger.states import JobState

from .web_artifacts import WebArtifacts

PENDING: Final = "pending"
QUEUED: Final = "queued"
PROCESSING: Final = "processing"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
STATUSES: Final[Mapping[JobState, str]] = {
    **dict.fromkeys((JobState.PLANNED, JobState.CONVERTED, JobState.STAGED), PENDING),
    **dict.fromkeys((JobState.SUBMITTED, JobState.RUNNABLE), QUEUED),
    **dict.fromkeys((JobState.RUNNING, JobState.SEGMENTED, JobState.QUARANTINED), PROCESSING),
    **dict.fromkeys((JobState.ENCODED, JobState.DELIVERED), COMPLETED),
    **dict.fromkeys((JobState.FAILED, JobState.CANCELLED, JobState.SUPERSEDED), FAILED),
}


class Table(Protocol):
    """The client's table, whose items only ever become newer; both methods raise Retriable or Permanent."""

    def put(self, item: Mapping[str, Any]) -> None:
        """Write an item unless its `version`, or a later one, is there."""

    def remove(self, job_id: str, version: int) -> None:
        """Remove an item of a lower version than this."""


class WebClientMirror:
    """A Mirror that writes into both tables, and puts files where the client looks for them.

    Parameters
    ----------
    own
        Our own table.
    user
        Whose studies they are for the client.
    """

    def __init__(self, own: Mirror, table: Table, artifacts: WebArtifacts, user: str) -> None:
        self._own = own
        self._table = table
        self._artifacts = artifacts
        self._user = user

    def put(self, item: MirrorItem) -> int | None:
        """Write an item; see `Mirror.put`. Ours comes last: until then the change waits."""
        if item.key.kind is ItemKind.JOB:
            self._table.put(self._web_item(item))
        return self._own.put(item)

    def older(self, site: str, version: int) -> Iterator[ItemKey]:
        """Every item of our own table that is older; see `Mirror.older`."""
        return self._own.older(site, version)

    def remove(self, key: ItemKey, version: int) -> None:
        """Remove an item, with what the client has of it; see `Mirror.remove`."""
        if key.kind is ItemKind.JOB:
            self._artifacts.remove(web_id(key.name))
            self._table.remove(web_id(key.name), version)
        self._own.remove(key, version)

    def _web_item(self, item: MirrorItem) -> dict[str, Value]:
        said, job_id = item.attributes, web_id(item.key.name)
        state = JobState(str(said["state"]))
        status = STATUSES[state]
        reason = said["reason"] or (state.value if status == FAILED else "")
        return {
            "jobId": job_id,
            "userId": self._user,
            "status": status,
            "filename": f"{job_id}.nii.gz",
            "inputFile": self._artifacts.image(item.key.name),
            "createdAt": _epoch_s(said["created_at"]),
            "updatedAt": _epoch_s(said["changed_at"]),
            "expectedArtifacts": self._artifacts.addresses(job_id),
            "artifacts": self._published(item, job_id, is_completed=status == COMPLETED),
            **({"batchJobId": said["queue_id"]} if said.get("queue_id") else {}),
            **({"errorMessage": reason} if reason else {}),
            **({"ttl": item.expires_at} if item.expires_at is not None else {}),
            "site": said["site"],
            "version": item.version,
        }

    def _published(self, item: MirrorItem, job_id: str, *, is_completed: bool) -> dict[str, str]:
        """The addresses of a result's files, which are there then; files of one that is none go."""
        files = item.attributes["outputs"]
        if is_completed and isinstance(files, list) and files:
            return self._artifacts.publish(item.key.name, job_id, files)
        if is_completed:  # retention removed it here
            self._artifacts.remove(job_id)
        return {}


def web_id(job_key: str) -> str:
    """What the client calls a job."""
    return f"aws-{hashlib.sha256(job_key.encode()).hexdigest()[:12]}"


def _epoch_s(at: Value) -> int:
    return int(utc_time(str(at)).timestamp())
