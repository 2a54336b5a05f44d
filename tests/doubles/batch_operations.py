"""The operations of the Batch double, request in and answer out, with the refusals that matter."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .batch_faults import Refusal
from .batch_jobs import ACCOUNT, QUOTA_NAMES, REGION, BatchJob, Definition, Environment, Queue
from .batch_life import Life
from .batch_retry import mistake_in
from .batch_server import Answer, Operation, Refused

JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
TAG_VALUE = re.compile(r"[A-Za-z0-9\s_.:/=+@-]{0,256}")
Request = dict[str, Any]


class Operations:
    """What Batch can be asked."""

    def __init__(
        self,
        life: Life,
        environments: Mapping[str, Environment],
        queues: Mapping[str, Queue],
        definitions: Mapping[str, Definition],
        quotas: Mapping[str, float],
    ) -> None:
        self._life = life
        self._environments = environments
        self._queues = queues
        self._definitions = definitions
        self._quotas = quotas
        self.hidden_s = 0.0

    def by_name(self) -> dict[str, Operation]:
        """Each operation under its name."""
        return {
            "SubmitJob": self._submit,
            "DescribeJobs": self._describe_jobs,
            "ListJobs": self._list_jobs,
            "TerminateJob": self._terminate,
            "CancelJob": self._cancel,
            "DescribeComputeEnvironments": self._describe_environments,
            "DescribeJobQueues": self._describe_queues,
            "DescribeJobDefinitions": self._describe_definitions,
            "TagResource": self._tag,
            "GetServiceQuota": lambda request: self._quota(request, self._quotas),
            "GetAWSDefaultServiceQuota": lambda request: self._quota(
                request, dict.fromkeys(QUOTA_NAMES, 0.0)
            ),
        }

    # -- jobs ---------------------------------------------------------------------------------------------

    def _submit(self, request: Request) -> Answer:
        with self._life.lock:
            queue = self._queue(request["jobQueue"])
            definition = self._definition(request["jobDefinition"])
            mistake = _mistake(request, queue)
            if queue is None or definition is None:
                thing = "JobQueue" if queue is None else "JobDefinition"
                raise _client_error(f"{thing} not found")
            if mistake:
                raise _client_error(mistake)
            job = BatchJob(request, queue, definition, tags=dict(request.get("tags") or {}))
            job.listed_from = time.monotonic() + self.hidden_s
            self._life.take_in(job)
            return {"jobArn": job.arn, "jobName": job.name, "jobId": job.job_id}

    def _describe_jobs(self, request: Request) -> Answer:
        if not 0 < len(request["jobs"]) <= 100:
            raise _client_error("jobs must have 1 to 100 entries")
        with self._life.lock:
            found = [self._life.jobs.get(job_id.rpartition("/")[2]) for job_id in request["jobs"]]
            return {"jobs": [job.detail() for job in found if job is not None]}

    def _list_jobs(self, request: Request) -> Answer:
        with self._life.lock:
            queue = self._queue(request.get("jobQueue", ""))
            if queue is None:
                raise _client_error("JobQueue not found")
            now = time.monotonic()
            found = [job for job in self._life.jobs.values() if job.queue is queue and job.listed_from <= now]
            filters = request.get("filters") or []
            if filters:
                found = [job for job in found if _passes(job, filters)]
            else:
                found = [job for job in found if job.status == request.get("jobStatus", "RUNNING")]
            found.sort(key=lambda job: -job.created_at)
            return _page([job.summary() for job in found], request, "jobSummaryList")

    def _terminate(self, request: Request) -> Answer:
        with self._life.lock:
            self._life.terminate(self._job(request), request["reason"])
        return {}

    def _cancel(self, request: Request) -> Answer:
        with self._life.lock:
            self._life.cancel(self._job(request), request["reason"])
        return {}

    def _tag(self, request: Request) -> Answer:
        with self._life.lock:
            for job in self._life.jobs.values():
                if job.arn == request["resourceArn"]:
                    job.tags.update(request["tags"])
                    return {}
        raise Refused(Refusal("ResourceNotFoundException", 404, "there is no such resource"))

    def _job(self, request: Request) -> BatchJob:
        job = self._life.jobs.get(request["jobId"].rpartition("/")[2])
        if job is None:
            raise _client_error(f"Job {request['jobId']} not found")
        return job

    # -- everything else ----------------------------------------------------------------------------------

    def _describe_environments(self, request: Request) -> Answer:
        wanted = _names(request.get("computeEnvironments"))
        with self._life.lock:
            self._set_desired()
            found = [each for each in self._environments.values() if not wanted or each.name in wanted]
            return _page([each.detail() for each in found], request, "computeEnvironments")

    def _describe_queues(self, request: Request) -> Answer:
        wanted = _names(request.get("jobQueues"))
        with self._life.lock:
            found = [each for each in self._queues.values() if not wanted or each.name in wanted]
            return _page([each.detail() for each in found], request, "jobQueues")

    def _describe_definitions(self, request: Request) -> Answer:
        wanted = _names(request.get("jobDefinitions") or [request.get("jobDefinitionName", "")])
        with self._life.lock:
            found = [
                each
                for each in self._definitions.values()
                if {"", each.name, f"{each.name}:1"} & set(wanted)
                and request.get("status", each.status) == each.status
            ]
            return _page([each.detail() for each in found], request, "jobDefinitions")

    def _quota(self, request: Request, quotas: Mapping[str, float]) -> Answer:
        code = request["QuotaCode"]
        if request["ServiceCode"] != "ec2" or code not in quotas:
            raise Refused(Refusal("NoSuchResourceException", 400, "there is no such quota"))
        quota = {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": QUOTA_NAMES[code],
            "Value": quotas[code],
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        return {"Quota": quota}

    def _set_desired(self) -> None:
        """An environment wants as many vCPUs as its jobs use."""
        for environment in self._environments.values():
            environment.desired_vcpus = sum(
                job.definition.vcpus
                for job in self._life.jobs.values()
                if job.status in ("STARTING", "RUNNING") and job.queue.environments[0] == environment.name
            )

    def _queue(self, name: str) -> Queue | None:
        return self._queues.get(_names([name])[0])

    def _definition(self, name: str) -> Definition | None:
        return self._definitions.get(_names([name])[0].partition(":")[0])


def _mistake(request: Request, queue: Queue | None) -> str:
    """Why SubmitJob refuses; empty where it does not."""
    tags = request.get("tags") or {}
    timeout_s = (request.get("timeout") or {}).get("attemptDurationSeconds", 60)
    if not JOB_NAME.fullmatch(request["jobName"]):
        return "jobName is not valid"
    if timeout_s < 60:
        return "attemptDurationSeconds must be at least 60"
    if len(tags) > 50 or not all(map(TAG_VALUE.fullmatch, tags.values())):
        return "a tag is not valid"
    if queue is not None and queue.state != "ENABLED":
        return "JobQueue is disabled"
    if queue is not None and bool(queue.scheduling_policy) != ("shareIdentifier" in request):
        return "shareIdentifier belongs to a queue with a fair-share policy"
    return mistake_in(request.get("retryStrategy") or {})


def _passes(job: BatchJob, filters: Sequence[dict[str, Any]]) -> bool:
    if len(filters) > 1:
        raise _client_error("only one filter can be used at a time")
    name, values = filters[0]["name"], filters[0]["values"]
    if name == "JOB_NAME":
        wanted = values[0].lower()
        mine = job.name.lower()
        return mine.startswith(wanted[:-1]) if wanted.endswith("*") else mine == wanted
    if name == "AFTER_CREATED_AT":
        return job.created_at > int(values[0])
    if name == "BEFORE_CREATED_AT":
        return job.created_at < int(values[0])
    raise _client_error(f"the double knows no filter {name}")


def _page(found: list[dict[str, Any]], request: Request, field: str) -> Answer:
    size = min(int(request.get("maxResults") or 100), 100)
    start = int(request.get("nextToken") or 0)
    answer: Answer = {field: found[start : start + size]}
    if start + size < len(found):
        answer["nextToken"] = str(start + size)
    return answer


def _names(given: Sequence[str] | None) -> list[str]:
    """Names, also of those given as ARNs."""
    return [each.rpartition("/")[2] for each in given or []]


def _client_error(message: str) -> Refused:
    return Refused(Refusal("ClientException", 400, message))
