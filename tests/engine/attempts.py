"""`python attempts.py SOURCE KEPT LOG KILL_AFTER...`: attempts at `total`, each killed after a part was kept.

For each number an attempt of its own is forked, once everything is loaded, and kills itself with SIGKILL when
that many parts were kept; 0 lets it finish. LOG gets a line for each network that really ran. The label map
of the attempt that finished is written beside LOG.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from batch_job.contract import canonical_options
from batch_job.engines import Work, totalsegmentator
from batch_job.engines.totalsegmentator.plan import Weights
from batch_job.image import read_image


class Kept:
    """Checkpoints in a folder; the process is killed when there are enough."""

    def __init__(self, folder: Path, kill_after: int) -> None:
        self._folder = folder
        self._kill_after = kill_after

    def get(self, name: str) -> Path | None:
        path = self._folder / name
        return path if path.is_file() else None

    def put(self, name: str, path: Path) -> None:
        shutil.copyfile(path, self._folder / name)
        if len(list(self._folder.iterdir())) == self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


def attempt(source: Path, kept: Path, log: Path, kill_after: int) -> None:
    """Segment, and count the networks that run."""
    from batch_job.engines.totalsegmentator.networks import Networks

    usual = Networks.get

    def counted(networks: Networks, weights: Weights, *args: Any) -> Any:
        with log.open("a") as stream:
            stream.write(f"{weights.model.dataset}\n")
        return usual(networks, weights, *args)

    Networks.get = counted
    with tempfile.TemporaryDirectory() as scratch:
        options = canonical_options("totalsegmentator", "total", {})
        image, checkpoints = read_image(source), Kept(kept, kill_after)
        work = Work(image, source, "total", options, Path(scratch), checkpoints, lambda share, what: None)
        np.save(log.with_suffix(".npy"), totalsegmentator.TotalSegmentator().segment(work).labels)


def main() -> None:
    """Make one attempt after another; each must end as it was told to."""
    source, kept, log = map(Path, sys.argv[1:4])
    from batch_job.engines.totalsegmentator import inside  # noqa: F401  (once, for all attempts)

    for kill_after in map(int, sys.argv[4:]):
        child = os.fork()
        if child == 0:
            attempt(source, kept, log, kill_after)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended != (-signal.SIGKILL if kill_after else 0):
            sys.exit(f"the attempt to be killed after {kill_after} parts ended with {ended}")


if __name__ == "__main__":
    main()
