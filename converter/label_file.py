"""From a label map file to a DICOM-SEG file, without a gateway: what `iris encode` does."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from .geometry import labels_on_frames
from .results.settings import SERIES_NUMBER, Algorithm, Terms, free_series_number
from .segmentation import (
    ENCODER_VERSION,
    Encoded,
    Encoding,
    SegmentationSettings,
    copied_header_digest,
    encode_segmentation,
)
from .series import read_series
from .uids import derived_uid


@dataclass(frozen=True)
class LabelTable:
    """What the values of a label map mean, and what found them.

    `task` is what it is called in descriptions, `names` goes from label value to structure name.
    """

    task: str
    names: Mapping[int, str]
    terms: Terms


def encode_label_file(
    series_dir: Path, labels: Path, out: Path, table: LabelTable, encoding: Encoding | None = None
) -> Encoded:
    """Encode a label map NIfTI on the slices of a series.

    The object is dated by the label map's file, so that the same files give the same object.

    Parameters
    ----------
    table
        What the values mean.

    Raises
    ------
    ConverterError
        The series is no volume, or the labels do not fit it or the table.
    OSError
    """
    encoding = encoding or Encoding()
    volume = read_series(series_dir)
    carried = labels_on_frames(labels, volume)
    made_at = datetime.fromtimestamp(labels.stat().st_mtime, UTC)
    uid = derived_uid(
        "label file",
        table.task,
        json.dumps(dict(table.names), sort_keys=True),
        table.terms.identity(),
        made_at.isoformat(),
        ENCODER_VERSION,
        str(encoding),
        copied_header_digest(volume),
        hashlib.sha256(labels.read_bytes()).hexdigest(),
    )
    source_number = volume.header.get("SeriesNumber")
    source = "?" if source_number is None else source_number
    settings = SegmentationSettings(
        sop_instance_uid=uid,
        series_uid=derived_uid(uid, "series"),
        series_number=free_series_number(SERIES_NUMBER, int(source_number or 0), ()),
        series_description=f"{table.task} of {source} (research use)",
        made_at=made_at,
        task=table.task,
        algorithm=Algorithm(f"label map {table.task}", metadata.version("iris-gateway"), table.terms.family),
        structures=table.terms.structures,
        encoding=encoding,
    )
    encoded = encode_segmentation(volume, carried, table.names, settings, out)
    found = tuple(finding.sentence for finding in volume.findings)
    return replace(encoded, warnings=(*found, *encoded.warnings))
