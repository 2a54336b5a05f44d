"""The usual ways from a DICOM series to a DICOM-SEG, as people put them together of other people's parts.

Each takes a folder of DICOM files, lets the stand-in engine mark what it sees, and writes a segmentation.
They raise whatever the parts raise.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dcm2niix
import dcmqi
import highdicom as hd
import nibabel as nib
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from benchmarks.geometry.engine import NAMES, Engine

TIMEOUT_S = 600
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Way = Callable[[Path, Path, Engine, Path], None]
"""Takes the DICOM folder, one NIfTI that dcm2niix made of it, the engine, and the segmentation to write."""


class NoResult(Exception):
    """A program ended without a segmentation."""


def niftis(dicom: Path, folder: Path) -> list[Path]:
    """Run dcm2niix on the folder as most people do; the images that it wrote."""
    folder.mkdir()
    command = [str(dcm2niix.bin), "-z", "y", "-b", "n", "-f", "image", "-o", str(folder), str(dicom)]
    subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    return sorted(folder.glob("*.nii.gz"))


def image_of(nifti: Path) -> Any:
    """A NIfTI of three dimensions; NoResult for others, with which all these recipes end."""
    image: Any = nib.load(nifti)
    if image.ndim != 3:
        raise NoResult(f"dcm2niix wrote an image of {image.ndim} dimensions")
    return image


def by_fixed_flips(dicom: Path, nifti: Path, engine: Engine, out: Path) -> None:
    """Transpose to (slices, rows, columns), turn the rows around, slices sorted by z: for axial images.

    The recipe of most answers and notebooks: dcm2niix keeps columns and turns rows around.
    """
    labels = engine.mark(image_of(nifti).get_fdata())
    slices = [dcmread(path) for path in dicom.iterdir()]
    slices.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    _encoded(slices, np.ascontiguousarray(labels.transpose(2, 1, 0)[:, ::-1]), out)


def by_affines(dicom: Path, nifti: Path, engine: Engine, out: Path) -> None:
    """Match the NIfTI's affine to the series' with highdicom's volumes: the careful way."""
    image = image_of(nifti)
    slices = [dcmread(path) for path in sorted(dicom.iterdir())]
    if len(slices) == 1 and "NumberOfFrames" in slices[0]:
        source = hd.imread(sorted(dicom.iterdir())[0]).get_volume()
    else:
        source = hd.get_volume_from_series(slices)
    labels = hd.Volume(
        engine.mark(np.asanyarray(image.dataobj)),
        LPS_FROM_RAS @ image.affine,
        coordinate_system="PATIENT",
        frame_of_reference_uid=source.frame_of_reference_uid,
    )
    # NIfTI affines are 32-bit: with highdicom's own tolerance none would match.
    _encoded(slices, labels.match_geometry(source.get_geometry(), tol=1e-3), out)


def by_dcmqi(dicom: Path, nifti: Path, engine: Engine, out: Path) -> None:
    """Give dcmqi's itkimage2segimage the label map on dcm2niix's grid."""
    image = image_of(nifti)
    label_file = out.with_name(f"{out.stem}-labels.nii.gz")
    nib.save(nib.Nifti1Image(engine.mark(np.asanyarray(image.dataobj)), image.affine), label_file)
    _written_by_dcmqi(dicom, label_file, out)


def _written_by_dcmqi(dicom: Path, label_file: Path, out: Path) -> None:
    labels: Any = nib.load(label_file)
    metadata = out.with_name(f"{out.stem}.json")
    metadata.write_text(json.dumps(_dcmqi_metadata(np.asanyarray(labels.dataobj))))
    program = Path(dcmqi.__file__).parent / "bin" / "itkimage2segimage"
    command = [
        *(str(program), "--inputImageList", str(label_file), "--inputDICOMDirectory", str(dicom)),
        *("--inputMetadata", str(metadata), "--outputDICOM", str(out), "--noDicomValueChecks"),
    ]
    answer = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False, text=True)
    _must_have_written(out, answer)


