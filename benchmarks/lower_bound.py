"""The least that a writer of BINARY segmentations does: find what is in each slice, pack bits, write them.

No object, no header, no reading of the label map (it lies in memory already), nothing read back. It takes
whole frames, one after the other: who packs only a structure's rows, and writes meanwhile, saves some of it.
Run as `python -m benchmarks.lower_bound LABELS OUT`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.stopwatch import timed


def main(labels: str, out: str) -> None:
    """Write every non-empty pair of segment and frame."""
    image: Any = nib.load(labels)
    frames = np.ascontiguousarray(np.asanyarray(image.dataobj)[:, ::-1].transpose(2, 1, 0))
    with timed(), Path(out).open("wb") as stream:
        present = np.array([np.bincount(plane.ravel(), minlength=256) > 0 for plane in frames])
        for value in np.flatnonzero(present.any(axis=0)):
            if value:
                for frame in np.flatnonzero(present[:, value]):
                    stream.write(np.packbits(frames[frame] == value, bitorder="little").data)
        stream.flush()
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
