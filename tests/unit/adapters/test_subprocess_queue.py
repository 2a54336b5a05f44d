"""The local queue: subprocesses, what is seen of them, their end, and their end with this process."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import EXIT_INTERRUPTED, EXIT_TRANSIENT
from gateway.adapters import run_process
from gateway.adapters.errors import Away
from gateway.adapters.queue import JobTicket, RunEnded, RunProgressed, RunQueued, RunStarted
from gateway.adapters.subprocess_queue import KnownRun, SubprocessQueue

DEADLINE_S = 120.0
ASKED = (
    "import json, os, sys\nwanted = json.loads(sys.stdin.readline())\n"
    "sys.argv[1:], os.environ['IRIS_RUN'] = [wanted['address']], str(wanted['run'])\n"
)
"""Takes one run; that it has ended, and how, is known from how the process ends."""
WAITS = "import sys; sys.stdin.read()"
"""Until it is asked to end, or its parent is gone."""
STUBBORN = (
    "import pathlib, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1], 'deaf').touch()\nwhile True: time.sleep(1)"
)
PROGRESS = {"contract": 1, "stage": "segment", "fraction": 0.5, "eta_s": None, "at": "2026-01-01T00:00:00Z"}
EXIT = {"contract": 1, "run": 1, "code": 2, "sentence": "no CT", "at": "2026-01-01T00:00:00Z"}


class Runs:
    """A queue, and what can be seen of it."""

    def __init__(self, queue: SubprocessQueue) -> None:
        self.queue = queue
        self.changes = threading.Semaphore(0)
        queue.start(self.changes.release)

    def run(self, job_key: str = "a", run: int = 1) -> KnownRun:
        return next(known for known in self.queue.look(job_key) if known.run == run)

    def until(self, condition: Callable[[KnownRun], bool], job_key: str = "a", run: int = 1) -> KnownRun:
        """Wait for changes of which the queue tells, until a run is as wanted."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.run(job_key, run)):
            left_s = deadline - time.monotonic()
            assert left_s > 0, self.run(job_key, run)
            self.changes.acquire(timeout=left_s)
        return self.run(job_key, run)

    def until_started(self, job_key: str = "a", run: int = 1) -> None:
        self.until(lambda known: RunStarted(job_key, run) in known.news, job_key, run)

    def end_of(self, job_key: str = "a", run: int = 1) -> RunEnded:
        ended = self.until(lambda known: known.is_over, job_key, run).news[-1]
        assert isinstance(ended, RunEnded)
        return ended

    def kinds(self, job_key: str = "a", run: int = 1) -> list[type]:
        return [type(news) for news in self.run(job_key, run).news]


@pytest.fixture
def make_runs() -> Iterator[Callable[..., Runs]]:
    """Runs of a script, one at a time unless it is said otherwise."""
    made: list[Runs] = []

    def make(script: str = WAITS, workers: int = 1, **given: Any) -> Runs:
        made.append(Runs(SubprocessQueue(workers, command=(sys.executable, "-c", ASKED + script), **given)))
        return made[-1]

    yield make
    for runs in made:
        runs.queue.stop()


def ticket(folder: Path, job_key: str = "a", run: int = 1, priority: int = 0) -> JobTicket:
    return JobTicket(job_key, run, f"{folder}/", priority)


