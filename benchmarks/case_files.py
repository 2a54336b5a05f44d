"""Makes what is measured: a CT series, its label map, and what the peers need beside them.

Run as `python -m benchmarks.case_files FOLDER [--small]`, in a process of its own: the one that measures
stays small, since its size would show in the peak memory of what it starts.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCANNER: Final[dict[str, Any]] = {
    "InstitutionName": "Benchmark",
    "StationName": "CT1",
    "InstitutionalDepartmentName": "Radiology",
    "ManufacturerModelName": "Made up",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "HELICAL MODE",
    "DataCollectionDiameter": 500,
    "DeviceSerialNumber": "1",
    "SoftwareVersions": "1",
    "ReconstructionDiameter": 409.6,
    "DistanceSourceToDetector": 949,
    "DistanceSourceToPatient": 541,
    "GantryDetectorTilt": 0,
    "TableHeight": 150,
    "RotationDirection": "CW",
    "ExposureTime": 500,
    "XRayTubeCurrent": 300,
    "Exposure": 150,
    "FilterType": "BODY FILTER",
    "GeneratorPower": 36000,
    "FocalSpots": [1.2, 1.2],
    "DateOfLastCalibration": "20240101",
    "TimeOfLastCalibration": "060000",
    "ConvolutionKernel": "STANDARD",
    "RevolutionTime": 0.5,
    "SingleCollimationWidth": 0.625,
    "TotalCollimationWidth": 40.0,
    "TableSpeed": 78.75,
    "TableFeedPerRotation": 39.375,
    "SpiralPitchFactor": 0.984375,
    "ExposureModulationType": "XYZ_EC",
    "CTDIvol": 9.1,
    "PatientAge": "054Y",
    "PatientWeight": 80,
    "PerformedProcedureStepStartDate": "20240102",
    "PerformedProcedureStepStartTime": "101000",
    "PerformedProcedureStepID": "1",
}
"""What a scanner says about itself and the exposure."""

SMALL_STRUCTURES: Final = 15
"""The small study has the first ones only: to describe segments takes a time of its own."""


@dataclass(frozen=True)
class CaseFiles:
    """A folder with everything that the contenders read."""

    folder: Path

    @property
    def series(self) -> Path:
        """One CT file a slice, uncompressed."""
        return self.folder / "series"

    @property
    def labels(self) -> Path:
        """The label map on the grid and in the orientation that dcm2niix gives the series."""
        return self.folder / "labels.nii.gz"

    @property
    def segments(self) -> Path:
        """Label value, name, codes and colour of each structure, for peers that are called from Python."""
        return self.folder / "segments.json"

    @property
    def dcmqi_metadata(self) -> Path:
        """The same as dcmqi wants it."""
        return self.folder / "dcmqi.json"

    @property
    def segmentation(self) -> Path:
        """The same labels as a BINARY DICOM-SEG that highdicom wrote; every reader reads this one."""
        return self.folder / "segmentation.dcm"

    @property
    def facts(self) -> Path:
        """What is in it, in numbers, and of which version; written last."""
        return self.folder / "facts.json"

    def read_facts(self) -> dict[str, Any]:
        """Nothing where the folder is not made, or made by another version of this file."""
        try:
            facts: dict[str, Any] = json.loads(self.facts.read_text())
        except (OSError, ValueError):
            return {}
        return facts if facts.get("version") == _version() else {}


def _version() -> str:
    here = Path(__file__).parent
    parts = (here / name for name in ("anatomy.py", "shapes.py", "case_files.py", "with_highdicom.py"))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]


def make(files: CaseFiles, *, small: bool) -> None:
    """Make the folder anew."""
    import nibabel as nib
    import numpy as np

    from benchmarks import with_highdicom
    from benchmarks.anatomy import drawn, hounsfield
    from benchmarks.names import names_of_total
    from converter.derived.series import MadeUpStudy, SliceStack, write_slices

    shutil.rmtree(files.folder, ignore_errors=True)
    files.folder.mkdir(parents=True)
    table = names_of_total()
    names = dict(list(table.items())[: SMALL_STRUCTURES if small else None])
    values = {name: value for value, name in names.items()}
    labels = drawn(values, small)
    pixel_mm, slice_mm = (4.5, 9.0) if small else (0.8, 1.5)
    corner_mm = -pixel_mm * (labels.shape[1] - 1) / 2
    stack = SliceStack(
        pixels=hounsfield(labels, values),
        orientation_lps=[1, 0, 0, 0, 1, 0],
        pixel_spacing_mm=(pixel_mm, pixel_mm),
        positions_lps_mm=[[corner_mm, corner_mm, slice_mm * number] for number in range(len(labels))],
    )
    study = MadeUpStudy("Full^Size", "IRIS-BENCH", series_description="Benchmark")
    for path in write_slices(stack, files.series, study):
        _add_what_scanners_say(path, slice_mm)
    affine = np.diag([-pixel_mm, pixel_mm, slice_mm, 1.0])
    affine[:3, 3] = [-corner_mm, corner_mm, 0]
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0)[:, ::-1], affine), files.labels)
    _write_segments(files, names)
    with_highdicom.encode("BINARY", files.series, files.labels, files.segments, files.segmentation)
    present = [int(np.count_nonzero(np.bincount(plane.ravel(), minlength=256)[1:])) for plane in labels]
    facts = {
        "version": _version(),
        "slices": len(labels),
        "rows": labels.shape[1],
        "columns": labels.shape[2],
        "structures": len(names),
        "segment_frames": sum(present),
    }
    files.facts.write_text(json.dumps(facts, indent=2))


def _add_what_scanners_say(path: Path, slice_mm: float) -> None:
    """Make the header as long as a real one: what is read of it takes a large part of some times."""
    from pydicom import dcmread

    image = dcmread(path)
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SliceThickness, image.SpacingBetweenSlices = slice_mm, slice_mm
    image.SliceLocation = image.ImagePositionPatient[2]
    for keyword, value in SCANNER.items():
        setattr(image, keyword, value)
    private = image.private_block(0x0029, "BENCHMARK HEADER", create=True)
    for number in range(24):
        private.add_new(number, "LO", f"made-up private value {number}")
    private.add_new(0x40, "OB", bytes(4096))
    image.save_as(path, enforce_file_format=True)


def _write_segments(files: CaseFiles, names: dict[int, str]) -> None:
    from converter.terminology import Code, structure

    def triplet(code: Code) -> dict[str, str]:
        return {
            "CodeValue": code.value,
            "CodingSchemeDesignator": code.scheme,
            "CodeMeaning": code.meaning,
        }

    segments = []
    for value, name in names.items():
        found = structure(name)
        segments.append(
            {
                "labelID": value,
                "SegmentLabel": name,
                "SegmentDescription": name,
                "SegmentAlgorithmType": "AUTOMATIC",
                "SegmentAlgorithmName": "benchmark",
                "SegmentedPropertyCategoryCodeSequence": triplet(found.category),
                "SegmentedPropertyTypeCodeSequence": triplet(found.type),
                "recommendedDisplayRGBValue": list(found.rgb),
            }
        )
    files.segments.write_text(json.dumps(segments, indent=1))
    metadata = {
        "ContentCreatorName": "Benchmark",
        "SeriesDescription": "Benchmark",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "BodyPartExamined": "",
        "segmentAttributes": [segments],
    }
    files.dcmqi_metadata.write_text(json.dumps(metadata, indent=1))


if __name__ == "__main__":
    make(CaseFiles(Path(sys.argv[1])), small="--small" in sys.argv)
