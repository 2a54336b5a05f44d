"""`iris serve` as a process that starts at once: it is forked from one that has loaded all there is to load.

Loading takes two seconds, of which a test that kills gateways learns nothing. The fork server has imported
modules, and no more: a gateway begins at the command line, with an environment of its own. The command
started afresh is what the tests of the demo and of the images run.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.system.loaded"])


class GatewayProcess:
    """A running gateway.

    Parameters
    ----------
    log
        What it says is added to this file.
    """

    def __init__(self, config: Path, environment: Mapping[str, str], log: Path) -> None:
        self._process = _FORKS.Process(target=_serve, args=(config, dict(environment), log))
        self._process.start()

    def exit_code(self) -> int | None:
        """As of `subprocess`: that of a killed process is negative; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, once it has ended; None where that takes too long."""
        self._process.join(timeout_s)
        return self._process.exitcode

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()


def _serve(config: Path, environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.argv = ["iris", "serve", "--config", str(config)]
    from gateway.cli import main

    main()
