"""From a volume to a NIfTI on a grid of our own: dcm2niix unpacks, and every voxel is compared with ours.

The pixels are read here (`pixels`), rescaled, and written, a part of the volume at a time, while dcm2niix
works on copies of the part before that say nothing of scanner and patient (`neutral`). What it makes of
geometry and intensities is the second opinion: where the two differ there is no result. What it resamples by
itself (`_Tilt_`, `_Eq_`) is not used: `straight` says why, and what is done instead.
"""

import tempfile
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConversionFailed
from ..inputs import AnyPath
from ..reading.headers import DCM2NIIX_READS, transfer_syntax_of
from ..series import Volume
from ..staged_file import StagedFile
from ..unpacking.dcm2niix import TIMEOUT_S, Dcm2niix, Dcm2niixFailed, Runs, Unpacked
from ..unpacking.decoding import NoDecoder
from ..unpacking.encoded_frames import EncodedFrames
from ..unpacking.intensities import (
    DoesNotFit,
    Intensities,
    Rescale,
    Scaled,
    differing_frame,
    type_of,
    unchecked_intensities,
    usual_type,
)
from ..unpacking.neutral import NeutralCopies, Plain
from ..unpacking.pixels import StoredFrames
from ..unpacking.straight import on_even_grid
from ..voxels.axes import GRID_TOLERANCE, turn_between
from ..voxels.grid import (
    even_grid_of,
    is_exact,
    needs_another_grid,
    rounding_voxels,
    slice_grid,
    straightened,
    turned,
)
from .file import stage, write_labels

__all__ = ["TIMEOUT_S", "Converted", "convert_volume", "converter_version", "write_labels"]

GRID_VERSION = 2
"""Changes whenever other bytes are made of the same slices here, after dcm2niix."""
MOST_OFF = 0.45
"""In voxels: no rounding excuses more, or a slice could be taken for its neighbour."""
PART_PIXELS = 10_000_000
"""So many go through dcm2niix and through memory at a time. Memory that is used again is at hand, new memory
has to be fetched and cleared: dcm2niix takes 0.48 s for 300 slices of 512 x 512 as one part, 0.24 s as two,
0.21 s as eight, 0.25 s as sixteen."""
FEWEST_FRAMES = 8
"""In a part: it has a direction and a step of its own."""


class Disagreement(Dcm2niixFailed):
    """It says that the voxels lie elsewhere, or are others, than the headers and pixels say."""


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


def convert_volume(volume: Volume, out: AnyPath, *, timeout_s: float = TIMEOUT_S) -> Converted:
    """Convert one usable volume, onto the grid that `grid_of` gives.

    The voxels are the pixels of the frames, rescaled (PS3.3 C.11.1), each compared with dcm2niix's. Where
    slices lean or are unevenly spaced they are interpolated onto an even, right-angled grid, which a warning
    says; that takes memory for about twice the volume, anything else for a part of it.

    Parameters
    ----------
    out
        `.nii.gz` or `.nii`; written in one step, and on disk when this returns. The same images give the same
        bytes, in whatever order they came.
    timeout_s
        For each run of dcm2niix.

    Raises
    ------
    ConversionFailed
        An image is gone, was changed or cannot be decoded; dcm2niix wrote nothing usable, or what it wrote
        is not where the series is or holds other intensities.
    OSError
        For example, the disk is full. Nothing is left under the name of `out`, unless it was there before.
    """
    with tempfile.TemporaryDirectory(prefix="iris-convert-") as folder:
        return _Conversion(volume, Path(out), timeout_s, Path(folder)).converted()


