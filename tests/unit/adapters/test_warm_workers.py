"""Processes of the local queue that do one run after the other: kept, replaced, and ended."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import EXIT_BAD_INPUT, EXIT_DONE, EXIT_NOT_SET_UP, EXIT_SOFTWARE_ERROR
from gateway.adapters import worker_process
from gateway.adapters.queue import JobTicket, RunEnded
from gateway.adapters.subprocess_queue import SubprocessQueue

DEADLINE_S = 120.0
SERVES = """
import json, os, pathlib, sys
for line in sys.stdin:
    wanted = json.loads(line)
    folder = pathlib.Path(wanted["address"])
    plan = json.loads((folder / "plan").read_text())
    print(plan["says"], file=sys.stderr, flush=True)
    (folder / "process.new").write_text(str(os.getpid()))
    (folder / "process.new").rename(folder / "process")
    if plan["waits"]:
        sys.stdin.readline()
    if plan["dies"] is not None:
        os._exit(plan["dies"])
    answer = {**wanted, "code": plan["code"], "sentence": "", "memory_share": plan["share"]}
    print(json.dumps(answer), flush=True)
while "deaf" in os.environ:
    pass
"""
PLAN = {"says": "works", "waits": False, "dies": None, "code": EXIT_DONE, "share": 0.1}


class Jobs:
    """Jobs at a queue whose processes do as they are told."""

    def __init__(self, queue: SubprocessQueue, folder: Path) -> None:
        self.queue = queue
        self._folder = folder
        self._count = 0
        queue.start(lambda: None)

    def begin(self, **plan: Any) -> str:
        """Have a job begun."""
        self._count += 1
        job_key = str(self._count)
        folder = self._folder / job_key
        folder.mkdir()
        (folder / "plan").write_text(json.dumps({**PLAN, **plan}))
        self.queue.submit(JobTicket(job_key, 1, f"{folder}/", 0))
        return job_key

    def process_of(self, job_key: str) -> int:
        """The process that does it, once it does."""
        path = self._folder / job_key / "process"
        wait_until(path.exists)
        return int(path.read_text())

    def end_of(self, job_key: str) -> RunEnded:
        wait_until(lambda: self.queue.look(job_key)[0].is_over)
        ended = self.queue.look(job_key)[0].news[-1]
        assert isinstance(ended, RunEnded)
        return ended

    def done_by(self, **plan: Any) -> int:
        """Have a job done; the process that did it."""
        job_key = self.begin(**plan)
        self.end_of(job_key)
        return self.process_of(job_key)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    """Whether it has ended and was waited for."""
    return not Path(f"/proc/{process}").exists()


@pytest.fixture
def make_jobs(tmp_path: Path) -> Iterator[Callable[..., Jobs]]:
    made: list[Jobs] = []

    def make(workers: int = 1, keep_warm_s: float = 600.0, **given: Any) -> Jobs:
        command = (sys.executable, "-S", "-c", SERVES)
        made.append(Jobs(SubprocessQueue(workers, command, keep_warm_s=keep_warm_s, **given), tmp_path))
        return made[-1]

    yield make
    for jobs in made:
        jobs.queue.stop()


def test_next_run_is_done_by_the_process_that_did_the_last(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs()
    assert len({jobs.done_by() for _ in range(3)}) == 1


def test_process_is_one_for_each_run_where_none_is_kept_warm(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs(keep_warm_s=0)
    first = jobs.done_by()
    wait_until(lambda: is_gone(first))
    assert jobs.done_by() != first


def test_process_without_work_for_its_time_is_ended(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs(keep_warm_s=0.2)
    first = jobs.done_by()
    wait_until(lambda: is_gone(first))
    assert jobs.done_by() != first


@pytest.mark.parametrize(
    "plan",
    [{"code": EXIT_SOFTWARE_ERROR}, {"code": EXIT_NOT_SET_UP}, {"share": 0.3}, {"dies": 3}],
    ids=["failed", "not-set-up", "large", "died"],
)
def test_process_that_may_be_spoilt_is_replaced(make_jobs: Callable[..., Jobs], plan: dict[str, Any]) -> None:
    jobs = make_jobs()
    first = jobs.done_by(**plan)
    wait_until(lambda: is_gone(first))
    assert jobs.end_of(jobs.begin()).exit_code == EXIT_DONE


def test_process_whose_input_was_bad_is_kept(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs()
    assert jobs.done_by(code=EXIT_BAD_INPUT) == jobs.done_by()


def test_process_is_replaced_after_many_runs(
    make_jobs: Callable[..., Jobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "RUNS_AT_MOST", 2)
    jobs = make_jobs()
    processes = [jobs.done_by() for _ in range(4)]
    assert processes[0] == processes[1] != processes[2] == processes[3]


def test_process_is_replaced_where_a_package_was_installed_since_it_began(
    make_jobs: Callable[..., Jobs], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = tmp_path / "site-packages"
    (packages / "engine-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(packages)
    jobs = make_jobs()
    first = jobs.done_by()
    assert jobs.done_by() == first
    (packages / "engine-1.0.dist-info").rename(packages / "engine-1.1.dist-info")
    second = jobs.done_by()
    assert second != first
    assert jobs.done_by() == second
    (packages / "engine-1.1.dist-info" / "RECORD").write_text("the same version, installed anew")
    assert jobs.done_by() != second


def test_process_that_died_without_work_costs_no_run(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs()
    first = jobs.done_by()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    assert jobs.end_of(jobs.begin()).exit_code == EXIT_DONE


@pytest.mark.parametrize("says", ["", "a library warns of something"])
def test_run_whose_process_is_killed_says_so_and_the_next_has_another(
    make_jobs: Callable[..., Jobs], says: str
) -> None:
    jobs = make_jobs()
    jobs.done_by()
    job_key = jobs.begin(waits=True, says=says)
    os.kill(jobs.process_of(job_key), signal.SIGKILL)
    assert jobs.end_of(job_key).exit_code == -signal.SIGKILL
    assert "memory" in jobs.end_of(job_key).reason
    assert jobs.end_of(jobs.begin()).exit_code == EXIT_DONE


def test_run_that_is_cancelled_ends_with_its_process_and_the_next_has_another(
    make_jobs: Callable[..., Jobs],
) -> None:
    jobs = make_jobs()
    first = jobs.done_by()
    job_key = jobs.begin(waits=True)
    assert jobs.process_of(job_key) == first
    jobs.queue.cancel(job_key, 1)
    assert jobs.end_of(job_key).exit_code == -signal.SIGTERM
    assert jobs.end_of(jobs.begin()).exit_code == EXIT_DONE


def test_last_words_of_a_run_are_none_of_an_earlier_one(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs()
    jobs.done_by(says="of the first")
    assert jobs.end_of(jobs.begin(says="", dies=3)) == RunEnded("2", 1, 3, "")
    assert jobs.end_of(jobs.begin(says="of the third", dies=3)).reason == "of the third"


def test_run_goes_to_the_worker_that_has_a_process(make_jobs: Callable[..., Jobs]) -> None:
    jobs = make_jobs(workers=3)
    first = jobs.done_by()
    assert {jobs.done_by() for _ in range(10)} == {first}
    waiting = [jobs.begin(waits=True) for _ in range(2)]
    assert first in {jobs.process_of(job_key) for job_key in waiting}  # and another one beside it


@pytest.mark.parametrize("environment", [{}, {"deaf": "yes"}], ids=["willing", "deaf"])
def test_queue_that_stops_ends_processes_without_work(
    make_jobs: Callable[..., Jobs], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.setattr(worker_process, "CLOSES_WITHIN_S", 0.3)
    jobs = make_jobs(environment=environment)
    process = jobs.done_by()
    jobs.queue.stop()
    assert is_gone(process)
