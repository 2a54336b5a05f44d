"""Headers that scanners, exports and de-identification leave, put onto phantoms for `cases.py`."""

import struct
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)
from scipy.spatial.transform import Rotation

from benchmarks.geometry.phantoms import Phantom, paint, places_mm
from converter.derived.series import decimal

TURN_DEGREES = 0.004
"""Of each slice against the one before; 25 of them stay below the 0.1 degrees of one stack."""
GE = "GE MEDICAL SYSTEMS"


# -- what neither geometry nor pixels nor volumes go by -----------------------------------------------------


def study_time(dataset: Dataset, number: int) -> None:
    """As some exports do: a Study Time for each image."""
    dataset.StudyTime = f"10{number:02}00"


def manufacturer(dataset: Dataset, number: int) -> None:
    """As where a workstation wrote some of the images."""
    dataset.Manufacturer = (GE, "SIEMENS", "Philips Medical Systems")[number % 3]


def no_instance_number(dataset: Dataset, number: int) -> None:
    """It is of type 2 or 3, and de-identification may take it."""
    del dataset.InstanceNumber


def with_command_elements(folder: Path) -> None:
    """A sender left (0000,0002) of its C-STORE before the data set; pydicom does not write such."""
    command = struct.pack("<HH2sH", 0, 2, b"UI", 26) + b"1.2.840.10008.5.1.4.1.1.2\0"
    for path in Phantom().write(folder):
        content = path.read_bytes()
        # Preamble, prefix and (0002,0000) are 144 bytes; what (0002,0000) counts comes behind them.
        begin = 144 + dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
        path.write_bytes(content[:begin] + command + content[begin:])


# -- what they do go by -------------------------------------------------------------------------------------


def turned(dataset: Dataset, number: int) -> None:
    """Turn a slice around its first pixel a little further than the one before, and paint it anew there."""
    turn = Rotation.from_rotvec(np.radians(TURN_DEGREES * number) * np.ones(3) / np.sqrt(3))
    cosines = turn.apply(np.reshape([float(v) for v in dataset.ImageOrientationPatient], (2, 3)))
    dataset.ImageOrientationPatient = decimal(cosines.ravel().tolist())
    dataset.PixelData = paint(places_mm(dataset)).astype("<i2").tobytes()


def twice(folder: Path) -> None:
    """As a PACS does that gave new UIDs to what was sent again."""
    for number, path in enumerate(Phantom().write(folder)):
        copy = dcmread(path)
        copy.SOPInstanceUID = UID(f"2.25.83{number:03}")
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
        copy.save_as(folder / f"copy_{path.name}")


def ge_polar(dataset: Dataset, number: int) -> None:
    """An echo-planar series of GE: slices numbered within their stack, which dcm2niix tries to go by."""
    _called(dataset, MRImageStorage, "MR")
    dataset.Manufacturer, dataset.ManufacturerModelName = GE, "DISCOVERY MR750"
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.MRAcquisitionType = "EP", "NONE", "2D"
    dataset.InstanceNumber = 25 - number
    dataset.InStackPositionNumber, dataset.StackID = number % 3 + 1, "1"
    dataset.ImagesInAcquisition = 75
    dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0xA2, "SL", number * 5)
    dataset.private_block(0x0021, "GEMS_RELA_01", create=True).add_new(0x4F, "SS", 25)


def pet(dataset: Dataset, number: int) -> None:
    """Counts instead of HU, scaled otherwise in each slice."""
    slope = 0.5 + 0.25 * number
    stored = np.maximum(np.rint(dataset.pixel_array / slope), 0)
    _called(dataset, PositronEmissionTomographyImageStorage, "PT")
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.Units = str(slope), "0", "BQML"
    dataset.SeriesType, dataset.DecayCorrection = ["STATIC", "IMAGE"], "START"
    dataset.ActualFrameDuration, dataset.FrameReferenceTime = 1000, 500.0 * number
    dataset.NumberOfSlices, dataset.ImageIndex = 25, number + 1
    dataset.PixelData = stored.astype("<i2").tobytes()


def tomogram(folder: Path) -> None:
    """One object of nuclear medicine, as its reconstruction makes it (PS3.3 C.8.4.8 to C.8.4.10)."""
    paths = Phantom().write(folder)
    image, *others = (dcmread(path) for path in paths)
    detector = Dataset()
    detector.ImagePositionPatient = image.ImagePositionPatient
    detector.ImageOrientationPatient = image.ImageOrientationPatient
    del image.ImagePositionPatient, image.ImageOrientationPatient
    _called(image, NuclearMedicineImageStorage, "NM")
    image.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    image.DetectorInformationSequence = [detector]
    image.NumberOfFrames, image.SliceVector = len(paths), list(range(1, len(paths) + 1))
    image.SpacingBetweenSlices = "3.2"
    image.PixelData += b"".join(other.PixelData for other in others)
    for path in paths:
        path.unlink()
    image.save_as(folder / "nm.dcm")


def _called(dataset: Dataset, sop_class: UID, modality: str) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.Modality = modality
