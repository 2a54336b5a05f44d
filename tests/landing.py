"""Where a NIfTI's voxels land on the frames of a volume: by its affine alone, for tests of the converter."""

from typing import Any

import numpy as np

from converter.series import Volume
from converter.voxels.geometry import voxel_from_pixel


def voxels_at_frames(image: Any, volume: Volume, *, most_off: float) -> np.ndarray:
    """What a NIfTI holds at each pixel of each frame, (frames, rows, columns).

    Parameters
    ----------
    most_off
        How far a pixel's centre may lie from that of a voxel, in voxels.
    """
    values = np.asanyarray(image.dataobj)
    row, column = np.mgrid[: volume.rows, : volume.columns]
    frames = []
    for number in range(len(volume.frames)):
        index = (
            np.stack([column, row, np.ones_like(row)], -1) @ voxel_from_pixel(image.affine, volume, number).T
        )
        whole = np.rint(index).astype(int)
        assert np.abs(index - whole).max() < most_off
        frames.append(values[whole[..., 0], whole[..., 1], whole[..., 2]])
    return np.stack(frames)
