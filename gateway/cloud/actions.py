"""What a person may ask for in the cloud: to run, end or erase its own jobs, or to ask elsewhere."""

from dataclasses import replace
from typing import Final

from gateway.adapters.mirror import MirrorReader
from gateway.adapters.objects import job_prefix
from gateway.api.mirrored.table_store import TableActions
from gateway.api.store import Json
from gateway.ledger.states import AT_THE_QUEUE, JobState
from gateway.ledger.transaction import NotPossible

from .jobs import Decision, Line, UploadJob
from .parts import CloudParts

_AGAIN: Final = {JobState.FAILED: "job.retried", JobState.CANCELLED: "job.replanned"}
_OPEN: Final = frozenset({*AT_THE_QUEUE, JobState.PLANNED, JobState.STAGED})


class CloudActions(TableActions):
    """Actions on the cloud's own jobs; those of gateways are refused, naming the gateway."""

    def __init__(self, reader: MirrorReader, parts: CloudParts) -> None:
        super().__init__(reader)
        self._jobs = parts.jobs
        self._runs = parts.runs
        self._uploads = parts.uploads
        self._objects = parts.runs.objects

    def retry(self, key: str) -> Json:
        """Begin the next run of a failed or cancelled job."""
        job = self._jobs.get(key)
        if job is None:
            return super().retry(key)
        if job.state not in _AGAIN:
            raise NotPossible(f"the job is {job.state.value}; only a failed or cancelled one can be retried")
        self._uploads.require_image(job)
        return _outcome(self._runs.begin(job, Line(_AGAIN[job.state])))

    def cancel(self, job_key: str) -> Json:
        """Stop a job; asked again, what of it still runs is ended again."""
        if self._jobs.get(job_key) is None:
            return super().cancel(job_key)

        def decide(now: UploadJob) -> Decision | None:
            if now.state not in _OPEN:
                return None
            lines = (Line("job.cancelled"), Line("study.finished"))
            return replace(now, state=JobState.CANCELLED, reason=""), lines

        job, _ = self._jobs.change(job_key, decide)
        if job is None or job.state is not JobState.CANCELLED:
            raise NotPossible("the job is over; there is nothing to cancel")
        if job.run:
            self._runs.end(job)
        return _outcome(job)

    def set_priority(self, job_key: str, priority: int | None) -> Json:
        """Refuse: no job of the cloud waits to be handed to the queue."""
        if self._jobs.get(job_key) is not None:
            raise NotPossible("the cloud hands a job to the queue at once; its place there is settled")
        return super().set_priority(job_key, priority)

    def reprocess(self, job_key: str, task: str, options: Json) -> Json:
        """Refuse: an upload is of one task, and its file may be gone."""
        if self._jobs.get(job_key) is not None:
            raise NotPossible("this is an upload: upload its file again with the other task")
        return super().reprocess(job_key, task, options)

    def complete(self, study: str) -> Json:
        """Refuse: an upload is whole when its job is started."""
        found = self._reader.study(study).study
        if found is not None and found["site"] == self._jobs.site:
            raise NotPossible("this is an upload: put its file, then start its job")
        return super().complete(study)

    def forget(self, study: str) -> Json:
        """Erase an upload: what runs of it is ended first, then its folder goes, then its items."""
        found = self._reader.study(study)
        if found.study is None or found.study["site"] != self._jobs.site:
            return super().forget(study)
        job_keys = [str(each["job_key"]) for each in found.jobs]
        for job_key in job_keys:
            self._erase_folder(job_key)
        items = self._jobs.erase(study, job_keys)
        sentence = f"The upload is erased: its files with all versions, and {items} items of the table."
        return {"kind": "study", "key": study, "state": "forgotten", "sentence": sentence}

    def _erase_folder(self, job_key: str) -> None:
        job = self._jobs.get(job_key)
        if job is not None and job.state in {*_OPEN, JobState.CANCELLED}:
            self.cancel(job_key)  # also one whose end did not reach the queue when it was asked for
        if job is not None and self._runs.may_still_write(job):
            raise NotPossible("its run at AWS Batch is being ended; ask again in a minute")
        self._objects.remove(job_prefix(job_key))

    def use(self, study: str, series_uid: str, number: int) -> Json:
        """Refuse: an upload is one image."""
        found = self._reader.study(study).study
        if found is not None and found["site"] == self._jobs.site:
            raise NotPossible("this is an upload: it is one image, and there is nothing to choose")
        return super().use(study, series_uid, number)


def _outcome(job: UploadJob) -> Json:
    return {"kind": "job", "key": job.job_key, "state": job.state.value}
