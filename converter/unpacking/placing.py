"""Giving dcm2niix the frames of a volume, each as a single-frame file: as it lies, or as a copy.

It gets a list of exactly these files, and no folder to search.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from converter.errors import ConversionFailed
from converter.explicit_vr import PIXEL_DATA
from converter.series import Frame, Volume

from .decoding import NoDecoder, from_outside
from .pixels import StoredFrames
from .single_frames import SingleFrames

Place = Callable[[Frame, Path], Path]
"""Says where a frame is as a single-frame file: where it lies, or at the path that is given for a copy."""

_LONGEST_PATH = 2000
"""dcm2niix reads lines of up to 2,047 bytes."""


def placing(volume: Volume) -> Place:
    """Place frames as they are: a file that is a frame lies where it lies, of others a copy is made."""
    images = SingleFrames(volume)

    def place(frame: Frame, target: Path) -> Path:
        if frame.frame_number is None:
            return _as_it_lies(frame, target)
        images.place(frame, target)
        return target

    return place


def _as_it_lies(frame: Frame, target: Path) -> Path:
    """Leave a file that is a frame by itself where it is; whether it is there shows when it is read."""
    path = frame.path.absolute()
    line = os.fsencode(path)
    if b"\n" not in line and len(line) <= _LONGEST_PATH:
        return path
    target.symlink_to(path)
    return target


def place_all(frames: Sequence[Frame], place: Place, folder: Path) -> list[Path]:
    """Place frames, with copies in a folder; the files in the frames' order."""
    folder.mkdir(parents=True)
    return [place(frame, folder / f"{number:05d}.dcm") for number, frame in enumerate(frames)]


def write_list(files: Sequence[Path], path: Path) -> None:
    """List files as dcm2niix takes them."""
    path.write_bytes(b"".join(os.fsencode(file) + b"\n" for file in files))


def place_plain(volume: Volume, place: Place, folder: Path, timeout_s: float) -> list[Path]:
    """Place frames and rewrite each as explicit VR little endian, with only the bits that count.

    Raises
    ------
    ConversionFailed, OSError
    """
    sources = place_all(volume.frames, place, folder / "sources")
    try:
        stored = StoredFrames(volume, sources, folder, timeout_s)
    except NoDecoder as missing:
        raise ConversionFailed(
            f"no decoder for {missing} is installed; have the series sent uncompressed"
        ) from None
    files = []
    for number, source in enumerate(sources):
        files.append(folder / f"{number:05d}.dcm")
        with from_outside():
            _plain(source, stored[number]).save_as(files[-1], enforce_file_format=True)
    return files


def _plain(source: Path, pixels: NDArray[Any]) -> Dataset:
    dataset = dcmread(source)
    plain = Dataset()  # a new one: pydicom does not turn big endian around in place
    for element in dataset:
        if element.tag != PIXEL_DATA:
            plain.add(element)
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain.BitsStored = plain.BitsAllocated
    plain.HighBit = plain.BitsStored - 1
    plain.PixelData = pixels.astype(f"<i{plain.BitsAllocated // 8}").tobytes()
    plain["PixelData"].VR = "OW"
    return plain