def _must_have_written(out: Path, answer: subprocess.CompletedProcess[str]) -> None:
    if not out.exists():
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        raise NoResult(f"exit status {answer.returncode}: {lines[-1] if lines else ''}"[:120])


WAYS: dict[str, Way] = {"fixed_flips": by_fixed_flips, "affines": by_affines, "dcmqi": by_dcmqi}


def by_totalsegmentator(python: Path, dicom: Path, engine: Engine, out: Path) -> None:
    """Run TotalSegmentator's own DICOM in, DICOM-SEG out."""
    _elsewhere(python, "totalsegmentator_way.py", dicom, engine, out)


def by_moose(python: Path, dicom: Path, engine: Engine, out: Path) -> None:
    """Run MOOSE's own DICOM in, NIfTI out, and give that to dcmqi, for which MOOSE has a table of codes."""
    labels = out.with_name(f"{out.stem}-labels.nii.gz")
    _elsewhere(python, "moose_way.py", dicom, engine, labels)
    _written_by_dcmqi(dicom, labels, out)


def by_boa(python: Path, dicom: Path, engine: Engine, out: Path) -> None:
    """Run BOA's own DICOM in, DICOM-SEG out, in the folder that `benchmarks.beside_boa prepare` fills."""
    _elsewhere(python, "boa_way.py", dicom, engine, out, python.parents[2] / "checkout")


OWN_WAYS: dict[str, Callable[[Path, Path, Engine, Path], None]] = {
    "totalsegmentator": by_totalsegmentator,
    "moose": by_moose,
    "boa": by_boa,
}
"""Each takes the Python of an environment where the peer is installed, DICOM folder, engine and output."""


def _elsewhere(python: Path, script: str, dicom: Path, engine: Engine, out: Path, *paths: Path) -> None:
    command = [str(python), str(Path(__file__).with_name(script)), str(dicom), str(out)]
    command += [str(engine.limit), str(engine.bodies)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[2], *paths))),
        # MOOSE calls dcm2niix by its name.
        "PATH": os.pathsep.join((str(python.parent), os.environ["PATH"])),
    }
    answer = subprocess.run(
        command, capture_output=True, timeout=TIMEOUT_S, check=False, text=True, env=environment
    )
    _must_have_written(out, answer)


def _encoded(slices: Sequence[Dataset], labels: Any, out: Path) -> None:
    values = labels.array if isinstance(labels, hd.Volume) else labels
    seg = hd.seg.Segmentation(
        source_images=slices,
        pixel_array=labels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=list(_descriptions(values)),
        series_instance_uid=hd.UID(),
        series_number=100,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="By hand",
        manufacturer_model_name="By hand",
        software_versions="1",
        device_serial_number="1",
    )
    seg.save_as(out)


def _descriptions(labels: np.ndarray) -> Iterator[hd.seg.SegmentDescription]:
    algorithm = hd.AlgorithmIdentificationSequence(
        name="threshold", family=codes.cid7162.MorphologicalOperations, version="1"
    )
    for number in range(1, int(labels.max()) + 1):
        yield hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=NAMES[number],
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver if number == 1 else codes.SCT.Spleen,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )


def _dcmqi_metadata(labels: np.ndarray) -> dict[str, Any]:
    category = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Body structure"}
    kind = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    return {
        "ContentCreatorName": "By^Hand",
        "ClinicalTrialSeriesID": "1",
        "ClinicalTrialTimePointID": "1",
        "SeriesDescription": "Two balls",
        "SeriesNumber": "100",
        "InstanceNumber": "1",
        "segmentAttributes": [
            [
                {
                    "labelID": number,
                    "SegmentDescription": NAMES[number],
                    "SegmentLabel": NAMES[number],
                    "SegmentAlgorithmType": "AUTOMATIC",
                    "SegmentAlgorithmName": "threshold",
                    "SegmentedPropertyCategoryCodeSequence": category,
                    "SegmentedPropertyTypeCodeSequence": kind,
                }
                for number in range(1, int(labels.max()) + 1)
            ]
        ],
        "ContentLabel": "SEGMENTATION",
        "ContentDescription": "Two balls",
        "BodyPartExamined": "",
    }
