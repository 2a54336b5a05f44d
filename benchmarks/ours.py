"""The converter's calls, as another program makes them; the command `iris` is measured beside this.

Run as `python -m benchmarks.ours WHAT ...`.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.names import names_of_total
from benchmarks.stopwatch import timed
from converter.nifti.conversion import convert_volume
from converter.results.settings import Algorithm
from converter.seg.decoder import decode_segmentation, read_segmentation
from converter.seg.encoder import (
    Encoding,
    SegmentationSettings,
    SegmentationType,
    encode_segmentation,
)
from converter.series import read_series
from converter.terminology import Code
from converter.uids import derived_uid
from converter.voxels.geometry import labels_on_frames


def encode(kind: str, series: Path, labels: Path, out: Path) -> None:
    """From the label map's file to the segmentation's; the series' headers are read already."""
    volume = read_series(series)
    settings = SegmentationSettings(
        sop_instance_uid=derived_uid("benchmark"),
        series_uid=derived_uid("benchmark", "series"),
        series_number=300,
        series_description="Benchmark",
        made_at=datetime(2024, 1, 2, tzinfo=UTC),
        task="total",
        algorithm=Algorithm("benchmark", "1", Code("123104", "DCM", "Morphological Operations")),
        encoding=Encoding(SegmentationType(kind)),
    )
    with timed():
        names = names_of_total()
        encode_segmentation(volume, labels_on_frames(labels, volume), names, settings, out)


def decode(segmentation: Path, series: Path, out: Path) -> None:
    """From the segmentation's file to the label map's; the series' headers are read already."""
    volume = read_series(series)
    with timed():
        decode_segmentation(segmentation, volume, out)


def read(segmentation: Path, series: Path, out: Path) -> None:
    """To an array; it is kept beside the clock."""
    volume = read_series(series)
    with timed():
        numbers = read_segmentation(segmentation, volume).numbers
    np.save(out, numbers)


def convert(series: Path, out: Path) -> None:
    """From the series' files to the NIfTI's; reading the headers counts."""
    with timed():
        convert_volume(read_series(series), out)


def main(what: str, *arguments: str) -> None:
    """Do one thing, with paths as they come on the command line."""
    paths = [Path(argument) for argument in arguments]
    if what == "decode":
        decode(*paths)
    elif what == "read":
        read(*paths)
    elif what == "convert":
        convert(*paths)
    else:
        encode(what, *paths)


if __name__ == "__main__":
    main(*sys.argv[1:])
