"""`python -m tests.quick_start.server PROGRAM MODULE`: loads the module and forks a process for each request.

Between server and process stands a keeper, a fork too: it is the parent that waits for the process, brings it
the signals that come over the connection, and kills it where the connection ends. The server ends with its
standard input.
"""

import contextlib
import gc
import importlib
import json
import multiprocessing.spawn  # noqa: F401  (takes note of the real Python, which its children need)
import os
import runpy
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

OWN_PLACES = set(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
LOOKED_THROUGH = {*map(os.path.realpath, sys.path), os.path.dirname(sys.executable)}  # noqa: PTH120
"""Where modules are found; beside Python lie only programs, of which pytest may be one."""


@dataclass(frozen=True)
class Request:
    """A process that is asked for: what follows `python`, where, and with what."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str


def serve(listener: socket.socket) -> Request | None:
    """Answer requests; comes back in each process that was forked for one, and at the end with None."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        reap()
        if sys.stdin in ready:
            return None
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return keep(connection)
        connection.close()


def reap() -> None:
    """Let keepers go that have ended; their processor time is counted as the server's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def keep(connection: socket.socket) -> Request:
    """Fork the process and follow it; comes back in that process alone."""
    length, streams, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as stream:
        request = Request(**json.loads(stream.read(int.from_bytes(length, "big"))))
    process = os.fork()
    if process == 0:
        connection.close()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return request
    for descriptor in (0, 1, 2, *streams):  # a pipe ends with the process, not with its keeper
        os.close(descriptor)
    follow(process, connection)
    os._exit(0)


def follow(process: int, connection: socket.socket) -> None:
    """Until the process has ended."""
    ended = os.pidfd_open(process)
    while True:
        ready, _, _ = select.select([ended, connection], [], [])
        if ended in ready:
            break
        for number in connection.recv(16) or [signal.SIGKILL]:
            os.kill(process, number)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(OSError):  # whoever asked was killed
        connection.send(code.to_bytes(4, "big", signed=True))


def finds_the_same(request: Request) -> bool:
    """Whether Python looks for modules where this one does, and nowhere else."""
    places = set(filter(None, request.environment.get("PYTHONPATH", "").split(os.pathsep)))
    is_known = places >= OWN_PLACES and {os.path.realpath(place) for place in places} <= LOOKED_THROUGH
    return is_known and request.environment.get("PYTHONHOME") == os.environ.get("PYTHONHOME")


def run(request: Request, program: str) -> None:
    """Be the process that is asked for."""
    os.chdir(request.folder)
    is_module = request.arguments[0] == "-m"
    if not (finds_the_same(request) and (is_module or request.arguments[0].endswith(".py"))):
        os.execve(sys.executable, [sys.executable, *request.arguments], request.environment)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.executable = program  # what it starts in turn starts at once, too
    if is_module:
        sys.path[0], sys.argv = request.folder, request.arguments[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(request.arguments[0]).parent), request.arguments
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    program, modules = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{program}.socket")
        listener.listen(64)
        print("listens", flush=True)
        importlib.import_module(modules)
        gc.freeze()  # what is loaded stays; collecting it would copy its pages in each fork
        request = serve(listener)
    if request is not None:
        run(request, program)
