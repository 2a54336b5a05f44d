"""From a label map file to a DICOM-SEG file, without a gateway: what `iris encode` does."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from .geometry import labels_on_frames
from .segmentation import (
    ENCODER_VERSION,
    Encoded,
    Encoding,
    SegmentationSettings,
    copied_header_digest,
    encode_segmentation,
)
from .series import read_series
from .terminology import label_table
from .uids import derived_uid

SERIES_NUMBER = 9000


def encode_label_file(
    series_dir: Path, labels: Path, out: Path, task: str, encoding: Encoding | None = None
) -> Encoded:
    """Encode a label map NIfTI on the slices of a series.

    The object is dated by the label map's file, so that the same files give the same object.

    Parameters
    ----------
    task
        Whose label table names the values.

    Raises
    ------
    ConverterError
        The series is no volume, the task unknown, or the labels do not fit either.
    OSError
    """
    encoding = encoding or Encoding()
    names = label_table(task)
    volume = read_series(series_dir)
    carried = labels_on_frames(labels, volume)
    made_at = datetime.fromtimestamp(labels.stat().st_mtime, UTC)
    uid = derived_uid(
        "label file",
        task,
        made_at.isoformat(),
        ENCODER_VERSION,
        str(encoding),
        copied_header_digest(volume),
        hashlib.sha256(labels.read_bytes()).hexdigest(),
    )
    source_number = volume.header.get("SeriesNumber")
    settings = SegmentationSettings(
        sop_instance_uid=uid,
        series_uid=derived_uid(uid, "series"),
        series_number=SERIES_NUMBER + int(source_number or 0),
        series_description=f"{task} of {'?' if source_number is None else source_number} (research use)",
        made_at=made_at,
        task=task,
        algorithm_name=f"label map {task}",
        algorithm_version=metadata.version("iris-gateway"),
        encoding=encoding,
    )
    encoded = encode_segmentation(volume, carried, names, settings, out)
    found = tuple(finding.sentence for finding in volume.findings)
    return replace(encoded, warnings=(*found, *encoded.warnings))
