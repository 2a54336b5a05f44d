"""From a volume to a NIfTI: dcm2niix converts, and what it wrote is checked against the series.

dcm2niix exits with 0 on nearly everything: it is judged by its files and its warnings. What it resamples by
itself (`_Tilt_`, `_Eq_`) is not used: `straight` says why, and what is done instead.
The header is rebuilt: geometry, type and scaling only, so that nothing of the patient is left in it.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import ExplicitVRLittleEndian

from .errors import ConversionFailed
from .geometry import LPS_FROM_RAS, voxel_from_pixel
from .headers import DCM2NIIX_READS, numbers_of, transfer_syntax_of
from .series import Frame, Volume
from .single_frames import SingleFrames
from .straight import frames_of, is_exact, needs_another_grid, on_even_grid, straight_copies, straightened

TIMEOUT_S = 900
GRID_TOLERANCE = 0.05
"""In voxels: how far a frame's corner may lie from a voxel's centre of an unresampled grid."""
CHECKED_FRAMES = 3
"""So many frames' pixels are compared with the voxels that they became."""
COMPRESSION_LEVEL = 1
PIXEL_DATA = 0x7FE00010
_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
GRID_VERSION = 1
"""Changes whenever other voxels are made of the same slices here, after dcm2niix."""


@dataclass(frozen=True)
class Converted:
    """A NIfTI with the digest of its bytes, and what dcm2niix had to say."""

    path: Path
    sha256: str
    warnings: tuple[str, ...]
    converter_version: str


@dataclass(frozen=True)
class _Output:
    values: NDArray[Any]
    affine_ras: NDArray[np.float64]


def converter_version() -> str:
    """The converter's name and version; part of every job's identity."""
    return f"dcm2niix {metadata.version('dcm2niix')} grid {GRID_VERSION}"


def convert_volume(volume: Volume, out: Path) -> Converted:
    """Convert one volume.

    The voxels are the pixels of the frames, rescaled (PS3.3 C.11.1). Where slices lean or are unevenly
    spaced they are interpolated onto an even, right-angled grid, which a warning says.

    Parameters
    ----------
    out
        `.nii.gz` or `.nii`; written in one step. The same input gives the same bytes.

    Raises
    ------
    ConversionFailed
        dcm2niix wrote nothing usable, or what it wrote does not lie where the series lies.
    OSError
    """
    unpacked = volume if is_exact(volume) else straightened(volume)
    rescale = _rescale_of_frames(volume)
    varies = len(np.unique(rescale, axis=0)) > 1  # which dcm2niix ignores
    output, warnings = _converted(volume, is_as_it_is=unpacked is volume, as_stored=varies)
    if varies:
        output = _rescaled(output, unpacked, rescale)
    _check_grid(output, unpacked)
    _check_values(output, unpacked)
    if needs_another_grid(volume):
        frames = frames_of(output.values, output.affine_ras, unpacked)
        output = _Output(*on_even_grid(frames, volume))
        step_mm = np.linalg.norm(output.affine_ras[:3, 2])
        warnings = (*warnings, f"slices were resampled to an even, straight grid, {step_mm:.4g} mm apart")
    content = _nifti_bytes(output.values, output.affine_ras, compressed=out.name.endswith(".gz"))
    _write(out, content)
    return Converted(out, hashlib.sha256(content).hexdigest(), warnings, converter_version())


def _rescale_of_frames(volume: Volume) -> NDArray[np.float64]:
    """Slope and intercept of each frame (PS3.3 C.11.1), (frames, 2)."""
    pairs = [
        [(numbers_of(header, keyword, 1) or (default,))[0] for keyword, default in _RESCALE]
        for header in volume.headers
    ]
    return np.array(pairs)


def _rescaled(output: _Output, volume: Volume, rescale: NDArray[np.float64]) -> _Output:
    """Apply each frame's own slope and intercept to stored values; the grid is then the volume's own."""
    slope, intercept = (column[:, np.newaxis, np.newaxis] for column in rescale.T)
    frames = frames_of(output.values, output.affine_ras, volume) * slope + intercept
    return _Output(_compact(frames.transpose(2, 1, 0)), LPS_FROM_RAS @ volume.affine_lps)


