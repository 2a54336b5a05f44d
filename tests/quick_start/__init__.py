"""A Python that starts at once: its processes are forked from one that has loaded what they need.

`python -m batch_job` spends a second on loading NumPy, nibabel and others before it does anything, and
`iris` two; a test that runs it for the hundredth time learns nothing of that. `quick_python` gives the path
of a program that takes the place of `sys.executable`. It has a server fork the process that is asked for,
passes on the standard streams (no other descriptors), arguments, environment and folder, and the signals
that it gets; it ends as the process ends, and takes the process with it where it is killed. The fork has
loaded modules and done no more; it begins at the program's first line. What cannot begin so (`-c`, another
PYTHONPATH) it starts afresh. Variables that a library reads as it is loaded come too late in a fork: how
many threads NumPy takes is tested afresh, and so are ordinary runs of each command, as users start them.
"""

import atexit
import functools
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON = sys.executable
JOB = "tests.quick_start.job_modules"
"""What `python -m batch_job` loads."""
IRIS = "tests.quick_start.iris_modules"
"""What `iris` loads, and the job."""


@functools.cache
def quick_python(modules: str) -> str:
    """The program; its server has loaded this module, and ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="quick-", dir="/tmp")  # a socket's path is 107 bytes at most
    program = Path(folder.name, "python")
    launcher = Path(__file__).with_name("launcher.py")
    words = shlex.join([PYTHON, "-IS", str(launcher), f"{program}.socket"])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    server = subprocess.Popen(
        [PYTHON, "-m", "tests.quick_start.server", str(program), modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"listens\n"
    atexit.register(folder.cleanup)
    atexit.register(server.wait, 60)
    atexit.register(server.stdin.close)  # the first that is called: it tells the server to end
    return str(program)
