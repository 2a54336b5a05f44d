"""From a volume to a NIfTI on a grid of our own: dcm2niix unpacks, and every voxel is compared with ours.

The pixels are read here too (`pixels`), rescaled, and written, a part of the volume at a time, while dcm2niix
works on that part and the next. What it says of geometry and intensities is the second opinion: where the two
differ there is no result. What it resamples by itself (`_Tilt_`, `_Eq_`) is not used: `straight` says why,
and what is done instead.
"""

import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

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
    turned,
)
from .nifti_file import stage, write_labels
from .reading.headers import DCM2NIIX_READS, transfer_syntax_of
from .series import Volume
from .staged_file import StagedFile
from .unpacking.dcm2niix import TIMEOUT_S, Dcm2niixFailed, Unpacked, UnpackedParts
from .unpacking.decoding import NoDecoder
from .unpacking.intensities import (
    DoesNotFit,
    Intensities,
    Rescale,
    Scaled,
    differing_frame,
    type_of,
    unchecked_intensities,
    usual_type,
)
from .unpacking.pixels import StoredFrames
from .unpacking.placing import place_all, place_plain, placing
from .unpacking.straight import moved_copies, on_even_grid

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


def convert_volume(volume: Volume, out: Path, *, timeout_s: float = TIMEOUT_S) -> Converted:
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
    placed = volume if is_exact(volume) else straightened(volume)
    if {transfer_syntax_of(header) for header in volume.headers} <= DCM2NIIX_READS:
        with suppress(Dcm2niixFailed):
            return _Conversion(volume, placed, out, timeout_s).of_files()
    try:
        return _Conversion(volume, placed, out, timeout_s).of_plain_copies()  # it may read them better
    except Disagreement:
        raise
    except Dcm2niixFailed as failed:
        # A slice normal half-way between two axes it may take for its opposite, and fail: that depends on the
        # last digits. Of a patient who lies otherwise it makes what it should.
        with suppress(Dcm2niixFailed):
            return _Conversion(volume, turned(placed), out, timeout_s).of_plain_copies()
        raise failed


class _Conversion:
    """A volume on its way to a file, with dcm2niix reading its frames where they are in `placed`."""

    def __init__(self, volume: Volume, placed: Volume, out: Path, timeout_s: float) -> None:
        self._volume, self._placed, self._out, self._timeout_s = volume, placed, out, timeout_s
        self._place = placing(volume)
        if placed is not volume:
            self._place = moved_copies(volume, placed, self._place)

    def of_files(self) -> Converted:
        """Convert with their pixels as they are."""
        return self._of(lambda folder: place_all(self._volume.frames, self._place, folder))

    def of_plain_copies(self) -> Converted:
        """Convert copies with uncompressed pixels."""
        return self._of(lambda folder: place_plain(self._volume, self._place, folder, self._timeout_s))

    def _of(self, place: Callable[[Path], list[Path]]) -> Converted:
        with tempfile.TemporaryDirectory(prefix="iris-convert-") as name:
            folder = Path(name)
            files = place(folder / "in")
            try:
                staged, warnings = self._stage(files, folder, is_usual=True)
            except DoesNotFit:
                staged, warnings = self._stage(files, folder, is_usual=False)
            staged.commit()
        if needs_another_grid(self._volume):
            step_mm = even_grid_of(self._volume).step_mm
            warnings += (f"slices were resampled to an even, straight grid, {step_mm:.4g} mm apart",)
        return Converted(self._out, staged.sha256, warnings, converter_version())

    def _stage(
        self, files: Sequence[Path], folder: Path, *, is_usual: bool
    ) -> tuple[StagedFile, tuple[str, ...]]:
        """Write the file; DoesNotFit where the type of intensities was taken to be the usual one."""
        parts = _parts(self._placed)
        warnings: dict[str, None] = {}  # each once, in order
        with closing(UnpackedParts([files[part] for part in parts], self._timeout_s)) as unpacked:
            rescale = Rescale.of(self._volume.headers)
            try:
                stored = StoredFrames(self._volume, files, folder, self._timeout_s)
            except NoDecoder as missing:
                warnings[f"intensities were not verified: no decoder for {missing} is installed"] = None
                frames = self._unchecked(files, rescale)
                return self._write(frames, frames.dtype), tuple(warnings)
            dtype = usual_type(rescale) if is_usual else type_of(stored, rescale)
            values = Intensities(stored, rescale, dtype)
            planes = self._checked(values, parts, unpacked, warnings)
            return self._write(planes, dtype), tuple(warnings)

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

    def _checked(
        self, values: Intensities, parts: Sequence[slice], unpacked: UnpackedParts, warnings: dict[str, None]
    ) -> Generator[NDArray[Any]]:
        """All frames; behind the last one are the checks: each was compared with dcm2niix's, or it raises.

        dcm2niix's warnings are added. A frame may change when the next is asked for.
        """
        volume = self._placed

        def compare(part: slice, frames: NDArray[Any]) -> None:
            theirs = next(unpacked)
            warnings.update(dict.fromkeys(theirs.warnings))
            scaled = _on_the_grid(theirs, _part_of(volume, part))
            differing = differing_frame(scaled, frames, values.rescale.of_frames(part))
            if differing is not None:
                number = part.start + differing + 1
                raise Disagreement(f"dcm2niix's voxels are not the pixels of frame {number}")

        most = max(part.stop - part.start for part in parts)
        buffers = [np.empty((most, volume.rows, volume.columns), values.dtype) for _ in parts[:2]]
        comparing: Future[None] | None = None
        with (
            ThreadPoolExecutor(1) as beside,
            closing(unpacked),
        ):  # so that nothing waits for dcm2niix any more
            for part, frames in zip(parts, cycle(buffers)):
                for number, frame in zip(range(part.start, part.stop), frames, strict=False):
                    values.fill(number, frame)
                    yield frame
                if comparing is not None:
                    comparing.result()
                comparing = beside.submit(compare, part, frames)
            if comparing is not None:
                comparing.result()

    def _unchecked(self, files: Sequence[Path], rescale: Rescale) -> NDArray[Any]:
        """All frames as dcm2niix gives them."""
        with closing(UnpackedParts([files], self._timeout_s)) as whole:
            return unchecked_intensities(_on_the_grid(next(whole), self._placed), rescale)


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
