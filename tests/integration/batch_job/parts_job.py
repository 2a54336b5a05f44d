"""The real job with an engine of three parts, which does to itself what a test asks for.

`python parts_job.py ADDRESS` runs it once. The environment says what happens:

    PARTS_LOG         a file that gets a line for each part that is worked on
    PARTS_WAIT_AT     the part after whose checkpoint the engine waits to be interrupted
    PARTS_NOT_SET_UP  anything: the engine finds that it has no weights
    PARTS_CHILDREN    "spawn" or "fork": child processes that would run for ever; their numbers go to the log

`python parts_job.py ADDRESS --kill` reads numbers from standard input. For each it runs the job in a fork
that is killed (SIGKILL) just before that operation on a file or connection, 0 for none, and writes how it
ended.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from batch_job import __main__ as command
from batch_job import bucket, several, shared  # noqa: F401  (loaded before the forks)
from batch_job.contract import EngineInfo
from batch_job.engines import Segmented, Work
from batch_job.errors import NotSetUp

PARTS = ("low", "middle", "high")
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "tempfile.mkdtemp"}


class PartsEngine:
    """Labels three bands of intensity, each a part with a checkpoint."""

    info = EngineInfo(name="threshold", version="parts", weights="")

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        if os.environ.get("PARTS_NOT_SET_UP"):
            raise NotSetUp("there are no weights; get them with a command")
        return self.info

    def segment(self, work: Work) -> Segmented:
        labels = np.zeros(work.image.values.shape, np.uint8)
        if "--serve" in sys.argv:
            os.write(1, b"what a library prints\n")
        start_children()
        for number, name in enumerate(PARTS, start=1):
            path = work.checkpoints.get(name)
            if path is None:
                note(name)
                path = work.scratch / f"{name}.npy"
                with path.open("wb") as stream:
                    np.save(stream, work.image.values > (-500, 0, 300)[number - 1])
                work.checkpoints.put(name, path)
            if os.environ.get("PARTS_WAIT_AT") == name:
                note(f"waits after {name}")
                threading.Event().wait()
            labels[np.load(path)] = number
            work.on_progress(number / 3, f"part {number} of 3")
        return Segmented(labels, dict(enumerate(PARTS, start=1)), {"parts": 0.0}, ("made of three parts",))


def note(line: str) -> None:
    with Path(os.environ["PARTS_LOG"]).open("a") as log:
        log.write(line + "\n")


def start_children() -> None:
    method = os.environ.get("PARTS_CHILDREN")
    if method:
        context: Any = multiprocessing.get_context(method)
        for _ in range(2):
            child = context.Process(target=time.sleep, args=(1000,))
            child.start()
            note(f"child {child.pid}")


def run_once(kill_before: int = 0) -> int:
    shared.load_engine = lambda name: PartsEngine()  # type: ignore[assignment,return-value]
    if kill_before:
        kill_before_operation(kill_before)
    return command.main()


def kill_before_operation(number: int) -> None:
    count = 0

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if changes_something(event, values):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def changes_something(event: str, values: tuple[Any, ...]) -> bool:
    """Whether an audit event is an operation after which something may look otherwise from outside."""
    if event == "http.client.send":
        return (
            not bytes(values[1][:5]).startswith((b"GET ", b"HEAD ")) if isinstance(values[1], bytes) else True
        )
    if event == "open":
        mode = values[2] if isinstance(values[2], int) else 0
        return bool(mode & (os.O_WRONLY | os.O_RDWR)) and not str(values[0]).endswith("log")
    return event in OPERATIONS


def serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run_once(int(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if sys.argv[-1] == "--kill":
        sys.argv.pop()
        serve()
    else:
        sys.exit(run_once())
