"""Images of other modalities: what lies in space is converted, what does not is refused in words."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    MRSpectroscopyStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    RTDoseStorage,
)

from converter.errors import UnusableSeries
from converter.nifti.conversion import convert_volume
from converter.series import Usability, judge_series, read_header, read_series
from tests.unit.converter.conftest import AXIAL

MakeSeries = Callable[..., Path]


def stored_of(folder: Path) -> np.ndarray:
    return np.stack([dcmread(path).pixel_array for path in sorted(folder.iterdir())])


def voxels(folder: Path, out: Path) -> np.ndarray:
    """(frames, rows, columns), in the order of the volume."""
    values = np.asanyarray(nib.load(convert_volume(read_series(folder), out).path).dataobj)
    return values.transpose(2, 1, 0)[:, ::-1]


# -- what is a volume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["BQML", "CNTS", "GML"])
def test_pet_holds_the_rescaled_values_of_each_slice_and_no_suv(
    make_series: MakeSeries, tmp_path: Path, units: str
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.SOPClassUID, dataset.Modality = PositronEmissionTomographyImageStorage, "PT"
        dataset.Units, dataset.PatientWeight, dataset.DecayCorrection = units, 70, "START"
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{0.5 + number}", "0"
        dataset.SliceLocation, dataset.NumberOfSlices = 2.0 * number, 6
        dataset.ActualFrameDuration, dataset.FrameReferenceTime = 1000, 500.0 * number

    folder = make_series(edit=edit)
    assert read_series(folder).usability is Usability.USABLE
    slopes = 0.5 + np.arange(6)
    assert np.array_equal(voxels(folder, tmp_path / "out.nii"), stored_of(folder) * slopes[:, None, None])


@pytest.fixture
def tomogram(make_series: MakeSeries, tmp_path: Path) -> Callable[..., Path]:
    """Writes one object of nuclear medicine with six slices."""

    def make(step_mm: float = 3.0, kind: str = "RECON TOMO", **values: object) -> Path:
        first, *others = (dcmread(path) for path in sorted(make_series().iterdir()))
        detector = Dataset()
        detector.ImagePositionPatient = [7, 8, 9]
        detector.ImageOrientationPatient = list(AXIAL)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            del first[keyword]
        first.SOPClassUID, first.Modality = NuclearMedicineImageStorage, "NM"
        first.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
        first.DetectorInformationSequence = [detector]
        first.NumberOfFrames, first.SliceVector, first.SpacingBetweenSlices = 6, [1, 2, 3, 4, 5, 6], step_mm
        first.PixelData += b"".join(other.PixelData for other in others)
        for keyword, value in values.items():
            setattr(first, keyword, value)
        folder = tmp_path / "tomogram"
        folder.mkdir()
        first.save_as(folder / "nm.dcm")
        return folder

    return make


@pytest.mark.parametrize("step_mm", [3.0, -3.0])
def test_reconstructed_tomogram_of_nuclear_medicine_lies_where_its_detector_and_its_steps_say(
    tomogram: Callable[..., Path], tmp_path: Path, step_mm: float
) -> None:
    folder = tomogram(step_mm)
    volume = read_series(folder)
    assert volume.usability is Usability.USABLE
    heights = [frame.position_lps_mm[2] for frame in volume.frames]
    assert heights == sorted(9 + step_mm * k for k in range(6))
    assert volume.frames[0].frame_number == (1 if step_mm > 0 else 6)
    stored = dcmread(folder / "nm.dcm").pixel_array
    wanted = stored if step_mm > 0 else stored[::-1]
    assert np.array_equal(voxels(folder, tmp_path / "out.nii"), wanted)


@pytest.mark.parametrize("kind", ["STATIC", "WHOLE BODY", "TOMO", "RECON GATED TOMO", ""])
def test_nuclear_image_that_is_no_reconstructed_tomogram_is_refused_as_what_it_is(
    tomogram: Callable[..., Path], kind: str
) -> None:
    with pytest.raises(UnusableSeries, match=r"no reconstructed tomogram .*; send the reconstructed slices"):
        read_series(tomogram(kind=kind))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"SliceVector": [1, 2]}, "how its slices follow each other"),
        ({"SpacingBetweenSlices": None}, "how its slices follow each other"),
        ({"DetectorInformationSequence": []}, "where it lies"),
    ],
)
def test_tomogram_that_does_not_say_how_it_lies_is_refused(
    tomogram: Callable[..., Path], values: dict[str, object], said: str
) -> None:
    with pytest.raises(UnusableSeries, match=said):
        read_series(tomogram(**values))


# -- what is none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sop_class", "modality", "said"),
    [
        (RTDoseStorage, "RTDOSE", "a file is a dose distribution, not an image; leave it out"),
        (MRSpectroscopyStorage, "MR", "a file is spectra, not an image; leave it out"),
    ],
)
def test_what_lies_in_space_and_is_no_image_is_refused_as_what_it_is(
    make_series: MakeSeries, sop_class: str, modality: str, said: str
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.SOPClassUID, dataset.Modality = sop_class, modality
        dataset.GridFrameOffsetVector, dataset.DoseUnits = [0.0, 2.0], "GY"

    judgement = judge_series([(path, read_header(path)) for path in make_series(edit=edit).iterdir()])
    assert judgement.volumes == ()
    assert {finding.sentence for _, finding in judgement.left_over} == {said}
