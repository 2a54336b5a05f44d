"""Giving dcm2niix the frames of a volume, each as a single-frame file: as it lies, or as a copy.

It gets a list of exactly these files, and no folder to search.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from .errors import ConversionFailed
from .pixels import NoDecoder, frame_pixels
from .series import Frame, Volume
from .single_frames import SingleFrames

Place = Callable[[Frame, Path], Path]
"""Says where a frame is as a single-frame file: where it lies, or at the path that is given for a copy."""

PIXEL_DATA = 0x7FE00010
LIST_NAME = "images.txt"
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
    if b"\n" not in os.fsencode(path) and len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    target.symlink_to(path)
    return target


def place_all(frames: Sequence[Frame], place: Place, folder: Path) -> list[Path]:
    """Place frames, with copies in a folder, and list them there; the files in the frames' order."""
    copies = folder / "copies"
    copies.mkdir()
    files = [place(frame, copies / f"{number:05d}.dcm") for number, frame in enumerate(frames)]
    (folder / LIST_NAME).write_bytes(b"".join(os.fsencode(path) + b"\n" for path in files))
    return files


def rewritten(place: Place) -> Place:
    """Have frames placed, and rewrite each as explicit VR little endian, with only the bits that count."""

    def rewrite(frame: Frame, target: Path) -> Path:
        placed = target.with_suffix(".placed")
        source = place(frame, placed)
        try:
            with config.disable_value_validation():
                plain = _plain(source)
                plain.save_as(target, enforce_file_format=True)
        except NoDecoder as missing:
            raise ConversionFailed(
                f"no decoder for {missing} is installed; have the series sent uncompressed"
            ) from None
        finally:
            placed.unlink(missing_ok=True)
        return target

    return rewrite


def _plain(source: Path) -> Dataset:
    dataset = dcmread(source)
    pixels = frame_pixels(source, dataset)
    plain = Dataset()  # a new one: pydicom does not turn big endian around in place
    for element in dataset:
        if element.tag != PIXEL_DATA:
            plain.add(element)
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain.BitsAllocated = plain.BitsStored = 8 * pixels.dtype.itemsize
    plain.HighBit = plain.BitsStored - 1
    plain.PixelData = pixels.tobytes()
    plain["PixelData"].VR = "OW"
    return plain
