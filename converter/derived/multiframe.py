"""The same slices as one enhanced multi-frame object: for tests, demos and benchmarks, not for patients."""

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian

from ..uids import derived_uid
from .series import (
    MadeUpStudy,
    SliceStack,
    add_patient_and_study,
    add_pixel_description,
    content_digest,
    decimal,
)


def write_multiframe(stack: SliceStack, path: Path, study: MadeUpStudy | None = None) -> Dataset:
    """Write slices as an Enhanced CT or Enhanced MR image (PS3.3 A.38, A.36), a frame each, in their order.

    What all frames share stands in the shared functional groups, each frame's position in its own.

    Returns
    -------
    Dataset
        What was written; change it and save it again for another object.
    """
    study = study or MadeUpStudy()
    root = content_digest(stack, study)
    image = Dataset()
    image.preamble, image.file_meta = bytes(128), FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    add_patient_and_study(image, root, study)
    is_ct = study.modality == "CT"
    image.SOPClassUID = EnhancedCTImageStorage if is_ct else EnhancedMRImageStorage
    image.SOPInstanceUID = derived_uid(root, "multi-frame instance")
    image.SeriesInstanceUID = derived_uid(root, "multi-frame series")
    image.FrameOfReferenceUID = derived_uid(root, "frame of reference")
    image.PositionReferenceIndicator = ""
    image.Modality = study.modality
    image.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    image.PatientPosition = study.patient_position
    image.Manufacturer = "Derived from a NIfTI volume"
    image.SeriesNumber, image.InstanceNumber = study.series_number, 1
    image.SeriesDescription = image.ProtocolName = study.series_description
    image.NumberOfFrames = len(stack.pixels)
    add_pixel_description(image, *stack.pixels.shape[1:])
    image.SharedFunctionalGroupsSequence = [_shared_groups(stack, is_ct=is_ct)]
    image.PerFrameFunctionalGroupsSequence = [
        _groups_of_frame(stack, number) for number in range(len(stack.pixels))
    ]
    image.PixelData = np.ascontiguousarray(stack.pixels).astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return image


def _shared_groups(stack: SliceStack, *, is_ct: bool) -> Dataset:
    groups = Dataset()
    groups.PixelMeasuresSequence = [_item(PixelSpacing=decimal(stack.pixel_spacing_mm))]
    groups.PlaneOrientationSequence = [_item(ImageOrientationPatient=decimal(stack.orientation_lps))]
    rescale_type = "HU" if is_ct else "US"
    groups.PixelValueTransformationSequence = [
        _item(RescaleIntercept=0, RescaleSlope=1, RescaleType=rescale_type)
    ]
    frame_type = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    if is_ct:
        groups.CTImageFrameTypeSequence = [_item(FrameType=frame_type)]
        groups.CTXRayDetailsSequence = [_item(KVP=120)]
    else:
        groups.MRImageFrameTypeSequence = [_item(FrameType=frame_type, ComplexImageComponent="MAGNITUDE")]
        groups.MREchoSequence = [_item(EffectiveEchoTime=2.0)]
    return groups


def _groups_of_frame(stack: SliceStack, number: int) -> Dataset:
    groups = Dataset()
    groups.PlanePositionSequence = [_item(ImagePositionPatient=decimal(stack.positions_lps_mm[number]))]
    groups.FrameContentSequence = [
        _item(StackID="1", InStackPositionNumber=number + 1, FrameAcquisitionNumber=1)
    ]
    return groups


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
