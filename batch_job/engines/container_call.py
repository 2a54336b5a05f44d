"""How a program of one's own is called, here or in a container, and ended with the job whatever ends that."""

import contextlib
import os
import select
import shutil
import subprocess
import time
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
LONGEST_LINE: Final = 65536
"""What goes on beyond so many bytes is no line, and not kept."""
LOOK_S: Final = 0.2
"""How often it is looked at whether a program lives that says nothing."""
LAST_WORDS_S: Final = 1.0
"""How long after its end it is read what it said."""
END_S: Final = 10.0
"""How long a program may take to end once it is asked to."""


@dataclass(frozen=True)
class Call:
    """A program that runs."""

    process: "subprocess.Popen[bytes]"

    @property
    def lines(self) -> Iterator[str]:
        """What it says on its standard output until it ends, also where something that it left holds that."""
        said, until = b"", float("inf")
        while time.monotonic() < until and (more := self._more()) != b"":
            *lines, said = (said + (more or b"")).split(b"\n")
            yield from (f"{line.decode(errors='replace')}\n" for line in lines)
            if len(said) > LONGEST_LINE:
                said = b""
            if self.process.poll() is not None:
                until = min(until, time.monotonic() + LAST_WORDS_S)
        if said:
            yield said.decode(errors="replace")

    def _more(self) -> bytes | None:
        """What it has said; empty where it says no more, None where it has said nothing for a moment."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], LOOK_S)
        return os.read(self.process.stdout.fileno(), LONGEST_LINE) if readable else None

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
    """Start the program on an image; it does not outlive the block, nor this process, however that ends.

    Raises
    ------
    NotSetUp
        It cannot be started.
    """
    name = f"iris-{uuid.uuid4().hex}"
    if settings.image:
        words = _in_a_container(settings, name, image, left)
    else:
        words = _filled(settings.command, str(image), str(left))
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a group of its own, with whatever it starts
        )
    except OSError as error:
        raise NotSetUp(f"engine.command: {words[0]} does not start ({error.strerror})") from None
    end_it = [words[0], "rm", "--force", name] if settings.image else _kill_words(process)
    with _done_unless_it_ends(process, end_it):
        yield Call(process)


def _kill_words(process: "subprocess.Popen[bytes]") -> list[str]:
    return ["kill", "-s", "KILL", "--", f"-{process.pid}"]


def _in_a_container(settings: EngineSettings, name: str, image: Path, left: Path) -> list[str]:
    """The words that run it in a container of that name, without network."""
    runtime = _runtime()
    gpu = GPU[Path(runtime).name] if shutil.which("nvidia-smi") else ()
    alone = ("--rm", "--name", name, "--network", "none")
    folders = ("--volume", f"{image.parent}:{GIVEN}:ro", "--volume", f"{left}:{LEFT}")
    words = _filled(arguments(settings), f"{GIVEN}/{image.name}", LEFT)
    return [runtime, "run", *alone, *folders, *gpu, settings.image, *words]


def _filled(words: Sequence[str], image: str, left: str) -> list[str]:
    return [word.replace(INPUT, image).replace(OUTPUT, left) for word in words]


def _runtime() -> str:
    found = next(filter(None, map(shutil.which, RUNTIMES)), None)
    if found is None:
        raise NotSetUp(f"engine.image: there is neither {' nor '.join(RUNTIMES)} here; install one of them")
    return found


@contextmanager
def _done_unless_it_ends(process: "subprocess.Popen[bytes]", words: Sequence[str]) -> Iterator[None]:
    """Call these words where the block is left, or this process ends, before that one has.

    Neither a container nor what a program started is a child that ends with this process. A shell, which is
    nobody's child either, waits for the end of a pipe that this process holds, or for a word in it.
    """
    reading, writing = os.pipe()
    waiting = 'exec 3<&0; (read _ <&3 || "$@") &'
    nowhere = subprocess.DEVNULL
    try:
        subprocess.run(
            ["/bin/sh", "-c", waiting, "sh", *words],
            stdin=reading, stdout=nowhere, stderr=nowhere, check=True,
        )  # fmt: skip
        yield
    finally:
        if process.poll() is None:
            _end(process)
        else:
            os.write(writing, b"it ended by itself\n")
        os.close(reading)
        os.close(writing)
        if process.stdout is not None:
            process.stdout.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """See it end: first asked, then made to."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    process.kill()
    process.wait()
