"""The local queue: subprocesses, their progress, their end, and their end with this process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.errors import Away
from gateway.adapters.queue import JobNews, JobTicket, RunEnded, RunProgressed, RunQueued, RunStarted
from gateway.adapters.subprocess_queue import SubprocessQueue

DEADLINE_S = 30.0


class Newsroom:
    """Collects news and waits for what a test expects."""

    def __init__(self) -> None:
        self.news: list[JobNews] = []
        self._changed = threading.Condition()

    def hear(self, news: JobNews) -> None:
        with self._changed:
            self.news.append(news)
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[JobNews], bool]) -> JobNews:
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(wanted, self.news)), DEADLINE_S), self.news
            return next(filter(wanted, self.news))

    def end_of(self, job_key: str) -> RunEnded:
        news = self.wait_for(lambda n: isinstance(n, RunEnded) and n.job_key == job_key)
        assert isinstance(news, RunEnded)
        return news


@pytest.fixture
def newsroom() -> Newsroom:
    return Newsroom()


@pytest.fixture
def make_queue(newsroom: Newsroom) -> Iterator[Callable[[str], SubprocessQueue]]:
    queues: list[SubprocessQueue] = []

    def make(script: str) -> SubprocessQueue:
        queue = SubprocessQueue(1, command=(sys.executable, "-c", script))
        queue.start(newsroom.hear)
        queues.append(queue)
        return queue

    yield make
    for queue in queues:
        queue.stop()


def ticket(folder: Path, job_key: str = "a", run: int = 1, priority: int = 0) -> JobTicket:
    return JobTicket(job_key, run, f"{folder}/", priority)


def test_run_that_ends_well_tells_queued_started_ended(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    make_queue("pass").submit(ticket(tmp_path, run=3))
    assert newsroom.end_of("a").exit_code == 0
    assert [type(news) for news in newsroom.news] == [RunQueued, RunStarted, RunEnded]
    assert {news.run for news in newsroom.news} == {3}


def test_run_that_fails_tells_its_exit_code_and_last_line(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    make_queue("import sys; print('the input is no CT', file=sys.stderr); sys.exit(2)").submit(
        ticket(tmp_path)
    )
    ended = newsroom.end_of("a")
    assert (ended.exit_code, ended.reason) == (2, "the input is no CT")


def test_run_that_raises_tells_the_line_before_its_traceback(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    script = "import sys; print('a defect', file=sys.stderr); raise ValueError('secret')"
    make_queue(script).submit(ticket(tmp_path))
    assert newsroom.end_of("a").reason == "a defect"


def test_run_gets_its_number_and_address(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    script = "import os, sys, pathlib; pathlib.Path(sys.argv[1], 'out').write_text(os.environ['IRIS_RUN'])"
    make_queue(script).submit(ticket(tmp_path, run=7))
    newsroom.end_of("a")
    assert (tmp_path / "out").read_text() == "7"


def test_progress_of_a_running_job_is_told(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    script = (
        "import sys, pathlib\n"
        'pathlib.Path(sys.argv[1], \'progress.json\').write_text(\'{"contract": 1, "stage": "segment",'
        ' "fraction": 0.5, "eta_s": null, "at": "2026-01-01T00:00:00Z"}\')\n'
        "sys.stdin.read()"
    )
    queue = make_queue(script)
    queue.submit(ticket(tmp_path))
    progress = newsroom.wait_for(lambda news: isinstance(news, RunProgressed))
    assert progress == RunProgressed("a", 1, "segment", 0.5)
    queue.cancel("a")
    assert newsroom.end_of("a").exit_code == -signal.SIGTERM


def test_progress_comes_from_where_the_job_writes_it(newsroom: Newsroom) -> None:
    """A job whose folder is in a bucket; the bucket is away at first."""
    answers: list[bytes | Exception | None] = [
        Away("AWS does not answer"),
        None,
        b'{"contract": 1, "stage": "segment", "fraction": 0.5, "eta_s": null, "at": "2026-01-01T00:00:00Z"}',
    ]

    def read(_: JobTicket) -> bytes | None:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    script = (
        "import os, sys; sys.stdin.read() if os.environ['AWS_DEFAULT_REGION'] == 'eu-west-1' else sys.exit(3)"
    )
    queue = SubprocessQueue(
        1,
        command=(sys.executable, "-c", script),
        read_progress=read,
        environment={"AWS_DEFAULT_REGION": "eu-west-1"},
    )
    queue.start(newsroom.hear)
    queue.submit(JobTicket("a", 1, "s3://bucket/jobs/a/", 0))
    assert newsroom.wait_for(lambda news: isinstance(news, RunProgressed)) == RunProgressed(
        "a", 1, "segment", 0.5
    )
    queue.stop()


def test_waiting_runs_start_by_priority(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = f"import sys, time, pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)"
    queue = make_queue(script)
    for job_key, priority in (("first", 0), ("low", 0), ("urgent", 5)):
        queue.submit(ticket(tmp_path, job_key, priority=priority))
        if job_key == "first":
            newsroom.wait_for(lambda news: isinstance(news, RunStarted))
    gate.touch()
    newsroom.end_of("low")
    started = [news.job_key for news in newsroom.news if isinstance(news, RunStarted)]
    assert started == ["first", "urgent", "low"]


def test_cancelled_waiting_run_never_starts(
    make_queue: Callable[[str], SubprocessQueue], newsroom: Newsroom, tmp_path: Path
) -> None:
    queue = make_queue("import sys; sys.stdin.read()")
    queue.submit(ticket(tmp_path, "first"))
    newsroom.wait_for(lambda news: isinstance(news, RunStarted))
    queue.submit(ticket(tmp_path, "second"))
    queue.cancel("second")
    queue.cancel("first")
    assert newsroom.end_of("second").reason == "cancelled"
    assert RunStarted("second", 1) not in newsroom.news


def test_command_that_does_not_exist_ends_as_transient(newsroom: Newsroom, tmp_path: Path) -> None:
    queue = SubprocessQueue(1, command=(str(tmp_path / "nothing"),))
    queue.start(newsroom.hear)
    queue.submit(ticket(tmp_path))
    assert newsroom.end_of("a").exit_code == 75
    queue.stop()


def test_run_whose_gateway_is_killed_sees_its_input_close(tmp_path: Path) -> None:
    """The child makes a file, waits for the end of its standard input, and removes the file."""
    alive = tmp_path / "alive"
    child = (
        "import os, sys, pathlib\n"
        f"alive = pathlib.Path({str(alive)!r}); alive.write_text(str(os.getpid()))\n"
        "sys.stdin.read(); alive.unlink()"
    )
    parent = (
        "import sys, time\n"
        "from gateway.adapters.queue import JobTicket\n"
        "from gateway.adapters.subprocess_queue import SubprocessQueue\n"
        f"queue = SubprocessQueue(1, command=(sys.executable, '-c', {child!r}))\n"
        "queue.start(lambda news: None)\n"
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
