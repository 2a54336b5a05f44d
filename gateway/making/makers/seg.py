"""The output seg: DICOM-SEG on the original slices."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converter.results.settings import WrittenObject
from converter.seg.encoder import ENCODER_VERSION, Encoding, SegmentationSettings, encode_segmentation
from converter.series import Volume
from converter.voxels.grid import even_volume, needs_another_grid
from gateway.config import Config
from gateway.config.outputs import EVEN_GRID, EVEN_GRID_TITLE
from gateway.making.naming import titled

from . import Making


class SegMaker:
    """Makes one segmentation with every label that occurs, in each encoding that a destination gets.

    Where slices lean or are uneven there is another one on an even grid, if that is wanted.
    """

    def __init__(self, config: Config) -> None:
        self._has_even_grid = config.seg.even_grid

    def make(self, making: Making) -> tuple[WrittenObject, ...]:
        """Write it and read it back.

        Raises
        ------
        ConverterError, OSError
        """
        made = [_made(making, encoding) for encoding in making.encodings]
        if self._has_even_grid and needs_another_grid(making.volume):
            even = even_volume(making.volume)
            labels = making.labels_on(even)
            if labels.any():  # what is smaller than its steps may lie between them
                made += [_made(making, each, (even, labels)) for each in making.encodings]
        return tuple(made)


def _made(
    making: Making, encoding: Encoding, even: tuple[Volume, NDArray[np.uint8]] | None = None
) -> WrittenObject:
    output = "seg" if even is None else EVEN_GRID
    said = making.said(output, str(encoding), ENCODER_VERSION)
    volume, labels = even or (making.volume, making.labels)
    if even is not None:
        said = titled(EVEN_GRID_TITLE, said)
    settings = SegmentationSettings(encoding=encoding, flags=making.flags, **said)
    path = making.path_of(settings.sop_instance_uid)
    made = encode_segmentation(volume, labels, making.manifest.labels, settings, path)
    return replace(made, form=str(encoding))