def test_run_that_ends_well_was_queued_started_and_has_ended(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = make_runs("pass")
    runs.queue.submit(ticket(tmp_path, run=3))
    assert runs.end_of(run=3).exit_code == 0
    assert runs.kinds(run=3) == [RunQueued, RunStarted, RunEnded]
    assert {news.run for news in runs.run(run=3).news} == {3}


def test_run_that_fails_says_its_exit_code_and_last_line(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = make_runs("import sys; print('the input is no CT', file=sys.stderr); sys.exit(2)")
    runs.queue.submit(ticket(tmp_path))
    assert (runs.end_of().exit_code, runs.end_of().reason) == (2, "the input is no CT")


def test_run_that_raises_says_the_line_before_its_traceback(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = make_runs("import sys; print('a defect', file=sys.stderr); raise ValueError('secret')")
    runs.queue.submit(ticket(tmp_path))
    assert runs.end_of().reason == "a defect"


def test_run_that_is_killed_says_what_that_usually_is(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    runs.queue.submit(ticket(tmp_path))
    assert runs.end_of().exit_code == -signal.SIGKILL
    assert "memory" in runs.end_of().reason


def test_run_gets_its_number_and_address(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs(
        "import os, sys, pathlib; pathlib.Path(sys.argv[1], 'out').write_text(os.environ['IRIS_RUN'])"
    )
    runs.queue.submit(ticket(tmp_path, run=7))
    runs.end_of(run=7)
    assert (tmp_path / "out").read_text() == "7"


def leaving(name: str, content: dict[str, Any], then: str) -> str:
    """A script that leaves a file in its folder."""
    path = f"pathlib.Path(sys.argv[1], {name!r})"
    return f"import sys, pathlib\n{path}.write_text({json.dumps(content)!r})\n{then}"


def test_run_is_believed_what_it_left_of_its_end(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    """As where a library crashes behind the last thing that a run had to do."""
    runs = make_runs(leaving("exit.json", EXIT, "sys.exit(70)"))
    runs.queue.submit(ticket(tmp_path))
    assert (runs.end_of().exit_code, runs.end_of().reason) == (2, "no CT")


@pytest.mark.parametrize("left", [json.dumps({**EXIT, "run": 2}), json.dumps(EXIT), "no JSON"])
def test_end_that_another_run_left_is_not_believed(
    make_runs: Callable[..., Runs], tmp_path: Path, left: str
) -> None:
    (tmp_path / "exit.json").write_text(left)
    runs = make_runs("import sys; print('why', file=sys.stderr); sys.exit(70)")
    runs.queue.submit(ticket(tmp_path))
    assert (runs.end_of().exit_code, runs.end_of().reason) == (70, "why")


def test_progress_of_a_run_is_seen_and_how_long_it_stands_still(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = make_runs(leaving("progress.json", PROGRESS, "sys.stdin.read()"))
    runs.queue.submit(ticket(tmp_path))
    runs.until(lambda known: RunProgressed("a", 1, "segment", 0.5) in known.news)
    seen = runs.run()
    assert 0 <= seen.still_s < seen.for_s
    runs.until(lambda known: known.still_s > seen.still_s)
    runs.queue.cancel("a", 1)
    assert runs.end_of().exit_code == -signal.SIGTERM
    assert (runs.run().for_s, runs.run().still_s) == (0, 0)


def test_progress_that_an_earlier_run_left_is_not_that_of_the_next(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    (tmp_path / "progress.json").write_text(json.dumps(PROGRESS))
    later = json.dumps({**PROGRESS, "fraction": 0.1})
    runs = make_runs(
        "import sys, pathlib, time\ntime.sleep(1.5)\n"
        f"pathlib.Path(sys.argv[1], 'progress.json').write_text({later!r})\nsys.stdin.read()"
    )
    runs.queue.submit(ticket(tmp_path))
    told: list[float] = []

    def is_told(known: KnownRun) -> bool:
        told.extend(news.fraction for news in known.news if isinstance(news, RunProgressed))
        return bool(told)

    runs.until(is_told)
    assert told == [0.1]


def test_progress_comes_from_where_the_job_writes_it(make_runs: Callable[..., Runs]) -> None:
    """A job whose folder is in a bucket; the bucket is away at first."""
    answers: list[bytes | Exception | None] = [
        Away("AWS does not answer"),
        None,
        None,
        json.dumps(PROGRESS).encode(),
    ]

    def read(_: JobTicket, name: str) -> bytes | None:
        if name != "progress.json":
            return None
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    script = (
        "import os, sys; sys.stdin.read() if os.environ['AWS_DEFAULT_REGION'] == 'eu-west-1' else sys.exit(3)"
    )
    runs = make_runs(script, read=read, environment={"AWS_DEFAULT_REGION": "eu-west-1"})
    runs.queue.submit(JobTicket("a", 1, "s3://bucket/jobs/a/", 0))
    runs.until(lambda known: RunProgressed("a", 1, "segment", 0.5) in known.news)


def test_waiting_runs_start_by_priority(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    gate, order = tmp_path / "gate", tmp_path / "order"
    runs = make_runs(
        f"import sys, time, pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\n"
        f"open({str(order)!r}, 'a').write(sys.argv[1])"
    )
    for job_key, priority in (("first", 0), ("low", 0), ("urgent", 5)):
        runs.queue.submit(JobTicket(job_key, 1, f"{job_key} ", priority))
        if job_key == "first":
            runs.until_started("first")
    gate.touch()
    runs.end_of("low")
    assert order.read_text() == "first urgent low "


def test_run_that_is_submitted_twice_runs_once(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs("import sys; open(sys.argv[1] + 'out', 'a').write('x')")
    for _ in range(2):
        runs.queue.submit(ticket(tmp_path))
    runs.end_of()
    runs.queue.submit(ticket(tmp_path))
    runs.queue.submit(ticket(tmp_path / "no folder", "next"))
    runs.end_of("next")
    assert (tmp_path / "out").read_text() == "x"


# -- cancelled --------------------------------------------------------------------------------------------


def test_cancelled_waiting_run_never_starts(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs()
    runs.queue.submit(ticket(tmp_path, "first"))
    runs.until_started("first")
    runs.queue.submit(ticket(tmp_path, "second"))
    runs.queue.cancel("second", 1)
    runs.queue.cancel("first", 1)
    assert runs.end_of("second") == RunEnded("second", 1, EXIT_INTERRUPTED, "the run was cancelled")
    assert RunStarted not in runs.kinds("second")


def test_run_that_was_not_meant_is_not_cancelled(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs()
    runs.queue.submit(ticket(tmp_path, run=2))
    runs.until_started(run=2)
    runs.queue.cancel("a", 1)
    runs.queue.cancel("b", 2)
    assert not runs.run(run=2).is_over
    runs.queue.cancel("a", 2)
    runs.end_of(run=2)
    assert len(runs.queue.look("a")) == 1


def test_next_run_of_a_job_begins_when_the_cancelled_one_has_ended(
    make_runs: Callable[..., Runs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, and a run that does not end when it is asked to: the folder is never shared."""
    monkeypatch.setattr(run_process, "GRACE_S", 2.0)
    alive = tmp_path / "alive"
    runs = make_runs(
        "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"os.open({str(alive)!r} + os.environ['IRIS_RUN'], os.O_CREAT)\n"
        "while os.environ['IRIS_RUN'] == '1': time.sleep(1)",
        workers=2,
    )
    runs.queue.submit(ticket(tmp_path, run=1))
    _wait_until(Path(f"{alive}1").exists)
    runs.queue.cancel("a", 1)
    runs.queue.submit(ticket(tmp_path, run=2))
    runs.queue.submit(ticket(tmp_path, "other", run=3))
    runs.end_of("other", 3)  # the second worker does not wait for this job
    assert (runs.run(run=1).is_over, runs.kinds(run=2)) == (False, [RunQueued])
    assert not Path(f"{alive}2").exists()
    assert runs.end_of(run=1).exit_code == -signal.SIGKILL
    assert runs.end_of(run=2).exit_code == 0


def test_jobs_that_are_cancelled_and_retried_again_and_again_end_no_thread(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = make_runs(workers=2)
    for run in range(1, 9):
        for job_key in ("a", "b", "c"):
            runs.queue.submit(ticket(tmp_path, job_key, run))
            runs.queue.cancel(job_key, run)
    for job_key in ("a", "b", "c"):
        for run in range(1, 9):
            runs.end_of(job_key, run)
            runs.queue.forget(job_key, run)
    assert runs.queue.begun() == set()
    runs.queue.submit(ticket(tmp_path, "after", 1))
    runs.until_started("after")


# -- what is looked at, and kept --------------------------------------------------------------------------


def test_end_of_a_run_is_kept_until_it_is_forgotten(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs("pass")
    runs.queue.submit(ticket(tmp_path))
    ended = runs.end_of()
    assert runs.queue.begun() == {"a"}
    for _ in range(2):
        assert runs.run().news[-1] == ended
    runs.queue.forget("a", 1)
    assert (runs.queue.look("a"), runs.queue.begun()) == ([], set())
    runs.queue.forget("a", 1)  # once more, as after a crash of whoever wrote it down


def test_run_that_has_not_ended_is_not_forgotten(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs()
    runs.queue.submit(ticket(tmp_path))
    runs.until_started()
    runs.queue.forget("a", 1)
    assert not runs.run().is_over


# -- what goes wrong --------------------------------------------------------------------------------------


def test_command_that_does_not_exist_ends_as_transient(tmp_path: Path) -> None:
    runs = Runs(SubprocessQueue(1, command=(str(tmp_path / "nothing"),)))
    runs.queue.submit(ticket(tmp_path))
    assert runs.end_of().exit_code == EXIT_TRANSIENT
    runs.queue.stop()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, "Too many open files"), MemoryError(), RuntimeError("can't start new thread")],
    ids=["files", "memory", "threads"],
)
@pytest.mark.parametrize("moment", ["Popen", "Thread", "Progress"])
def test_whatever_fails_around_a_run_ends_it_as_transient_and_no_thread(
    make_runs: Callable[..., Runs],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    error: Exception,
) -> None:
    runs = make_runs(leaving("progress.json", PROGRESS, "sys.stdin.read()"))

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        where = {"Popen": subprocess, "Thread": threading, "Progress": run_process.Progress}[moment]
        patch.setattr(where, moment if moment != "Progress" else "from_json", fail)
        runs.queue.submit(ticket(tmp_path))
        assert runs.end_of().exit_code == EXIT_TRANSIENT
    runs.queue.submit(ticket(tmp_path, "next"))
    runs.until_started("next")
    assert len(runs.queue.begun()) == 2


def test_queue_that_stops_ends_a_run_that_does_not_want_to(
    make_runs: Callable[..., Runs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_process, "GRACE_S", 0.5)
    runs = make_runs(STUBBORN)
    runs.queue.submit(ticket(tmp_path))
    _wait_until((tmp_path / "deaf").exists)
    began = time.monotonic()
    runs.queue.stop()
    assert time.monotonic() - began < 60
    assert runs.run().is_over


def test_run_whose_gateway_is_killed_sees_its_input_close(tmp_path: Path) -> None:
    """The child makes a file, waits for the end of its standard input, and removes the file."""
    alive = tmp_path / "alive"
    child = (
        f"{ASKED}import os, sys, pathlib\n"
        f"alive = pathlib.Path({str(alive)!r}); alive.write_text(str(os.getpid()))\n"
        "sys.stdin.read(); alive.unlink()"
    )
    parent = (
        "import sys, time\n"
        "from gateway.adapters.queue import JobTicket\n"
        "from gateway.adapters.subprocess_queue import SubprocessQueue\n"
        f"queue = SubprocessQueue(1, command=(sys.executable, '-c', {child!r}))\n"
        "queue.start(lambda: None)\n"
        f"queue.submit(JobTicket('a', 1, {str(tmp_path)!r} + '/', 0))\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        _wait_until(lambda: alive.exists() and alive.read_text() != "")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    _wait_until(lambda: not alive.exists())
    assert not alive.exists()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
