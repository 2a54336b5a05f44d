"""Headers by which dcm2niix sorts, splits and drops images change nothing: it gets copies without them."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from converter.derived.series import MadeUpStudy
from converter.errors import ConversionFailed
from converter.nifti.conversion import Converted, convert_volume
from converter.series import read_series
from converter.unpacking import decoding, encoded_frames

MakeSeries = Callable[..., Path]
Edit = Callable[[Dataset, int], None]

GE = "GE MEDICAL SYSTEMS"


def study_time(dataset: Dataset, number: int) -> None:
    dataset.StudyTime = f"10{number:02}00"


def study_date(dataset: Dataset, number: int) -> None:
    dataset.StudyDate = f"202401{number + 10}"


def manufacturer(dataset: Dataset, number: int) -> None:
    dataset.Manufacturer = (GE, "SIEMENS", "Philips Medical Systems")[number % 3]


def no_instance_number(dataset: Dataset, number: int) -> None:
    del dataset.InstanceNumber


def one_instance_number(dataset: Dataset, number: int) -> None:
    dataset.InstanceNumber = 7


def ge_polar(dataset: Dataset, number: int) -> None:
    """An EPI series of GE, polarity tried: the slices of one volume numbered within their stack."""
    dataset.Manufacturer, dataset.ManufacturerModelName = GE, "DISCOVERY MR750"
    dataset.InstanceNumber = 6 - number
    dataset.InStackPositionNumber, dataset.StackID = number % 3 + 1, "1"
    dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = 1, 12
    dataset.ImagesInAcquisition = 72
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0xA2, "SL", number * 5)
    relations = dataset.private_block(0x0021, "GEMS_RELA_01", create=True)
    relations.add_new(0x4F, "SS", 6)


def siemens(dataset: Dataset, number: int) -> None:
    dataset.Manufacturer = "SIEMENS"
    dataset.SequenceName = "epfid2d1_64"
    dataset.AcquisitionNumber, dataset.AcquisitionTime = number, f"10{59 - number:02}00.5"
    dataset.EchoTrainLength, dataset.PatientPosition = number, "FFP"


CONTRADICTORY: dict[str, Edit] = {
    "Study Time": study_time,
    "Study Date": study_date,
    "Manufacturer": manufacturer,
    "no Instance Number": no_instance_number,
    "one Instance Number": one_instance_number,
    "GE, polar": ge_polar,
    "Siemens": siemens,
}


def converted(folder: Path, out: Path) -> Converted:
    return convert_volume(read_series(folder), out)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("what", CONTRADICTORY)
def test_slices_whose_headers_differ_in_what_is_of_no_concern_convert_as_if_they_did_not(
    make_series: MakeSeries, tmp_path: Path, what: str, modality: str
) -> None:
    study = MadeUpStudy(modality=modality)
    plain = converted(make_series(study=study), tmp_path / "plain.nii")
    other = converted(make_series(study=study, edit=CONTRADICTORY[what]), tmp_path / "other.nii")
    assert (other.sha256, other.warnings) == (plain.sha256, ())


@pytest.mark.filterwarnings("ignore:Expected implicit VR")
@pytest.mark.parametrize("lean", [0.0, 0.3])
def test_elements_of_the_command_group_in_a_file_do_no_harm(
    make_series: MakeSeries, tmp_path: Path, lean: float
) -> None:
    """A sender left (0000,0002) in them, which pydicom does not write."""
    plain = converted(make_series(lean=lean), tmp_path / "plain.nii")
    folder = make_series(lean=lean)
    command = struct.pack("<HH2sH", 0, 2, b"UI", 26) + b"1.2.840.10008.5.1.4.1.1.2\0"
    for path in folder.iterdir():
        content = path.read_bytes()
        begin = 144 + dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
        path.write_bytes(content[:begin] + command + content[begin:])
    assert converted(folder, tmp_path / "other.nii").sha256 == plain.sha256


def test_defect_of_our_own_is_not_said_to_be_the_images_damage(
    make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(encoded_frames._Source, "_native", fail)
    with pytest.raises(ValueError, match="a defect"):
        converted(make_series(), tmp_path / "out.nii")


def test_image_whose_pixels_are_longer_than_its_header_says_is_damaged(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.PixelData += bytes(4)

    with pytest.raises(ConversionFailed) as failed:
        converted(make_series(edit=edit), tmp_path / "out.nii")
    assert str(failed.value) == decoding.DAMAGED
