"""dicom2nifti's own way; it runs in an environment of its own, where nothing of ours is installed.

Run as `PEERS_PYTHON -m benchmarks.with_dicom2nifti SERIES OUT [--as-they-lie]`.
"""

import sys
from pathlib import Path

import dicom2nifti

from benchmarks.stopwatch import synced, timed


def main(series: str, out: str, *options: str) -> None:
    """Convert as its documentation says: by default it turns the axes, to those that dcm2niix writes too."""
    with timed():
        dicom2nifti.dicom_series_to_nifti(series, out, reorient_nifti="--as-they-lie" not in options)
        synced(Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
