"""A run that is interrupted or killed: what is left, what the next one does, and who dies with it."""

import http.server
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from batch_job import ec2_metadata
from batch_job.contract import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_SET_UP

DEADLINE_S = 60.0
PARTS_JOB = Path(__file__).parent / "parts_job.py"
PARTS = ("low", "middle", "high")
Wait = Callable[[Callable[[], bool]], None]


class PartsRun:
    """Runs of a job whose engine works in three parts."""

    def __init__(self, job: Any, log: Path, wait_until: Wait) -> None:
        self.job = job
        self.log = log
        self.wait_until = wait_until

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def start(self, **environment: str) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = self.job.start(
            str(PARTS_JOB), PARTS_LOG=str(self.log), **environment
        )
        return process

    def started_until(self, part: str, **environment: str) -> subprocess.Popen[str]:
        """A run that waits after a part."""
        before = self.lines().count(f"waits after {part}")
        process = self.start(PARTS_WAIT_AT=part, **environment)
        self.wait_until(
            lambda: process.poll() is not None or self.lines().count(f"waits after {part}") > before
        )
        assert process.poll() is None, process.communicate()
        return process

    def finish(self) -> None:
        process = self.start()
        _, said = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (EXIT_DONE, "")

    def scratch(self) -> list[str]:
        parent = self.job.place().scratch_parent(Path(tempfile.gettempdir()))
        return [path.name for path in parent.iterdir() if path.name.startswith(".unfinished-")]


@pytest.fixture
def parts(job: Any, tmp_path: Path, small_ct: bytes, wait_until: Wait) -> PartsRun:
    job.stage(small_ct)
    return PartsRun(job, tmp_path / "parts.log", wait_until)


def ends(process: subprocess.Popen[str], *, with_code: int) -> None:
    try:
        _, said = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (with_code, "")
    finally:
        process.kill()


def test_run_whose_engine_is_not_set_up_says_so_before_any_work(parts: PartsRun) -> None:
    parts.job.delete("input.nii.gz")  # it is not even asked for
    process = parts.start(PARTS_NOT_SET_UP="1")
    _, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said) == (EXIT_NOT_SET_UP, "there are no weights; get them with a command\n")


# -- interrupted ------------------------------------------------------------------------------------------


def test_run_interrupted_after_each_part_does_none_twice(parts: PartsRun) -> None:
    for part in PARTS:
        process = parts.started_until(part)
        process.send_signal(signal.SIGTERM)
        ends(process, with_code=EXIT_INTERRUPTED)
        assert not parts.job.has("manifest.json")
        assert parts.job.has(f"checkpoint/{part}")
        assert parts.scratch() == []
    parts.finish()
    assert [line for line in parts.lines() if line in PARTS] == list(PARTS)
    manifest = parts.job.manifest()
    assert all(parts.job.output(name) for name in manifest.outputs)
    assert manifest.notes == ("made of three parts",)
    assert "parts" in manifest.seconds
    assert not [name for name in parts.job.names() if name.startswith("checkpoint")]


def test_run_on_another_input_takes_up_no_part_of_the_first(parts: PartsRun, small_ct: bytes) -> None:
    process = parts.started_until("high")
    process.send_signal(signal.SIGINT)
    ends(process, with_code=EXIT_INTERRUPTED)
    parts.job.stage(small_ct + b"\0")  # another digest; gzip ignores zeros behind its end
    parts.finish()
    assert [line for line in parts.lines() if line in PARTS] == list(PARTS) * 2


def test_run_in_a_long_calculation_is_interrupted_at_once() -> None:
    script = (
        "import hashlib; from batch_job.interruption import Interruption;"
        "Interruption().watch_signals(); print('works', flush=True);"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)"  # Python sees no signal meanwhile
    )
    with (
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process,
        ExitStack() as ended,
    ):
        ended.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == b"works\n"
        process.terminate()
        assert process.wait(DEADLINE_S) == EXIT_INTERRUPTED


