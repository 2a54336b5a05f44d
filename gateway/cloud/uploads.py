"""Images given to the cloud itself: what is asked, where the file is to be put, and the start.

A Lambda function takes requests of 6 MB, so files never pass through here: the answer to an upload is a URL
at which the bucket takes exactly that file. Keys are SHA-256 of the file's own digest with all that is asked
of it: the same wish has the same key, and whoever does not have the very file cannot make the key, nor learn
anything from it.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

from batch_job.contract import ContractError, canonical_options, engine_facts, task_facts
from gateway.adapters.mirror import MirrorReader
from gateway.adapters.objects import job_object
from gateway.api.store import Json, NotHere, UploadWish
from gateway.ledger.records import utc_now, utc_text
from gateway.ledger.states import AT_THE_QUEUE, JobState
from gateway.ledger.transaction import NotPossible

from .jobs import Line, UploadJob, UploadJobs
from .nifti import ENOUGH_BYTES, why_no_image
from .runs import INPUT_NAME, UploadRuns

if TYPE_CHECKING:
    from gateway.adapters.aws.s3 import BucketStore

LARGEST_BYTES: Final = 2_000_000_000
_NEEDS_NO_FILE: Final = frozenset({*AT_THE_QUEUE, JobState.SEGMENTED, JobState.DELIVERED})


@dataclass(frozen=True)
class UploadEngine:
    """What segments, and is part of a job's identity."""

    name: str
    version: str


class NoUploads:
    """Where no job queue is configured: the status of gateways' studies is all there is."""

    def tasks(self) -> Json:
        """Refuse."""
        self._refuse()

    def take(self, wish: UploadWish, file: BinaryIO) -> Json:
        """Refuse."""
        self._refuse()

    def offer(self, wish: UploadWish) -> Json:
        """Refuse."""
        self._refuse()

    def start(self, job_key: str) -> Json | None:
        """Refuse."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotHere(
            "this place takes no images: give them to a gateway, or set queue.backend = 'batch' here with"
            " queue.job_queue and queue.job_definition"
        )


class CloudUploads:
    """The `Uploads` of the status API in the cloud."""

    def __init__(
        self,
        engine: UploadEngine,
        jobs: UploadJobs,
        objects: "BucketStore",
        runs: UploadRuns,
        reader: MirrorReader,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._objects = objects
        self._runs = runs
        self._reader = reader

    def tasks(self) -> Json:
        """What the engine can be asked for."""
        facts = engine_facts(self._engine.name)
        return {
            "engine": self._engine.name,
            "default_task": facts.default_task,
            "takes": "put",
            "max_bytes": LARGEST_BYTES,
            "items": [
                {
                    "task": name,
                    "modality": task.modality,
                    "is_licensed": task.is_licensed,
                    "variants": list(task.variants),
                }
                for name, task in facts.tasks.items()
            ],
        }

    def take(self, wish: UploadWish, file: BinaryIO) -> Json:
        """Refuse: the file would not fit into a request."""
        raise NotPossible(
            "no file is taken in the request here: leave it out, give its sha256 and bytes, put it where the"
            " answer says, then start the job"
        )

    def offer(self, wish: UploadWish) -> Json:
        """Write the job down, and say where its file is to be put; the same wish gets the same job."""
        wanted = self._checked(wish)
        job = self._jobs.get(wanted.job_key)
        if job is None or job.state is JobState.PLANNED:
            lines = (Line("job.planned", {"task": wanted.task}),) if job is None else ()
            # Written again it lives longer: its file may take a while.
            job = self._jobs.write(job, job or wanted, lines) or self._jobs.get(wanted.job_key) or wanted
        put = None
        if job.state not in _NEEDS_NO_FILE and not self._has_file(job):
            key = job_object(job.job_key, INPUT_NAME)
            offer = self._objects.offered(key, job.sha256, job.size_bytes)
            put = {"url": offer.url, "headers": dict(offer.headers), "expires": utc_text(offer.expires)}
        return {
            "job_key": job.job_key,
            "study_key": job.study_key,
            "state": job.state.value,
            "put": put,
        }

    def start(self, job_key: str) -> Json | None:
        """Begin with a file that was put; what has begun goes on, what stood still is taken up."""
        job = self._jobs.get(job_key)
        if job is None:
            self._refuse_gateways_own(job_key)
            return None
        if job.state in (JobState.PLANNED, JobState.STAGED):
            self.require_image(job)
            job = self._runs.begin(job)
        elif job.state is JobState.SUBMITTED and not job.queue_id:
            job = self._runs.settle(job)
        return {"kind": "job", "key": job_key, "state": job.state.value}

    def require_image(self, job: UploadJob) -> None:
        """Refuse to begin without the very file, or with one that is no image.

        Raises
        ------
        NotPossible
        """
        if not self._has_file(job):
            raise NotPossible("its file is not there: upload the image again, then start")
        why = why_no_image(self._objects.beginning(job_object(job.job_key, INPUT_NAME), ENOUGH_BYTES))
        if why:
            raise NotPossible(why)

    def _refuse_gateways_own(self, job_key: str) -> None:
        found = self._reader.job(job_key)
        if found is not None and found["site"] != self._jobs.site:
            raise NotHere(f"the gateway {found['site']} has this job and begins it by itself")

    def _has_file(self, job: UploadJob) -> bool:
        held = self._objects.held(job_object(job.job_key, INPUT_NAME))
        return held is not None and held.is_file(job.sha256, job.size_bytes)

    def _checked(self, wish: UploadWish) -> UploadJob:
        """The job that is asked for.

        Raises
        ------
        NotPossible
        """
        if wish.sha256 is None or wish.size_bytes is None:
            raise NotPossible("give sha256 and bytes of the file: its place is made for that file alone")
        if wish.size_bytes > LARGEST_BYTES:
            raise NotPossible(f"the file is larger than {LARGEST_BYTES:,} bytes; give it to a gateway")
        task = wish.task or engine_facts(self._engine.name).default_task
        try:
            task_facts(self._engine.name, task)
            options = canonical_options(self._engine.name, task, _object(wish.options))
        except ContractError as error:
            raise NotPossible(str(error)) from None
        text = json.dumps(options, sort_keys=True, separators=(",", ":"))
        engine = self._engine
        identity = ("upload", wish.sha256, wish.size_bytes, task, text, engine.name, engine.version)
        now = utc_now()
        return UploadJob(
            job_key=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            task=task,
            engine=engine.name,
            options=text,
            sha256=wish.sha256,
            size_bytes=wish.size_bytes,
            created_at=now,
            changed_at=now,
        )


def _object(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise NotPossible('options are a JSON object: {"fast": true}')
    return options