class _Conversion:
    """A volume on its way to a file, with temporary files in a folder."""

    def __init__(self, volume: Volume, out: Path, timeout_s: float, folder: Path) -> None:
        self._volume, self._out, self._timeout_s, self._folder = volume, out, timeout_s, folder
        self._rescale = Rescale.of(volume.headers)
        self._frames = EncodedFrames(volume)
        self._stored: StoredFrames | None = None
        self._warnings: dict[str, None] = {}  # each once, in order
        try:
            self._stored = StoredFrames(volume, self._frames, folder, timeout_s)
        except NoDecoder as missing:
            self._missing = str(missing)

    def converted(self) -> Converted:
        """Convert, with dcm2niix reading the frames as they are, or in other ways where it cannot."""
        volume = self._volume
        placed = volume if is_exact(volume) else straightened(volume)
        if {transfer_syntax_of(header) for header in volume.headers} <= DCM2NIIX_READS:
            with suppress(Dcm2niixFailed):
                return self._of(NeutralCopies(placed, self._frames))
        if self._stored is None:
            raise ConversionFailed(
                f"no decoder for {self._missing} is installed; have the series sent uncompressed"
            )
        plain = Plain(self._stored)
        try:
            return self._of(NeutralCopies(placed, plain))  # it may read them better
        except Disagreement:
            raise
        except Dcm2niixFailed as failed:
            # A slice normal half-way between two axes it may take for its opposite, and fail: that depends on
            # the last digits. Of a patient who lies otherwise it makes what it should.
            with suppress(Dcm2niixFailed):
                return self._of(NeutralCopies(turned(placed), plain))
            raise failed

    def _of(self, copies: NeutralCopies) -> Converted:
        self._warnings.clear()
        if self._stored is None:
            frames = self._unchecked(copies)
            staged = self._write(frames, frames.dtype)
        else:
            try:
                staged = self._checked(copies, self._stored, usual_type(self._rescale))
            except DoesNotFit:
                staged = self._checked(copies, self._stored, type_of(self._stored, self._rescale))
        staged.commit()
        if needs_another_grid(self._volume):
            step_mm = even_grid_of(self._volume).step_mm
            how = f"slices were resampled to an even, straight grid, {step_mm:.4g} mm apart"
            self._warnings[how] = None
        return Converted(self._out, staged.sha256, tuple(self._warnings), converter_version())

    def _checked(self, copies: NeutralCopies, stored: StoredFrames, dtype: np.dtype[Any]) -> StagedFile:
        """Write the file, each frame compared; DoesNotFit where an intensity is not of the type."""
        values = Intensities(stored, self._rescale, dtype)
        with closing(Runs(self._timeout_s)) as runs:
            return self._write(self._compared(values, copies, runs), dtype)

    def _write(self, planes: Iterable[NDArray[Any]], dtype: np.dtype[Any]) -> StagedFile:
        """Write frames, each (rows from the bottom up, columns), on the grid that `grid_of` gives."""
        volume = self._volume
        if not needs_another_grid(volume):
            grid = slice_grid(volume)
            return stage(planes, grid.shape, dtype, grid.affine_ras, self._out)
        frames = np.empty((len(volume.frames), volume.rows, volume.columns), dtype)
        for frame, plane in zip(
            frames, planes, strict=True
        ):  # it also asks for the end, and so for the checks
            frame[:] = plane[::-1]
        even = even_grid_of(volume)
        shape = (even.columns, even.rows, even.count)
        return stage(on_even_grid(frames, even), shape, dtype, even.affine_ras, self._out)

    def _compared(self, values: Intensities, copies: NeutralCopies, runs: Runs) -> Generator[NDArray[Any]]:
        """All frames; behind the last one are the checks: each was compared with dcm2niix's, or it raises.

        A part's copies and values are written while the part before is compared, over those of the one before
        that. dcm2niix's warnings are added. A frame may change when the next is asked for.
        """
        volume, parts = copies.placed, _parts(copies.placed)
        most = max(part.stop - part.start for part in parts)
        buffers = [np.empty((most, volume.rows, volume.columns), values.dtype) for _ in parts[:2]]
        names = [[self._folder / f"{one}-{k:05d}.dcm" for k in range(most)] for one in range(len(buffers))]

        def compare(part: slice, frames: NDArray[Any], theirs: Unpacked) -> None:
            self._warnings.update(dict.fromkeys(theirs.warnings))
            scaled = _on_the_grid(theirs, _part_of(volume, part))
            differing = differing_frame(scaled, frames, values.rescale.of_frames(part))
            if differing is not None:
                number = part.start + differing + 1
                raise Disagreement(f"dcm2niix's voxels are not the pixels of frame {number}")

        comparing: Future[None] | None = None
        for part, frames, files in zip(parts, cycle(buffers), cycle(names)):
            numbers = range(part.start, part.stop)
            for number, frame, file in zip(numbers, frames, files, strict=False):
                values.fill(number, frame)
                copies.write(number, file)
                yield frame
            if comparing is not None:
                comparing.result()
            comparing = runs.begin(files[: len(numbers)], partial(compare, part, frames))
        if comparing is not None:
            comparing.result()

    def _unchecked(self, copies: NeutralCopies) -> NDArray[Any]:
        """All frames as dcm2niix gives them."""
        self._warnings[f"intensities were not verified: no decoder for {self._missing} is installed"] = None
        files = [self._folder / f"{number:05d}.dcm" for number in range(len(self._volume.frames))]
        for number, file in enumerate(files):
            copies.write(number, file)
        with Dcm2niix(files, self._timeout_s) as run:
            return unchecked_intensities(_on_the_grid(run.result(), copies.placed), self._rescale)


def _parts(volume: Volume) -> list[slice]:
    """What dcm2niix gets at a time: each part is as exact by itself as the whole, or it gets the whole."""
    count = len(volume.frames)
    several = round(count * volume.rows * volume.columns / PART_PIXELS)
    several = max(1, min(several, count // FEWEST_FRAMES))
    parts = [slice(*ends) for ends in pairwise(np.linspace(0, count, several + 1).astype(int).tolist())]
    return parts if all(is_exact(_part_of(volume, part)) for part in parts) else [slice(0, count)]


def _part_of(volume: Volume, part: slice) -> Volume:
    return replace(volume, frames=volume.frames[part], headers=volume.headers[part])


def _on_the_grid(unpacked: Unpacked, volume: Volume) -> Scaled:
    """What dcm2niix wrote, as frames with rows from the bottom up; its grid must be the slices' own but for
    axes and flips.
    """
    grid = slice_grid(volume)
    shape = unpacked.voxels.shape
    turn = turn_between(shape, unpacked.affine_ras, grid.shape, grid.affine_ras)
    if turn is None:
        raise Dcm2niixFailed(
            f"dcm2niix wrote {' x '.join(map(str, shape))} voxels, which are not {len(volume.frames)} frames "
            f"of {volume.rows} x {volume.columns}"
        )
    allowed = np.minimum(GRID_TOLERANCE + rounding_voxels(volume), MOST_OFF)
    if (np.array(turn.off_voxels) > allowed).any():
        off = ", ".join(f"{number:.4f}" for number in turn.off_voxels)
        most = ", ".join(f"{number:.4f}" for number in allowed)
        raise Disagreement(
            f"dcm2niix's grid is {off} voxels off along columns, rows and slices (allowed: {most}); its "
            "geometry cannot be trusted"
        )
    return Scaled(turn(unpacked.voxels).transpose(2, 1, 0), unpacked.slope, unpacked.intercept)
