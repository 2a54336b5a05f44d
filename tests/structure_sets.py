"""Structure sets as radiotherapy's own readers see them, in an environment of theirs (`tests/readers`)."""

import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-rtstruct" / "bin" / "python"
READERS = ("rt_utils", "dicompyler")


def read_by_others(series: Path, path: Path, scratch: Path) -> dict[str, dict[str, np.ndarray]]:
    """By reader and name of the region: where it is, (frames, rows, columns)."""
    out = scratch / "masks.npz"
    done = subprocess.run(
        [PYTHON, ROOT / "tests" / "readers" / "rtstruct.py", series, path, out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as masks:
        return {
            reader: {
                name.removeprefix(f"{reader} "): masks[name]
                for name in masks.files
                if name.startswith(reader)
            }
            for reader in READERS
        }


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """How far two masks agree: 1 where they are the same."""
    return 2 * float(np.count_nonzero(one & other)) / float(np.count_nonzero(one) + np.count_nonzero(other))
