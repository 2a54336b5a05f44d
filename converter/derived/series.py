"""A DICOM series from a NIfTI volume or from an array: for tests, demos and benchmarks, not for patients.

What is written is uncompressed CT or MR with a made-up patient; the same input gives the same bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from ..uids import derived_uid
from ..voxels.geometry import lps_from_voxel

MADE_ON = "20240102"
MADE_AT = "101112"


@dataclass(frozen=True)
class SliceStack:
    """Pixels with their place: (frames, rows, columns) int16 in HU or arbitrary units, in LPS mm.

    `orientation_lps` holds row cosines, then column cosines; `pixel_spacing_mm` the distance between rows,
    then between columns; `positions_lps_mm` the centre of each frame's first pixel.
    """

    pixels: NDArray[np.int16]
    orientation_lps: Sequence[float]
    pixel_spacing_mm: tuple[float, float]
    positions_lps_mm: Sequence[Sequence[float]]


@dataclass(frozen=True)
class MadeUpStudy:
    """What the headers say; equal values and equal pixels give equal UIDs."""

    patient_name: str = "Demo^Torso"
    patient_id: str = "IRIS-DEMO-2"
    modality: str = "CT"
    study_description: str = "Derived study"
    series_description: str = "Derived series"
    series_number: int = 3
    patient_position: str = "HFS"
    character_set: str = "ISO_IR 192"


def write_series(
    nifti: Path,
    folder: Path,
    *,
    patient_name: str = "Demo^Torso",
    patient_id: str = "IRIS-DEMO-2",
    modality: str = "CT",
    series_description: str = "Derived series",
) -> list[Path]:
    """Write a NIfTI volume as a DICOM series, one file a slice along its third axis.

    Parameters
    ----------
    nifti
        A 3D volume with an even, right-angled grid; values are rounded to int16.
    folder
        Made when it is not there; `0001.dcm` and so on.

    Returns
    -------
    list of Path
        The files in the order of the third axis.
    """
    study = MadeUpStudy(
        patient_name=patient_name,
        patient_id=patient_id,
        modality=modality,
        series_description=series_description,
    )
    return write_slices(stack_of(nifti), folder, study)


def stack_of(nifti: Path) -> SliceStack:
    """Read a NIfTI volume (i, j, k) as slices: columns along i, rows along j, frames along k."""
    image: Any = nib.load(nifti)
    values = np.asanyarray(image.dataobj)
    # Rows run to the back in nearly all axial DICOM images: turn the axis that runs to the front around.
    affine = lps_from_voxel(np.asarray(image.affine, np.float64))
    for axis in (0, 1):
        if affine[np.abs(affine[:3, axis]).argmax(), axis] < 0:
            values = np.flip(values, axis)
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return SliceStack(
        pixels=np.rint(values).astype(np.int16).transpose(2, 1, 0),
        orientation_lps=[*(affine[:3, 0] / spacing[0]), *(affine[:3, 1] / spacing[1])],
        pixel_spacing_mm=(float(spacing[1]), float(spacing[0])),
        positions_lps_mm=[(affine[:3, 3] + affine[:3, 2] * k).tolist() for k in range(values.shape[2])],
    )


def write_slices(stack: SliceStack, folder: Path, study: MadeUpStudy | None = None) -> list[Path]:
    """Write slices with any direction and any positions as a DICOM series, `0001.dcm` and so on."""
    study = study or MadeUpStudy()
    folder.mkdir(parents=True, exist_ok=True)
    root = content_digest(stack, study)
    paths = []
    for number in range(len(stack.pixels)):
        path = folder / f"{number + 1:04}.dcm"
        _slice(stack, number, root, study).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def content_digest(stack: SliceStack, study: MadeUpStudy) -> str:
    """What UIDs are derived from: SHA-256, lower-case hex, of pixels, place and study."""
    content = hashlib.sha256(np.ascontiguousarray(stack.pixels).tobytes())
    content.update(repr((study, _numbers(stack))).encode())
    return content.hexdigest()


def _numbers(stack: SliceStack) -> list[list[float]]:
    numbers = [stack.orientation_lps, stack.pixel_spacing_mm, *stack.positions_lps_mm]
    return [[float(value) for value in line] for line in numbers]


def _slice(stack: SliceStack, number: int, root: str, study: MadeUpStudy) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    add_patient_and_study(image, root, study)
    image.SOPClassUID = CTImageStorage if study.modality == "CT" else MRImageStorage
    image.SOPInstanceUID = derived_uid(root, "instance", str(number))
    image.SeriesInstanceUID = derived_uid(root, "series")
    image.FrameOfReferenceUID = derived_uid(root, "frame of reference")
    image.PositionReferenceIndicator = ""
    image.Modality = study.modality
    image.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    image.Manufacturer = "Derived from a NIfTI volume"
    image.PatientPosition = study.patient_position
    image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = study.series_number, 1, number + 1
    image.SeriesDescription = study.series_description
    image.ProtocolName = study.series_description
    image.ImagePositionPatient = decimal(stack.positions_lps_mm[number])
    image.ImageOrientationPatient = decimal(stack.orientation_lps)
    image.PixelSpacing = decimal(stack.pixel_spacing_mm)
    image.SliceThickness = _thickness(stack)
    _add_pixels(image, np.ascontiguousarray(stack.pixels[number]), study.modality)
    return image


def _thickness(stack: SliceStack) -> str:
    """The median step along the slice normal; empty, as the standard allows, for one slice."""
    if len(stack.positions_lps_mm) < 2:
        return ""
    normal = np.cross(stack.orientation_lps[:3], stack.orientation_lps[3:])
    heights = np.sort(np.array(stack.positions_lps_mm) @ normal)
    return format_number_as_ds(round(float(np.median(np.diff(heights))), 4))


def add_patient_and_study(image: Dataset, root: str, study: MadeUpStudy) -> None:
    """Set what says whose image it is; `root` is what the UIDs are derived from."""
    image.SpecificCharacterSet = study.character_set
    image.PatientName, image.PatientID = study.patient_name, study.patient_id
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyInstanceUID = derived_uid(root, "study")
    image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "1", "DEMO0002", ""
    image.StudyDescription = study.study_description
    for prefix in ("Study", "Series", "Acquisition", "Content"):
        setattr(image, f"{prefix}Date", MADE_ON)
        setattr(image, f"{prefix}Time", MADE_AT)


def add_pixel_description(image: Dataset, rows: int, columns: int) -> None:
    """Describe signed 16-bit grey pixels (PS3.3 C.7.6.3)."""
    image.Rows, image.Columns = rows, columns
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1


def _add_pixels(image: Dataset, pixels: NDArray[np.int16], modality: str) -> None:
    add_pixel_description(image, *pixels.shape)
    if modality == "CT":
        image.KVP = 120
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "HU"
        image.WindowCenter, image.WindowWidth = 40, 400
    else:
        image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "GR", "NONE", ""
        image.MRAcquisitionType, image.EchoTime, image.EchoTrainLength = "3D", 2, 1
    image.PixelData = pixels.astype("<i2").tobytes()


def decimal(values: Sequence[float]) -> list[str]:
    """Numbers as decimal strings (PS3.5 6.2, DS)."""
    return [format_number_as_ds(float(value)) for value in values]
