"""From a volume to a NIfTI: dcm2niix converts, and what it wrote is checked against the series.

dcm2niix exits with 0 on nearly everything: it is judged by its files and its warnings. Where slices are
tilted or unevenly spaced it writes a second, resampled file (`_Tilt_`, `_Eq_`), which is what engines need.
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
from pydicom import dcmread
from pydicom.pixels.processing import apply_rescale

from .errors import ConversionFailed
from .geometry import voxel_from_pixel
from .series import Volume

TIMEOUT_S = 900
GRID_TOLERANCE = 0.05
"""In voxels: how far a frame's corner may lie from a voxel's centre of an unresampled grid."""
CHECKED_FRAMES = 3
"""So many frames' pixels are compared with the voxels that they became."""
COMPRESSION_LEVEL = 1


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
    is_resampled: bool


def converter_version() -> str:
    """The converter's name and version; part of every job's identity."""
    return f"dcm2niix {metadata.version('dcm2niix')}"


def convert_volume(volume: Volume, out: Path) -> Converted:
    """Convert one volume.

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
    output, warnings = _converted(volume)
    if output.is_resampled:
        _check_overlap(output, volume)
    else:
        _check_grid(output, volume)
        _check_values(output, volume)
    content = _nifti_bytes(output.values, output.affine_ras, compressed=out.name.endswith(".gz"))
    _write(out, content)
    return Converted(out, hashlib.sha256(content).hexdigest(), warnings, converter_version())


def _converted(volume: Volume) -> tuple[_Output, tuple[str, ...]]:
    """Run dcm2niix; a second time on decompressed files where it wrote nothing for compressed ones."""
    with tempfile.TemporaryDirectory(prefix="iris-convert-") as name:
        folder = Path(name)
        files, warnings = _run(volume, folder / "as-is", _link)
        is_compressed = any(_transfer_syntax_is_compressed(header) for header in volume.headers)
        if not files and is_compressed:
            files, warnings = _run(volume, folder / "decompressed", _decompress)
        if not files:
            raise ConversionFailed(
                "dcm2niix wrote no image" + (f" ({'; '.join(warnings)})" if warnings else "")
            )
        return _read_output(_chosen(files)), warnings


def _transfer_syntax_is_compressed(header: object) -> bool:
    meta = getattr(header, "file_meta", None)
    return bool(meta is not None and meta.TransferSyntaxUID.is_compressed)


def _run(
    volume: Volume, folder: Path, place: Callable[[Path, Path], None]
) -> tuple[list[Path], tuple[str, ...]]:
    source, target = folder / "in", folder / "out"
    source.mkdir(parents=True)
    target.mkdir()
    for number, frame in enumerate(volume.frames):
        place(frame.path, source / f"{number:05d}.dcm")
    command = [
        str(dcm2niix.bin),
        "-b",
        "n",
        "-z",
        "n",
        "-m",
        "y",
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


def _link(source: Path, target: Path) -> None:
    target.symlink_to(source.resolve())


def _decompress(source: Path, target: Path) -> None:
    dataset = dcmread(source)
    try:
        dataset.decompress()
    except Exception:  # whatever a codec raises on bytes from outside
        raise ConversionFailed("an image's pixel data cannot be decompressed; see the codecs") from None
    dataset.save_as(target)


def _harmless(line: str) -> str:
    """A warning without paths, dates or texts in quotes, which come from the header."""
    line = re.sub(r"\S*/\S*", "...", line.strip())
    line = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", line)
    return re.sub(r"\d{6,}", "...", line)[:200]


def _chosen(files: list[Path]) -> Path:
    """The resampled file where there is one; otherwise there must be exactly one."""
    resampled = [path for path in files if "_Tilt" in path.stem or "_Eq" in path.stem]
    if resampled:
        return max(resampled, key=lambda path: ("_Eq" in path.stem, len(path.stem)))
    if len(files) > 1:
        raise ConversionFailed(f"dcm2niix made {len(files)} images of one volume; it cannot be one")
    return files[0]


def _read_output(path: Path) -> _Output:
    image: Any = nib.load(path)
    if len(image.shape) != 3:
        raise ConversionFailed(f"dcm2niix wrote an image of {len(image.shape)} dimensions")
    resampled = "_Tilt" in path.stem or "_Eq" in path.stem
    return _Output(_compact(np.asanyarray(image.dataobj)), np.asarray(image.affine, np.float64), resampled)


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
        if not inside or off > _tolerance(volume):
            raise ConversionFailed(
                f"dcm2niix's grid is {off:.2f} voxels off frame {frame + 1}; its geometry cannot be trusted"
            )


def _tolerance(volume: Volume) -> float:
    """A stack with a gap has no even grid: its frames are told apart by their values instead."""
    return 0.5 if volume.has_finding("gap") or volume.has_finding("uneven_spacing") else GRID_TOLERANCE


def _check_values(output: _Output, volume: Volume) -> None:
    """Compare the pixels of a few frames with the voxels that they became."""
    step = max(1, (len(volume.frames) - 1) // (CHECKED_FRAMES - 1))
    for frame in range(0, len(volume.frames), step):
        try:
            dataset = dcmread(volume.frames[frame].path)
            pixels = apply_rescale(dataset.pixel_array, dataset)
        except Exception:  # no codec for it here: the geometry was checked without it
            return
        matrix = voxel_from_pixel(output.affine_ras, volume, frame)
        row, column = np.mgrid[: volume.rows, : volume.columns]
        index = np.rint(np.stack([column, row, np.ones_like(row)], axis=-1) @ matrix.T).astype(np.int64)
        voxels = output.values[index[..., 0], index[..., 1], index[..., 2]]
        if not np.allclose(voxels, pixels, rtol=1e-4, atol=0.51):
            raise ConversionFailed(f"dcm2niix's voxels are not the pixels of frame {frame + 1}")


def _check_overlap(output: _Output, volume: Volume) -> None:
    """Resampled: every frame's centre must lie within the grid."""
    centre = np.array([(volume.columns - 1) / 2, (volume.rows - 1) / 2, 1])
    for frame in range(len(volume.frames)):
        voxel = voxel_from_pixel(output.affine_ras, volume, frame) @ centre
        if (voxel < -1).any() or (voxel > np.array(output.values.shape)).any():
            raise ConversionFailed(f"dcm2niix's resampled grid does not hold frame {frame + 1}")


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
