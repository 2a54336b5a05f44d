"""The life of the double's jobs: who gets a machine, the process that runs there, and how its end is judged.

A job goes SUBMITTED > RUNNABLE > STARTING > RUNNING > SUCCEEDED | FAILED, or back to RUNNABLE where its retry
strategy says so. One thread hands out machines, one more follows each process.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from .batch_jobs import FINISHED, Attempt, BatchJob, Environment, now_ms
from .batch_retry import is_retried

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
STOP_TIMEOUT_S = 30.0
"""How long a container has between SIGTERM and SIGKILL (ECS_CONTAINER_STOP_TIMEOUT)."""


class Life:
    """Runs jobs.

    Parameters
    ----------
    environments, quotas
        By name and by code; read at each look, so tests may change them.
    on_change
        Called with a job at each change of its state, in order, under the lock.
    variables
        The environment of the processes.
    """

    def __init__(
        self,
        environments: Mapping[str, Environment],
        quotas: Mapping[str, float],
        on_change: Callable[[BatchJob], None],
        variables: Mapping[str, str],
        logs: Path,
    ) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.jobs: dict[str, BatchJob] = {}
        self.held: dict[str, str] = {}
        """Queues whose jobs get no machine, with the status reason that they show."""
        self.at_once: int | None = None
        self.timeout_rate = 1.0
        """How many times faster than said the time limit of an attempt is up."""
        self._environments = environments
        self._quotas = quotas
        self._on_change = on_change
        self._variables = variables
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._verdicts: dict[str, tuple[str, str]] = {}
        """Status reason and container reason of attempts that something else than their process ends."""
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._scheduler = threading.Thread(target=self._schedule, name="batch-double", daemon=True)
        self._scheduler.start()

    def take_in(self, job: BatchJob) -> None:
        """Begin a job."""
        with self.lock:
            self.jobs[job.job_id] = job
            self.lock.notify_all()

    def wake(self) -> None:
        """Look again who gets a machine."""
        with self.lock:
            self.lock.notify_all()

    def log(self, job_id: str, attempt: int) -> str:
        """What an attempt wrote to its standard output and error."""
        path = self._logs / f"{job_id}-{attempt}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self) -> list[int]:
        """The ids of the processes that run."""
        with self.lock:
            return [process.pid for process in self._processes.values()]

    # -- ending -------------------------------------------------------------------------------------------

    def cancel(self, job: BatchJob, reason: str) -> None:
        """CancelJob: nothing happens once it is starting."""
        with self.lock:
            if job.status in ("SUBMITTED", "PENDING", "RUNNABLE"):
                job.is_cancelled = True
                self._end(job, "FAILED", reason, now_ms())

    def terminate(self, job: BatchJob, reason: str) -> None:
        """TerminateJob: whatever its state is."""
        with self.lock:
            if job.status in FINISHED:
                return
            if job.status in ("STARTING", "RUNNING"):
                job.is_terminated = True
                self._stop(job, STOP_TIMEOUT_S, (reason, ""))
            else:
                self.cancel(job, reason)

    def interrupt(self, job: BatchJob, notice_s: float, *, host_is_named: bool) -> None:
        """Take its Spot machine away: SIGTERM, then SIGKILL after the notice."""
        with self.lock:
            attempt = job.current
            assert attempt is not None, "only a job with a machine can lose it"
            said = f"Host EC2 (instance {attempt.instance_id}) terminated." if host_is_named else EXITED
            self._stop(job, notice_s, (said, ""))

    def run_out_of_memory(self, job: BatchJob) -> None:
        """Kill it as the kernel does."""
        with self.lock:
            self._verdicts[job.job_id] = (EXITED, OUT_OF_MEMORY)
            self._signal(job.job_id, signal.SIGKILL)

    def close(self) -> None:
        """Kill what runs."""
        with self.lock:
            self._closing = True
            self.lock.notify_all()
            for job_id in list(self._processes):
                self._signal(job_id, signal.SIGKILL)
        self._scheduler.join(10)
        for thread in self._threads:
            thread.join(10)

    def _stop(self, job: BatchJob, after_s: float, verdict: tuple[str, str]) -> None:
        self._verdicts[job.job_id] = verdict
        process = self._processes.get(job.job_id)
        if process is None:  # it is starting; _run looks for a verdict before it begins
            return
        process.send_signal(signal.SIGTERM)

        def kill() -> None:
            with self.lock:
                if self._processes.get(job.job_id) is process:
                    self._signal(job.job_id, signal.SIGKILL)

        timer = threading.Timer(after_s, kill)
        timer.daemon = True
        timer.start()

    def _signal(self, job_id: str, number: int) -> None:
        process = self._processes.get(job_id)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, number)

    # -- machines -----------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        with self.lock:
            while not self._closing:
                for job in list(self.jobs.values()):
                    if job.status == "SUBMITTED":
                        self._change(job, "RUNNABLE")
                    if job.status == "RUNNABLE" and self._has_machine(job):
                        self._start(job)
                self.lock.wait()

    def _has_machine(self, job: BatchJob) -> bool:
        if job.queue.name in self.held:
            job.status_reason = self.held[job.queue.name]
            return False
        busy = sum(other.status in ("STARTING", "RUNNING") for other in self.jobs.values())
        if self.at_once is not None and busy >= self.at_once:
            return False
        return any(self._offers(self._environments[name], job) for name in job.queue.environments)

    def _offers(self, environment: Environment, job: BatchJob) -> bool:
        room = min(environment.max_vcpus, self._quotas.get(environment.quota_code(), 0))
        usable = environment.state == "ENABLED" and environment.status == "VALID"
        return usable and room >= job.definition.vcpus

    def _start(self, job: BatchJob) -> None:
        job.current = Attempt(number=len(job.attempts) + 1)
        job.status_reason = ""
        self._change(job, "STARTING")
        thread = threading.Thread(target=self._live, args=(job, job.current), daemon=True)
        self._threads.append(thread)
        thread.start()

    # -- one attempt --------------------------------------------------------------------------------------

    def _live(self, job: BatchJob, attempt: Attempt) -> None:
        process = self._begin(job, attempt)
        if process is not None:
            limit_s = None if job.timeout_s is None else job.timeout_s / self.timeout_rate
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                with self.lock:
                    self._stop(job, STOP_TIMEOUT_S / self.timeout_rate, (TIMED_OUT, ""))
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        with self.lock:
            self._processes.pop(job.job_id, None)
            if not self._closing:
                self._judge(job, attempt, process)
                self.lock.notify_all()

    def _begin(self, job: BatchJob, attempt: Attempt) -> "subprocess.Popen[bytes] | None":
        with self.lock:
            if self._closing or job.job_id in self._verdicts:
                return None
            if job.definition.pull_error:
                self._verdicts[job.job_id] = ("Task failed to start", job.definition.pull_error)
                return None
            with (self._logs / f"{job.job_id}-{attempt.number}.log").open("wb") as log:
                process = subprocess.Popen(
                    [*job.definition.command, *job.overrides.get("command", [])],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=self._variables_of(job, attempt),
                    start_new_session=True,
                )
            self._processes[job.job_id] = process
            attempt.log_stream = f"{job.definition.name}/default/{attempt.task}"
            attempt.started_at = job.started_at = now_ms()
            self._change(job, "RUNNING")
            return process

    def _variables_of(self, job: BatchJob, attempt: Attempt) -> dict[str, str]:
        given = {each["name"]: each["value"] for each in job.environment()}
        return {
            **os.environ,
            **self._variables,
            **given,
            "AWS_BATCH_JOB_ID": job.job_id,
            "AWS_BATCH_JOB_ATTEMPT": str(attempt.number),
            "AWS_BATCH_JQ_NAME": job.queue.name,
            "IRIS_DIE_WITH_PARENT": "1",  # nothing outlives a test that is killed
        }

    def _judge(self, job: BatchJob, attempt: Attempt, process: "subprocess.Popen[bytes] | None") -> None:
        status_reason, reason = self._verdicts.pop(job.job_id, (EXITED, ""))
        attempt.stopped_at = now_ms()
        attempt.status_reason, attempt.reason = status_reason, reason
        if process is not None and not status_reason.startswith("Host EC2"):
            code = process.returncode
            attempt.exit_code = code if code >= 0 else 128 - code
        job.attempts.append(attempt)
        job.current = None
        if attempt.exit_code == 0 and not job.is_terminated:
            self._end(job, "SUCCEEDED", status_reason, attempt.stopped_at)
        elif not self._is_final(job, status_reason) and is_retried(job.retry_strategy, job.attempts):
            job.started_at = None
            job.status_reason = status_reason
            self._change(job, "RUNNABLE")
        else:
            self._end(job, "FAILED", status_reason, attempt.stopped_at)

    @staticmethod
    def _is_final(job: BatchJob, status_reason: str) -> bool:
        """Batch never retries what was terminated, nor what ran out of its time."""
        return job.is_terminated or status_reason == TIMED_OUT

    def _end(self, job: BatchJob, status: str, reason: str, stopped_at: int) -> None:
        job.stopped_at = stopped_at
        job.status_reason = reason
        self._change(job, status)
        self.lock.notify_all()

    def _change(self, job: BatchJob, status: str) -> None:
        job.status = status
        self._on_change(job)