def _converted(volume: Volume, *, is_as_it_is: bool, as_stored: bool) -> tuple[_Output, tuple[str, ...]]:
    """Run dcm2niix; on decompressed files where it does not know the codec, or wrote nothing."""
    syntaxes = {transfer_syntax_of(header) for header in volume.headers}
    images = SingleFrames(volume, as_stored=as_stored)
    place = images.place if is_as_it_is else straight_copies(volume, images)
    with tempfile.TemporaryDirectory(prefix="iris-convert-") as name:
        folder = Path(name)
        files: list[Path] = []
        warnings: tuple[str, ...] = ()
        if syntaxes <= DCM2NIIX_READS:
            files, warnings = _run(volume, folder / "as-is", place)
        if not files and any(syntax.is_compressed or syntax not in DCM2NIIX_READS for syntax in syntaxes):
            files, warnings = _run(volume, folder / "decompressed", _decompressed(place))
        if not files:
            raise ConversionFailed(
                "dcm2niix wrote no image" + (f" ({'; '.join(warnings)})" if warnings else "")
            )
        return _read_output(_chosen(files)), warnings


def _run(
    volume: Volume, folder: Path, place: Callable[[Frame, Path], None]
) -> tuple[list[Path], tuple[str, ...]]:
    source, target = folder / "in", folder / "out"
    source.mkdir(parents=True)
    target.mkdir()
    for number, frame in enumerate(volume.frames):
        place(frame, source / f"{number:05d}.dcm")
    command = [
        str(dcm2niix.bin),
        "-b",
        "n",
        "-z",
        "n",
        "-m",
        "y",
        "-p",  # scale as the standard's rescale attributes say, also where a vendor has others of its own
        "n",
        "-f",
        "volume",
        "-o",
        str(target),
        str(source),
    ]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ConversionFailed(f"dcm2niix did not end within {TIMEOUT_S} s") from None
    lines = (answer.stdout + answer.stderr).decode("utf-8", "replace").splitlines()
    warnings = tuple(
        dict.fromkeys(_harmless(line) for line in lines if line.startswith(("Warning", "Error")))
    )
    return sorted(target.glob("*.nii")), warnings


def _decompressed(place: Callable[[Frame, Path], None]) -> Callable[[Frame, Path], None]:
    """Have files placed, and rewrite each as explicit VR little endian."""

    def rewrite(frame: Frame, target: Path) -> None:
        placed = target.with_suffix(".placed")
        place(frame, placed)
        try:
            dataset = dcmread(placed)
            rewritten = Dataset()  # a new one: pydicom does not turn big endian around in place
            for element in dataset:
                if element.tag != PIXEL_DATA:
                    rewritten.add(element)
            rewritten.file_meta = FileMetaDataset()
            rewritten.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            pixels = dataset.pixel_array
            pixels = pixels.astype(pixels.dtype.newbyteorder("<"))
            rewritten.set_pixel_data(pixels, dataset.PhotometricInterpretation, dataset.BitsStored)
            rewritten.save_as(target, enforce_file_format=True)
        except Exception:  # whatever a codec raises on bytes from outside
            raise ConversionFailed(
                "an image's pixels cannot be decoded here; have the series sent uncompressed"
            ) from None
        finally:
            placed.unlink()

    return rewrite


def _harmless(line: str) -> str:
    """A warning without paths, dates or texts in quotes, which come from the header."""
    line = re.sub(r"\S*/\S*", "...", line.strip())
    line = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", line)
    return re.sub(r"\d{6,}", "...", line)[:200]


def _chosen(files: list[Path]) -> Path:
    """The one that holds the slices as they are."""
    plain = [path for path in files if "_Tilt" not in path.stem and "_Eq" not in path.stem]
    if len(plain) != 1:
        raise ConversionFailed(f"dcm2niix made {len(plain)} images of one volume; it cannot be one")
    return plain[0]


