"""Putting the frames of a volume where dcm2niix finds them: one file a frame, and nothing else there."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from .errors import ConversionFailed
from .pixels import NoDecoder, frame_pixels
from .series import Frame

PIXEL_DATA = 0x7FE00010

Place = Callable[[Frame, Path], None]
"""Puts a frame as a single-frame DICOM file at a path."""


def link(frame: Frame, target: Path) -> None:
    """Place a file that is a frame by itself; whether it is still there shows when its pixels are read."""
    target.symlink_to(frame.path.absolute())


def place_all(frames: Sequence[Frame], place: Place, folder: Path) -> list[Path]:
    """Place frames in a folder; the files in their order."""
    files = [folder / f"{number:05d}.dcm" for number in range(len(frames))]
    for frame, path in zip(frames, files, strict=True):
        place(frame, path)
    return files


def rewritten(place: Place) -> Place:
    """Have frames placed, and rewrite each as explicit VR little endian, with only the bits that count."""

    def rewrite(frame: Frame, target: Path) -> None:
        placed = target.with_suffix(".placed")
        place(frame, placed)
        try:
            with config.disable_value_validation():
                dataset = dcmread(placed)
                pixels = frame_pixels(placed, dataset)
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
                plain.save_as(target, enforce_file_format=True)
        except NoDecoder as missing:
            raise ConversionFailed(
                f"no decoder for {missing} is installed; have the series sent uncompressed"
            ) from None
        finally:
            placed.unlink(missing_ok=True)

    return rewrite
