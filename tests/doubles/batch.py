"""A double of AWS Batch: boto3's real client talks to it, it runs real processes and emits real events.

It answers SubmitJob, DescribeJobs, ListJobs, TerminateJob, CancelJob, DescribeComputeEnvironments,
DescribeJobQueues, DescribeJobDefinitions, TagResource, and quotas of Service Quotas. What it is told
to do wrong it does at the next request that fits. All methods may be called from any thread.

Not played: dependencies, array and multi-node jobs, scheduling policies (a queue may name one; its order is
that of arrival), PENDING, and Batch's eventual consistency but for `hide_new_jobs`.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from tests.quick_start import JOB, quick_python

from .batch_events import QUEUE_BLOCKED, STATE_CHANGE, Events
from .batch_faults import ANY, EXPIRED, SERVER_ERROR, THROTTLED, Fault, Faults, Harm, Refusal
from .batch_jobs import (
    ACCOUNT,
    FINISHED,
    ON_DEMAND_G_QUOTA,
    REGION,
    SPOT_G_QUOTA,
    BatchJob,
    Definition,
    Environment,
    Queue,
)
from .batch_life import Life
from .batch_operations import Operations
from .batch_server import Server

MAIN_QUEUE, FALLBACK_QUEUE = "iris-processing-queue", "iris-fallback-queue"
DEFINITION = "iris-totalsegmentator-job"
SPOT, ON_DEMAND = "iris-spot", "iris-on-demand"


class BatchDouble:
    """Batch with two queues (Spot and on-demand), one definition, and quotas of 16 vCPUs.

    Parameters
    ----------
    moto_url
        The moto server whose EventBridge gets the events, and which the jobs' processes use as AWS.
    command
        What a job runs, `python -m batch_job` where nothing is said; its own command follows as arguments.
    """

    def __init__(self, moto_url: str = "", command: Sequence[str] = ()) -> None:
        self._logs = tempfile.TemporaryDirectory(prefix="batch-double-")
        self.environments = {
            name: Environment(name, type=kind) for name, kind in ((SPOT, "SPOT"), (ON_DEMAND, "EC2"))
        }
        self.queues = {
            name: Queue(name, [environment])
            for name, environment in ((MAIN_QUEUE, SPOT), (FALLBACK_QUEUE, ON_DEMAND))
        }
        self.definitions = {
            DEFINITION: Definition(DEFINITION, command or (quick_python(JOB), "-m", "batch_job"))
        }
        self.quotas = {SPOT_G_QUOTA: 16.0, ON_DEMAND_G_QUOTA: 16.0}
        self.events = Events(_eventbridge(moto_url))
        """Delays, repeats, drops and reorders events when told so."""
        self._faults = Faults()
        self.life = Life(
            self.environments, self.quotas, self._on_change, _variables(moto_url), Path(self._logs.name)
        )
        self._operations = Operations(
            self.life, self.environments, self.queues, self.definitions, self.quotas
        )
        self._server = Server(self._operations.by_name(), self._faults)
        self.url = self._server.url

    def close(self) -> None:
        """End every process and serve no more."""
        self._server.close()
        self.life.close()
        self.events.close()
        self._logs.cleanup()

    def variables(self) -> dict[str, str]:
        """The environment that leads boto3's Batch and Service Quotas clients here."""
        return {"AWS_ENDPOINT_URL_BATCH": self.url, "AWS_ENDPOINT_URL_SERVICE_QUOTAS": self.url}

    # -- looking ------------------------------------------------------------------------------------------

    def jobs(self, name: str = "") -> list[BatchJob]:
        """All jobs in the order of their coming, or those of this name."""
        with self.life.lock:
            return [job for job in self.life.jobs.values() if name in ("", job.name)]

    def job(self, job_id: str) -> BatchJob:
        """One job."""
        with self.life.lock:
            return self.life.jobs[job_id]

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """The requests of an operation that came in, those that met a fault too."""
        return [request for name, request in list(self._server.calls) if name == operation]

    def log(self, job_id: str, attempt: int = 1) -> str:
        """What an attempt wrote."""
        return self.life.log(job_id, attempt)

    def wait_for(self, job_id: str, *statuses: str, attempt: int = 1, timeout_s: float = 120.0) -> BatchJob:
        """Wait until a job has one of these states in this attempt, or a later one; fail at the deadline."""
        with self.life.lock:
            job = self.life.jobs[job_id]

            def is_there() -> bool:
                begun = max(1, len(job.attempts) + (job.status not in FINISHED))
                return job.status in statuses and begun >= attempt

            if not self.life.lock.wait_for(is_there, timeout_s):
                raise AssertionError(f"the job is {job.status}, not {' or '.join(statuses)}")
            return job

    # -- machines -----------------------------------------------------------------------------------------

    def hold_capacity(self, queue: str = "", status_reason: str = "") -> None:
        """Give the jobs of a queue, or of all, no machine; they show this status reason."""
        with self.life.lock:
            self.life.held.update(dict.fromkeys([queue] if queue else self.queues, status_reason))
            self.life.wake()

    def release_capacity(self, queue: str = "") -> None:
        """Give machines again."""
        with self.life.lock:
            for name in [queue] if queue else list(self.queues):
                self.life.held.pop(name, None)
            self.life.wake()

    def run_at_most(self, count: int | None) -> None:
        """Limit how many have a machine at once; None: no limit."""
        with self.life.lock:
            self.life.at_once = count
            self.life.wake()

    def interrupt(self, job_id: str, notice_s: float = 2.0, *, host_is_named: bool = True) -> None:
        """Take the job's Spot machine away: SIGTERM, and SIGKILL after the notice.

        Parameters
        ----------
        host_is_named
            The attempt ends with "Host EC2 (instance i-...) terminated."; else, as when the container was
            quicker than the machine, with its exit code.
        """
        self.life.interrupt(self.job(job_id), notice_s, host_is_named=host_is_named)

    def run_out_of_memory(self, job_id: str) -> None:
        """Kill the job's container as the kernel does."""
        self.life.run_out_of_memory(self.job(job_id))

    def cancel_by_time_limit(self, job_id: str, code: str) -> None:
        """What a queue's jobStateTimeLimitActions do to a job that waited too long."""
        self.life.cancel(self.job(job_id), f"Canceled by JobStateTimeLimit action due to reason: {code}")

    def block_queue(self, job_id: str, status_reason: str) -> None:
        """Say that this waiting job blocks its queue: in its status reason, and as an event."""
        with self.life.lock:
            job = self.life.jobs[job_id]
            self.life.held[job.queue.name] = job.status_reason = status_reason
            detail = job.detail(event=True)
            queue_arn = job.queue.detail()["jobQueueArn"]
            self.events.emit(QUEUE_BLOCKED, [job.arn, queue_arn], detail)

    def speed_up_timeouts(self, rate: float) -> None:
        """Let an attempt's time limit be up so many times faster."""
        self.life.timeout_rate = rate

    def set_environment(self, name: str = SPOT, **fields: Any) -> None:
        """Change a compute environment: state, status, status_reason, max_vcpus, instance_types, ..."""
        self._set(self.environments[name], fields)

    def set_queue(self, name: str = MAIN_QUEUE, **fields: Any) -> None:
        """Change a queue: state, status, status_reason, environments, scheduling_policy."""
        self._set(self.queues[name], fields)

    def set_definition(self, name: str = DEFINITION, **fields: Any) -> None:
        """Change a definition: command, vcpus, memory_mib, gpus, pull_error, ..."""
        self._set(self.definitions[name], fields)

    def set_quota(self, code: str, value: float) -> None:
        """Set an EC2 quota, in vCPUs."""
        with self.life.lock:
            self.quotas[code] = value
            self.life.wake()

    def _set(self, thing: object, fields: Mapping[str, Any]) -> None:
        with self.life.lock:
            for name, value in fields.items():
                assert hasattr(thing, name), f"there is no field {name}"
                setattr(thing, name, value)
            self.life.wake()

    # -- faults -------------------------------------------------------------------------------------------

    def throttle(self, operation: str = ANY, times: int | None = 1) -> None:
        """Answer the next ones with ThrottlingException."""
        self.refuse(operation, THROTTLED, times)

    def answer_500(self, operation: str = ANY, times: int | None = 1, *, taken: bool = False) -> None:
        """Answer the next ones with a server error; `taken`: after they took effect."""
        harm = Harm.TAKEN_AND_500 if taken else Harm.REFUSED
        self._faults.add(Fault(operation, harm, SERVER_ERROR, times))

    def lose_answer(self, operation: str = "SubmitJob", times: int | None = 1) -> None:
        """Let the next ones take effect, and close the connection instead of answering."""
        self._faults.add(Fault(operation, Harm.ANSWER_LOST, times=times))

    def lose_request(self, operation: str = "SubmitJob", times: int | None = 1) -> None:
        """Close the connection of the next ones, which have no effect."""
        self._faults.add(Fault(operation, Harm.REQUEST_LOST, times=times))

    def deny(self, operation: str = ANY, times: int | None = None) -> None:
        """Answer as to one whose policy does not allow it, until `forgive`."""
        who = f"arn:aws:iam::{ACCOUNT}:user/iris-gateway"
        said = f"User: {who} is not authorized to perform: batch:{{operation}} on resource: *"
        self.refuse(operation, Refusal("AccessDeniedException", 403, said), times)

    def expire_credentials(self) -> None:
        """Answer everything as to expired credentials, until `forgive`."""
        self.refuse(ANY, EXPIRED, None)

    def refuse(self, operation: str, refusal: Refusal, times: int | None = 1) -> None:
        """Answer the next ones with any error."""
        self._faults.add(Fault(operation, Harm.REFUSED, refusal, times))

    def forgive(self, operation: str = ANY) -> None:
        """Forget the faults of an operation, or all."""
        self._faults.clear(operation)

    def hide_new_jobs(self, seconds: float) -> None:
        """Show jobs that are submitted from now on to ListJobs only so much later."""
        self._operations.hidden_s = seconds

    def show_jobs(self) -> None:
        """Show all jobs to ListJobs."""
        self._operations.hidden_s = 0.0
        with self.life.lock:
            for job in self.life.jobs.values():
                job.listed_from = time.monotonic()

    # -- news ---------------------------------------------------------------------------------------------

    def _on_change(self, job: BatchJob) -> None:
        self.life.lock.notify_all()
        self.events.emit(STATE_CHANGE, [job.arn], job.detail(event=True))


def _eventbridge(moto_url: str) -> Callable[[list[dict[str, Any]]], object] | None:
    if not moto_url:
        return None
    client = boto3.client(
        "events",
        endpoint_url=moto_url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    return lambda entries: client.put_events(Entries=entries)


def _variables(moto_url: str) -> dict[str, str]:
    """What a job's process finds in its environment."""
    return {
        **({"AWS_ENDPOINT_URL": moto_url} if moto_url else {}),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
