"""From a volume to a NIfTI on a grid of our own: dcm2niix unpacks, and every voxel is compared with ours.

While dcm2niix works the pixels are read here too (`pixels`), rescaled, and written. What dcm2niix says of
geometry and intensities is the second opinion: where the two differ there is no result. What it resamples by
itself (`_Tilt_`, `_Eq_`) is not used: `straight` says why, and what is done instead.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .axes import GRID_TOLERANCE, turn_between
from .grid import (
    even_grid_of,
    is_exact,
    needs_another_grid,
    rounding_voxels,
    slice_grid,
    straightened,
)
from .nifti_file import stage, write_labels
from .reading.headers import DCM2NIIX_READS, transfer_syntax_of
from .series import Volume
from .staged_file import StagedFile
from .unpacking.dcm2niix import TIMEOUT_S, Dcm2niix, Dcm2niixFailed, Unpacked
from .unpacking.decoding import NoDecoder
from .unpacking.intensities import Rescale, Scaled, differing_frame, intensities, unchecked_intensities
from .unpacking.pixels import read_pixels
from .unpacking.placing import place_all, place_plain, placing
from .unpacking.straight import on_even_grid, straight_copies

__all__ = ["TIMEOUT_S", "Converted", "convert_volume", "converter_version", "write_labels"]

GRID_VERSION = 2
"""Changes whenever other bytes are made of the same slices here, after dcm2niix."""
MOST_OFF = 0.45
"""In voxels: no rounding excuses more, or a slice could be taken for its neighbour."""


@dataclass(frozen=True)
class Converted:
    """A NIfTI with the digest of its bytes, and what there is to know about it."""

    path: Path
    sha256: str
    warnings: tuple[str, ...]
    converter_version: str


def converter_version() -> str:
    """The converter's name and version; part of every job's identity."""
    return f"dcm2niix {metadata.version('dcm2niix')} grid {GRID_VERSION}"


def convert_volume(volume: Volume, out: Path, *, timeout_s: float = TIMEOUT_S) -> Converted:
    """Convert one usable volume, onto the grid that `grid_of` gives.

    The voxels are the pixels of the frames, rescaled (PS3.3 C.11.1), each compared with dcm2niix's. Where
    slices lean or are unevenly spaced they are interpolated onto an even, right-angled grid, which a warning
    says. Memory stays below about twice the volume's in the type that is written.

    Parameters
    ----------
    out
        `.nii.gz` or `.nii`; written in one step, and on disk when this returns. The same images give the same
        bytes, in whatever order they came.
    timeout_s
        For dcm2niix.

    Raises
    ------
    ConversionFailed
        An image is gone, was changed or cannot be decoded; dcm2niix wrote nothing usable, or what it wrote
        is not where the series is or holds other intensities.
    OSError
        For example, the disk is full. Nothing is left under the name of `out`, unless it was there before.
    """
    place = placing(volume) if is_exact(volume) else straight_copies(volume, placing(volume))
    if {transfer_syntax_of(header) for header in volume.headers} <= DCM2NIIX_READS:
        with suppress(Dcm2niixFailed):  # it may read plain copies better
            return _converted(
                volume, lambda temp: place_all(volume.frames, place, temp / "in"), out, timeout_s
            )
    return _converted(volume, lambda temp: place_plain(volume, place, temp / "in", timeout_s), out, timeout_s)


def _converted(
    volume: Volume, prepare: Callable[[Path], list[Path]], out: Path, timeout_s: float
) -> Converted:
    rescale = Rescale.of(volume.headers)
    warnings: list[str] = []
    with _Writing(volume, out) as writing:
        with Dcm2niix(prepare, timeout_s) as dcm2niix:
            try:
                stored = read_pixels(volume, dcm2niix.files, dcm2niix.folder, timeout_s)
                values = intensities(stored, rescale)
                writing.start(values)
                unpacked = dcm2niix.result()
                _check_intensities(_frames(unpacked, volume), values, rescale)
            except NoDecoder as missing:
                unpacked = dcm2niix.result()
                writing.start(unchecked_intensities(_frames(unpacked, volume), rescale))
                warnings.append(f"intensities were not verified: no decoder for {missing} is installed")
        sha256 = writing.commit()
    if needs_another_grid(volume):
        step_mm = even_grid_of(volume).step_mm
        warnings.append(f"slices were resampled to an even, straight grid, {step_mm:.4g} mm apart")
    return Converted(out, sha256, (*unpacked.warnings, *warnings), converter_version())


class _Writing:
    """A NIfTI written in the background; it gets its name by `commit`, or else nothing is left of it."""

    def __init__(self, volume: Volume, out: Path) -> None:
        self._volume, self._out = volume, out
        self._pool = ThreadPoolExecutor(1)
        self._staged: Future[StagedFile] | None = None

    def __enter__(self) -> Self:
        return self

    def start(self, values: NDArray[Any]) -> None:
        """Begin to write frames of intensities, (frames, rows, columns)."""
        self._staged = self._pool.submit(self._stage, values)

    def _stage(self, values: NDArray[Any]) -> StagedFile:
        if not needs_another_grid(self._volume):
            return stage(values[:, ::-1], slice_grid(self._volume).affine_ras, self._out)
        grid = even_grid_of(self._volume)
        return stage(on_even_grid(values, grid), grid.affine_ras, self._out)

    def commit(self) -> str:
        """Wait, give the file its name, and say its SHA-256; OSError."""
        assert self._staged is not None
        staged, self._staged = self._staged.result(), None
        staged.commit()
        return staged.sha256

    def __exit__(self, *error: object) -> None:
        if self._staged is not None:
            with suppress(OSError):
                self._staged.result().discard()
        self._pool.shutdown()


# -- checks -------------------------------------------------------------------------------------------------


def _frames(unpacked: Unpacked, volume: Volume) -> Scaled:
    """What dcm2niix wrote, as frames; its grid must be the slices' own but for axes and flips."""
    grid = slice_grid(volume)
    shape = unpacked.voxels.shape
    turn = turn_between(shape, unpacked.affine_ras, grid.shape, grid.affine_ras)
    if turn is None:
        raise Dcm2niixFailed(
            f"dcm2niix wrote {' x '.join(map(str, shape))} voxels, which are not {len(volume.frames)} frames "
            f"of {volume.rows} x {volume.columns}"
        )
    rounding = rounding_voxels(volume if is_exact(volume) else straightened(volume))
    allowed = np.minimum(GRID_TOLERANCE + rounding, MOST_OFF)
    if (np.array(turn.off_voxels) > allowed).any():
        off = ", ".join(f"{number:.4f}" for number in turn.off_voxels)
        most = ", ".join(f"{number:.4f}" for number in allowed)
        raise Dcm2niixFailed(
            f"dcm2niix's grid is {off} voxels off along columns, rows and slices (allowed: {most}); its "
            "geometry cannot be trusted"
        )
    frames = turn(unpacked.voxels).transpose(2, 1, 0)[:, ::-1]
    return Scaled(frames, unpacked.slope, unpacked.intercept)


def _check_intensities(unpacked: Scaled, values: NDArray[Any], rescale: Rescale) -> None:
    differing = differing_frame(unpacked, values, rescale)
    if differing is not None:
        raise Dcm2niixFailed(f"dcm2niix's voxels are not the pixels of frame {differing + 1}")
