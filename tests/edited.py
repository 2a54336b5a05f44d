"""Segmentations as viewers save them after somebody edited one of ours.

`as_dcmjs_does` writes what dcmjs 0.51 with Cornerstone's adapters writes (OHIF): bits, frames of non-empty
slices only, each with its source image; labels and colours, generic codes, 1 to n, nothing that tracks.
`by_dcmqi` lets dcmqi itself take one apart and put it together again (Slicer).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.native import _encode_row
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SegmentationStorage, generate_uid

from converter.series import Volume


def as_dcmjs_does(
    volume: Volume,
    masks: Mapping[str, np.ndarray],
    out: Path,
    *,
    predecessor: Path | None = None,
    is_compressed: bool = False,
    change: Callable[[Dataset], None] = lambda seg: None,
) -> Path:
    """Write one.

    Parameters
    ----------
    masks
        By label, (frames, rows, columns) of the volume.
    predecessor
        What it was edited from, as newer versions name it.
    is_compressed
        By run lengths, which newer versions do: of eight pixels a byte.
    """
    source = dcmread(volume.frames[0].path, stop_before_pixels=True)
    seg = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        setattr(seg, keyword, source.get(keyword, ""))
    seg.SOPClassUID, seg.SOPInstanceUID = SegmentationStorage, generate_uid(prefix="2.25.")
    seg.SeriesInstanceUID, seg.Modality, seg.SeriesNumber = generate_uid(prefix="2.25."), "SEG", 99
    seg.Manufacturer = seg.ManufacturerModelName = "Unspecified"
    seg.SeriesDescription, seg.ContentLabel = "Research Derived series", "SEGMENTATION"
    seg.SegmentationType, seg.Rows, seg.Columns = "BINARY", volume.rows, volume.columns
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PixelRepresentation = 1, "MONOCHROME2", 0
    seg.BitsAllocated = seg.BitsStored = 1
    seg.HighBit = 0
    references = [_reference(volume, number) for number in range(len(volume.frames))]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = volume.series_uid, references
    seg.ReferencedSeriesSequence = [series]
    seg.SharedFunctionalGroupsSequence = [_shared(volume)]
    seg.SegmentSequence = [_segment(number, label) for number, label in enumerate(masks, start=1)]
    frames = [
        (segment, number, mask[number])
        for segment, mask in enumerate(masks.values(), start=1)
        for number in range(len(volume.frames))
        if mask[number].any()
    ]
    seg.NumberOfFrames = len(frames)
    seg.PerFrameFunctionalGroupsSequence = [_groups(volume, number, segment) for segment, number, _ in frames]
    if predecessor is not None:
        _name_predecessor(seg, predecessor)
    change(seg)
    _put_pixels(seg, [plane for _, _, plane in frames], is_compressed=is_compressed)
    seg.save_as(out, enforce_file_format=True)
    return out


def _reference(volume: Volume, number: int) -> Dataset:
    item, frame = Dataset(), volume.frames[number]
    item.ReferencedSOPClassUID = dcmread(frame.path, stop_before_pixels=True).SOPClassUID
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    return item


def _shared(volume: Volume) -> Dataset:
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(volume.pixel_spacing_mm), 5.0
    orientation.ImageOrientationPatient = list(volume.orientation_lps)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    return shared


def _segment(number: int, label: str) -> Dataset:
    item, tissue = Dataset(), Dataset()
    tissue.CodeValue, tissue.CodingSchemeDesignator, tissue.CodeMeaning = "T-D0050", "SRT", "Tissue"
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, label, "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = item.SegmentedPropertyTypeCodeSequence = [tissue]
    item.RecommendedDisplayCIELabValue = [43803, 26565, 37722]
    return item


def _groups(volume: Volume, number: int, segment: int) -> Dataset:
    groups, derivation, position, identification = Dataset(), Dataset(), Dataset(), Dataset()
    derivation.SourceImageSequence = [_reference(volume, number)]
    position.ImagePositionPatient = list(volume.frames[number].position_lps_mm)
    identification.ReferencedSegmentNumber = segment
    groups.DerivationImageSequence, groups.PlanePositionSequence = [derivation], [position]
    groups.SegmentIdentificationSequence = [identification]
    return groups


def _name_predecessor(seg: Dataset, path: Path) -> None:
    before = dcmread(path, stop_before_pixels=True)
    study, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = before.SOPClassUID
    instance.ReferencedSOPInstanceUID = before.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = before.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = before.StudyInstanceUID, [series]
    seg.PredecessorDocumentsSequence = [study]


def _put_pixels(seg: Dataset, planes: list[np.ndarray], *, is_compressed: bool) -> None:
    seg.file_meta.TransferSyntaxUID = RLELossless if is_compressed else ExplicitVRLittleEndian
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    if is_compressed:
        seg.PixelData = encapsulate([_run_lengths(plane) for plane in planes])
    else:
        bits = np.concatenate([plane.ravel() for plane in planes]) if planes else np.zeros(0, bool)
        packed = np.packbits(bits, bitorder="little").tobytes()
        seg.PixelData = packed + b"\0" * (len(packed) % 2)
    seg["PixelData"].VR = "OB"


def _run_lengths(plane: np.ndarray) -> bytes:
    """One segment of packed bits behind its header (PS3.5 G.5)."""
    content = bytes(_encode_row(np.packbits(plane.ravel(), bitorder="little").tobytes()))
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    return header + content + b"\0" * (len(content) % 2)


def by_dcmqi(ours: Path, source: Path, folder: Path, edit: Callable[[str, np.ndarray], None]) -> Path:
    """Take one apart, edit each segment (its label, its voxels), and put it together again."""
    folder.mkdir()
    _dcmqi("segimage2itkimage", "--inputDICOM", ours, "--outputDirectory", folder, "-t", "nii")
    (meta_path,) = folder.glob("*.json")
    meta = json.loads(meta_path.read_text())
    images = sorted(folder.glob("*.nii.gz"), key=lambda path: int(path.name.split(".")[0].split("-")[-1]))
    for path, (described,) in zip(images, meta["segmentAttributes"], strict=True):
        image: Any = nib.load(path)
        voxels = np.asarray(image.dataobj).copy()
        value = int(voxels.max())
        edit(described["SegmentLabel"], voxels)
        nib.save(nib.Nifti1Image(np.where(voxels > 0, value, 0).astype(np.uint8), image.affine), path)
    meta |= {"SeriesDescription": "Segmentation", "ContentCreatorName": "Reader"}
    meta_path.write_text(json.dumps(meta))
    out = folder / "edited.dcm"
    _dcmqi(
        *("itkimage2segimage", "--inputImageList", ",".join(map(str, images)), "--inputDICOMDirectory"),
        *(source, "--outputDICOM", out, "--inputMetadata", meta_path),
    )
    return out


def _dcmqi(program: str, *options: object) -> None:
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found, "dcmqi is a development dependency of this project"
    answer = subprocess.run([found, *map(str, options)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
