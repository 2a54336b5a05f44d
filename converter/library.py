"""What `import converter` gives: a series to NIfTI, a label map or an array to DICOM-SEG, and back."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from .errors import LabelsDoNotFit
from .inputs import AnyPath, Source
from .label_file import EncodedFile, LabelsOnFrames, LabelTable, Wording, encode_label_file, encode_labels
from .labels import Labels
from .nifti.conversion import Converted, convert_volume
from .nifti.label_reader import as_labels
from .seg.decoder import decode_segmentation
from .seg.encoder import Encoding, segmentation_writer
from .series import Volume, judge_series, read_series, the_whole


def convert(series: Source | Volume, out: AnyPath) -> Converted:
    """Make a NIfTI of a series, or of the volume that `read_series` chose; see `nifti.convert_volume`.

    Raises
    ------
    UnusableSeries, ConversionFailed, OSError
    """
    return convert_volume(_volume(series), out)


def encode(
    series: Source | Volume,
    label_map: AnyPath,
    out: AnyPath,
    labels: Labels,
    *,
    encoding: Encoding | None = None,
    wording: Wording | None = None,
) -> EncodedFile:
    """Make a DICOM-SEG of a label map NIfTI on the slices of a series.

    It may lie on any grid at the same place. The same files give the same object.

    Raises
    ------
    ConverterError
        The series is no volume, or the label map does not fit it or the labels.
    OSError
    """
    writer = segmentation_writer(encoding or Encoding())
    return encode_label_file(series, label_map, out, LabelTable.of_own(labels), writer, wording)


def encode_array(
    images: Volume | Sequence[Dataset],
    array: NDArray[Any],
    out: AnyPath,
    labels: Labels,
    *,
    encoding: Encoding | None = None,
    wording: Wording | None = None,
    made_at: datetime | None = None,
) -> EncodedFile:
    """Make a DICOM-SEG of an array that lies on images.

    Parameters
    ----------
    images
        Data sets as pydicom reads them, with or without pixels, in any order; or a volume.
    array
        (images, rows, columns), whole numbers from 0 to 255: `array[n]` lies on the n-th data set, pixel on
        pixel; of data sets with several frames their frames count one after the other. On a volume it lies on
        its n-th frame.
    made_at
        When the labels were made, aware of its time zone; without it, now. The same time, images and labels
        give the same object.

    Raises
    ------
    UnusableSeries
        The data sets are not exactly the images of one volume.
    LabelsDoNotFit
        The array has another shape or other values.
    EncodingFailed, OSError
    """
    volume, order = (images, None) if isinstance(images, Volume) else _volume_of(images)
    array = np.asarray(array)
    expected = (len(volume.frames), volume.rows, volume.columns)
    if array.shape != expected:
        raise LabelsDoNotFit(f"the array has the shape {array.shape}, its images {expected}")
    on_frames = np.ascontiguousarray(as_labels(array if order is None else array[order]))
    digest = hashlib.sha256(on_frames.data).hexdigest()
    found = LabelsOnFrames(volume, on_frames, digest, made_at or datetime.now().astimezone())
    writer = segmentation_writer(encoding or Encoding())
    return encode_labels(found, out, LabelTable.of_own(labels), writer, wording)


def decode(segmentation: AnyPath, series: Source | Volume, out: AnyPath) -> dict[int, str]:
    """Make a label map NIfTI of a DICOM-SEG, on the grid that `convert` gives; the names of its values.

    Raises
    ------
    UnusableSeries, LabelsDoNotFit, OSError
    """
    return decode_segmentation(segmentation, _volume(series), out)


def _volume(series: Source | Volume) -> Volume:
    return series if isinstance(series, Volume) else read_series(series)


def _volume_of(data_sets: Sequence[Dataset]) -> tuple[Volume, NDArray[np.intp]]:
    """The volume of data sets, and for each of its frames which image that is in the given order."""
    volume = the_whole(judge_series([(Path(str(number)), each) for number, each in enumerate(data_sets)]))
    given = [(int(frame.path.name), frame.frame_number or 0) for frame in volume.frames]
    order = np.empty(len(given), np.intp)
    order[sorted(range(len(given)), key=given.__getitem__)] = np.arange(len(given))
    return volume, order