WRITING = """
import sys, time
from pathlib import Path
from batch_job.interruption import Interruption
interruption = Interruption(grace_s=float(sys.argv[1]))
interruption.watch_signals()
with interruption.finishing_first():
    print("writes", flush=True)
    while not Path(sys.argv[2], "go-on").exists():
        time.sleep(0.01)
    Path(sys.argv[2], "written").touch()
time.sleep(1000)
"""


@pytest.mark.parametrize(("grace_s", "is_written"), [(30.0, True), (0.2, False)])
def test_write_in_flight_is_finished_within_the_grace(
    tmp_path: Path, grace_s: float, is_written: bool
) -> None:
    command = [sys.executable, "-c", WRITING, str(grace_s), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, ExitStack() as ended:
        ended.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == b"writes\n"
        process.terminate()
        if is_written:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)  # it is given time
            (tmp_path / "go-on").touch()
        assert process.wait(DEADLINE_S) == EXIT_INTERRUPTED
    assert (tmp_path / "written").exists() == is_written


# -- Spot -------------------------------------------------------------------------------------------------


class Metadata(http.server.BaseHTTPRequestHandler):
    """The instance metadata, version 2: a token first; the action stands there once it is known."""

    action: str | None = None
    asked: int = 0
    tokens: tuple[str, ...] = ("token-1", "token-2")

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
        self.answer(200, type(self).tokens[0])

    def do_GET(self) -> None:
        assert self.path == "/latest/meta-data/spot/instance-action"
        kind = type(self)
        kind.asked += 1
        if self.headers["X-aws-ec2-metadata-token"] != kind.tokens[0]:
            self.answer(401, "")
        elif kind.asked == 1:
            kind.tokens = kind.tokens[1:]  # the first token has expired from now on
            self.answer(404, "")
        elif kind.action is None:
            self.answer(404, "")
        else:
            self.answer(200, f'{{"action": "{kind.action}", "time": "2026-01-01T00:02:00Z"}}')

    def answer(self, status: int, text: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[tuple[str, type[Metadata]]]:
    kind = type("MetadataOfThisTest", (Metadata,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", kind
    server.shutdown()
    server.server_close()


def test_run_on_batch_ends_at_the_notice_that_its_machine_goes(
    parts: PartsRun, metadata: tuple[str, type[Metadata]]
) -> None:
    address, kind = metadata
    process = parts.started_until(
        "middle",
        AWS_BATCH_JOB_ID="a",
        AWS_EC2_METADATA_SERVICE_ENDPOINT=address,
        AWS_EC2_METADATA_DISABLED="false",
    )
    parts.wait_until(lambda: kind.asked >= 1)
    assert process.poll() is None
    kind.action = "terminate"
    ends(process, with_code=EXIT_INTERRUPTED)
    assert parts.job.has("checkpoint/middle")
    assert kind.asked >= 3  # the expired token was noticed on the way


def test_run_on_a_machine_that_has_had_its_notice_waits_for_its_end_and_begins_nothing(
    parts: PartsRun, metadata: tuple[str, type[Metadata]]
) -> None:
    """Ended at once it would be begun there again, until its attempts are used up."""
    address, kind = metadata
    kind.asked, kind.action = 1, "terminate"  # the first look is not the machine's first
    process = parts.start(
        AWS_BATCH_JOB_ID="a",
        AWS_EC2_METADATA_SERVICE_ENDPOINT=address,
        AWS_EC2_METADATA_DISABLED="false",
    )
    parts.wait_until(lambda: kind.asked >= 2)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2.0)  # in which it would have ended
    process.terminate()
    ends(process, with_code=EXIT_INTERRUPTED)
    assert parts.lines() == []
    assert not parts.job.has("runs/1/owner.json")


def test_wait_for_the_machines_end_has_an_end_itself(
    metadata: tuple[str, type[Metadata]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, kind = metadata
    kind.asked, kind.action = 1, "stop"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setattr(ec2_metadata, "GONE_WITHIN_S", 0.01)
    may_begin = threading.Event()
    ec2_metadata.wait_for_notice(may_begin)
    assert not may_begin.is_set()


def test_run_elsewhere_does_not_ask_for_notices(
    parts: PartsRun, metadata: tuple[str, type[Metadata]]
) -> None:
    address, kind = metadata
    kind.action = "terminate"
    process = parts.start(AWS_EC2_METADATA_SERVICE_ENDPOINT=address, AWS_EC2_METADATA_DISABLED="false")
    ends(process, with_code=EXIT_DONE)
    assert kind.asked == 0


# -- children ---------------------------------------------------------------------------------------------


def children_of(parts: PartsRun) -> list[int]:
    return [int(line.split()[1]) for line in parts.lines() if line.startswith("child ")]


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_of_a_run_end_with_it(
    job_in_folder: Any, tmp_path: Path, small_ct: bytes, wait_until: Wait, method: str, number: signal.Signals
) -> None:
    job_in_folder.stage(small_ct)
    job_in_folder.start_afresh()
    parts = PartsRun(job_in_folder, tmp_path / "parts.log", wait_until)
    process = parts.started_until("low", PARTS_CHILDREN=method)
    children = children_of(parts)
    assert len(children) == 2
    assert all(map(lives, children))
    process.send_signal(number)
    ends(process, with_code=EXIT_INTERRUPTED if number == signal.SIGTERM else -signal.SIGKILL)
    wait_until(lambda: not any(map(lives, children)))


def test_forked_child_that_is_terminated_does_not_end_the_run() -> None:
    script = (
        "import os, signal, time; from batch_job.children import adopt_children;"
        "from batch_job.interruption import Interruption;"
        "Interruption().watch_signals(); adopt_children(); child = os.fork();"
        "time.sleep(1000) if child == 0 else None;"
        "os.kill(child, signal.SIGTERM);"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert (result.returncode, result.stdout) == (0, f"{-signal.SIGTERM}\n")


# -- killed -----------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_run_killed_at_any_operation_leaves_nothing_that_looks_finished(parts: PartsRun, step: int) -> None:
    """At operations on a file or a connection a run is killed; the next one finishes the job."""
    environment = {**os.environ, **parts.job.environment, "PARTS_LOG": str(parts.log)}
    command = [parts.job.python, str(PARTS_JOB), parts.job.address, "--kill"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(kill_before: int) -> int:
            print(kill_before, file=process.stdin, flush=True)
            return int(process.stdout.readline())  # type: ignore[union-attr]

        operation = 1
        while True:
            forget(parts)
            ended = run(operation)
            if ended != -signal.SIGKILL:
                assert ended == EXIT_DONE
                break
            check_after_kill(parts, lambda: run(0))
            operation += step
        process.stdin.close()
    assert operation > 30


def forget(parts: PartsRun) -> None:
    """Everything of the job but its input and request."""
    for name in parts.job.names() - {"input.nii.gz", "request.json"}:
        parts.job.delete(name)
    parts.log.unlink(missing_ok=True)


def check_after_kill(parts: PartsRun, run: Callable[[], int]) -> None:
    names = parts.job.names()
    if "manifest.json" in names:  # killed behind it: then all of it is there
        assert all(parts.job.output(name) for name in parts.job.manifest().outputs)
    kept = [part for part in PARTS if f"checkpoint/{part}.record" in names]
    assert run() == EXIT_DONE
    assert all(parts.job.output(name) for name in parts.job.manifest().outputs)
    lines = parts.lines()
    assert [lines.count(part) for part in kept] == [1] * len(kept)
    assert not [name for name in parts.job.names() if name.startswith("checkpoint") or "unfinished" in name]
    assert parts.scratch() == []
