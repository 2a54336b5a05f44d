"""The stand-in for a network, the same file on both sides: `python stand_in.py IMAGE OUT SECONDS RUNNING`.

IRIS runs it as the program of its engine `container`, BOA's worker imports it. While it runs a file lies in
the folder RUNNING, so that whoever kills a worker finds it at work.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.geometry.engine import NAMES, Engine

ENGINE = Engine(limit=500, bodies=2)
BOA_VALUES = {"liver": 5, "spleen": 1}
"""Their numbers in BOA's template of the model `total`."""


def segment(image: Path, labels: Path, seconds: float, running: Path, values: dict[str, int]) -> None:
    """Write the label map of an image.

    Parameters
    ----------
    values
        The value in the label map by the name of a body.
    """
    mark = running / str(os.getpid())
    mark.touch()
    try:
        time.sleep(seconds)
        source: Any = nibabel.load(image)
        marked = ENGINE.mark(np.asanyarray(source.dataobj))
        found = np.zeros_like(marked)
        for label, name in NAMES.items():
            found[marked == label] = values[name]
        nibabel.save(nibabel.Nifti1Image(found, source.affine), labels)
    finally:
        mark.unlink(missing_ok=True)


def main() -> None:
    """Do as a program for `engine.command` does (docs/engines.md)."""
    image, folder, seconds, running = sys.argv[1:]
    values = {name: label for label, name in NAMES.items()}
    segment(Path(image), Path(folder) / "labels.nii.gz", float(seconds), Path(running), values)
    lines = [f"{label},{name}" for label, name in NAMES.items()]
    (Path(folder) / "labels.csv").write_text("\n".join(["value,name", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
