"""How a program of one's own is called, here or in a container, and ended with the job whatever ends that."""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batch_job.catalogue.foreign_program import INPUT, OUTPUT, arguments
from batch_job.contract import EngineSettings
from batch_job.errors import NotSetUp

RUNTIMES: Final = ("podman", "docker")
"""The first that is there runs images."""
GIVEN: Final = "/iris/input"
LEFT: Final = "/iris/output"
GPU: Final = {"podman": ("--device", "nvidia.com/gpu=all"), "docker": ("--gpus", "all")}
LOOK_TIMEOUT_S: Final = 60.0
END_S: Final = 10.0
"""How long a program may take to end once it is asked to."""


@dataclass(frozen=True)
class Call:
    """A program that runs."""

    process: "subprocess.Popen[str]"

    @property
    def lines(self) -> Iterator[str]:
        """What it says on its standard output."""
        assert self.process.stdout is not None
        yield from self.process.stdout

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait()


def check_call(settings: EngineSettings) -> None:
    """Raise NotSetUp where program, image or what runs images is missing."""
    if not settings.image:
        if shutil.which(settings.command[0]) is None:
            raise NotSetUp(f"engine.command: there is no program {settings.command[0]} here; install it")
        return
    runtime = _runtime()
    look = [runtime, "image", "inspect", settings.image]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if not subprocess.run(look, capture_output=True, timeout=LOOK_TIMEOUT_S, check=False).returncode:
            return
    name = Path(runtime).name
    raise NotSetUp(f"engine.image: {name} has no image {settings.image}; {name} pull {settings.image}")


@contextmanager
def call_of(settings: EngineSettings, image: Path, left: Path) -> Iterator[Call]:
    """Start the program on an image; it does not outlive the block.

    Raises
    ------
    NotSetUp
        It cannot be started.
    """
    words, undo = (_in_a_container if settings.image else _here)(settings, image, left)
    with contextlib.ExitStack() as stack:
        if undo:
            stack.enter_context(_undone_at_any_end(undo))
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
            )
        except OSError as error:
            raise NotSetUp(f"engine.command: {words[0]} does not start ({error.strerror})") from None
        try:
            yield Call(process)
        finally:
            _end(process)


def _here(settings: EngineSettings, image: Path, left: Path) -> tuple[list[str], list[str]]:
    return _filled(settings.command, str(image), str(left)), []


def _in_a_container(settings: EngineSettings, image: Path, left: Path) -> tuple[list[str], list[str]]:
    """The words that run it in a container without network, and those that end it."""
    runtime, name = _runtime(), f"iris-{uuid.uuid4().hex}"
    gpu = GPU[Path(runtime).name] if shutil.which("nvidia-smi") else ()
    folders = ["--volume", f"{image.parent}:{GIVEN}:ro", "--volume", f"{left}:{LEFT}"]
    words = _filled(arguments(settings), f"{GIVEN}/{image.name}", LEFT)
    run = [
        runtime,
        "run",
        "--rm",
        "--name",
        name,
        "--network",
        "none",
        *folders,
        *gpu,
        settings.image,
        *words,
    ]
    return run, [runtime, "rm", "--force", name]


def _filled(words: Sequence[str], image: str, left: str) -> list[str]:
    return [word.replace(INPUT, image).replace(OUTPUT, left) for word in words]


def _runtime() -> str:
    found = next(filter(None, map(shutil.which, RUNTIMES)), None)
    if found is None:
        raise NotSetUp(f"engine.image: there is neither {' nor '.join(RUNTIMES)} here; install one of them")
    return found


@contextmanager
def _undone_at_any_end(words: Sequence[str]) -> Iterator[None]:
    """Call these words at the end of the block, or of this process, however that comes.

    A container is no child of what started it. A shell, which is nobody's child either, waits for the end of
    a pipe that this process holds.
    """
    reading, writing = os.pipe()
    waiting = 'exec 3<&0; (read _ <&3; exec "$@") &'
    nowhere = subprocess.DEVNULL
    try:
        subprocess.run(
            ["/bin/sh", "-c", waiting, "sh", *words],
            stdin=reading, stdout=nowhere, stderr=nowhere, check=True,
        )  # fmt: skip
        yield
    finally:
        os.close(reading)
        os.close(writing)


def _end(process: "subprocess.Popen[str]") -> None:
    """See it end: first asked, then made to."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