def _read_output(path: Path) -> _Output:
    image: Any = nib.load(path)
    if len(image.shape) != 3:
        raise ConversionFailed(f"dcm2niix wrote an image of {len(image.shape)} dimensions")
    return _Output(_compact(np.asanyarray(image.dataobj)), np.asarray(image.affine, np.float64))


def _compact(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as int16 where they fit; else 32 bits. Scaling is applied, so nobody can forget it."""
    low, high = float(values.min()), float(values.max())
    limits = np.iinfo(np.int16)
    fits = limits.min <= low and high <= limits.max
    if fits and (values.dtype.kind in "iu" or np.array_equal(values, np.rint(values.astype(np.float64)))):
        whole: NDArray[np.int16] = np.rint(values).astype(np.int16)
        return whole
    return values.astype(np.float32)


# -- checks -------------------------------------------------------------------------------------------------


def _check_grid(output: _Output, volume: Volume) -> None:
    """Every corner of every frame must be the centre of a voxel, and the shapes must agree."""
    shape = output.values.shape
    if sorted(shape) != sorted((volume.columns, volume.rows, len(volume.frames))):
        raise ConversionFailed(f"dcm2niix wrote {shape} voxels for {len(volume.frames)} frames")
    corners = [(c, r, 1) for c in (0, volume.columns - 1) for r in (0, volume.rows - 1)]
    for frame in range(len(volume.frames)):
        matrix = voxel_from_pixel(output.affine_ras, volume, frame)
        voxels = np.array(corners) @ matrix.T
        off = float(np.abs(voxels - np.rint(voxels)).max())
        inside = (np.rint(voxels) >= 0).all() and (np.rint(voxels) < shape).all()
        if not inside or off > GRID_TOLERANCE:
            raise ConversionFailed(
                f"dcm2niix's grid is {off:.2f} voxels off frame {frame + 1}; its geometry cannot be trusted"
            )


def _check_values(output: _Output, volume: Volume) -> None:
    """Compare the pixels of a few frames with the voxels that they became."""
    step = max(1, (len(volume.frames) - 1) // (CHECKED_FRAMES - 1))
    images = SingleFrames(volume)
    for frame in range(0, len(volume.frames), step):
        try:
            dataset = images.image(volume.frames[frame])
            pixels = apply_rescale(dataset.pixel_array, dataset)
        except Exception:  # no codec for it here: the geometry was checked without it
            return
        matrix = voxel_from_pixel(output.affine_ras, volume, frame)
        row, column = np.mgrid[: volume.rows, : volume.columns]
        index = np.rint(np.stack([column, row, np.ones_like(row)], axis=-1) @ matrix.T).astype(np.int64)
        voxels = output.values[index[..., 0], index[..., 1], index[..., 2]]
        if not np.allclose(voxels, pixels, rtol=1e-4, atol=0.51):
            raise ConversionFailed(f"dcm2niix's voxels are not the pixels of frame {frame + 1}")


# -- writing ------------------------------------------------------------------------------------------------


def write_labels(labels: NDArray[np.uint8], affine_ras: NDArray[np.float64], out: Path) -> None:
    """Write a label map, (i, j, k) uint8, in one step and with deterministic bytes.

    Raises
    ------
    OSError
    """
    _write(out, _nifti_bytes(labels, affine_ras, compressed=out.name.endswith(".gz")))


def _nifti_bytes(values: NDArray[Any], affine_ras: NDArray[np.float64], *, compressed: bool) -> bytes:
    """A NIfTI-1 file whose header says geometry and type, and nothing else."""
    image = nib.Nifti1Image(values, affine_ras, dtype=values.dtype)
    image.set_qform(affine_ras, code=1)
    image.set_sform(affine_ras, code=1)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return gzip.compress(content, COMPRESSION_LEVEL, mtime=0) if compressed else content


def _write(out: Path, content: bytes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.move(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
