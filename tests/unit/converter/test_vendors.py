"""Series as each vendor's scanners write them, made up: each with the outcome that is right for it.

Real ones stand in docs/converter.md; these hold what made real ones go wrong, here or with dcm2niix.
"""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from converter.nifti.conversion import convert_volume
from converter.series import read_series

MakeSeries = Callable[..., Path]
Edit = Callable[[Dataset, int], None]


def by(manufacturer: str, model: str, software: str, *edits: Edit, **values: object) -> Edit:
    """What one scanner says; of lists of six each slice its own."""

    def edit(dataset: Dataset, number: int) -> None:
        dataset.Manufacturer, dataset.ManufacturerModelName = manufacturer, model
        dataset.SoftwareVersions = software
        for keyword, value in values.items():
            setattr(dataset, keyword, value[number] if isinstance(value, tuple) else value)
        for one in edits:
            one(dataset, number)

    return edit


def mr(dataset: Dataset, number: int) -> None:
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    dataset.MRAcquisitionType, dataset.ScanningSequence, dataset.RepetitionTime = "2D", "SE", 3000


def pet(dataset: Dataset, number: int) -> None:
    dataset.SOPClassUID, dataset.Modality = PositronEmissionTomographyImageStorage, "PT"
    dataset.Units, dataset.RescaleSlope, dataset.RescaleIntercept = "BQML", f"{1.5 * (number + 1)}", "0"


def ct(dataset: Dataset, number: int) -> None:
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]


def private(group: int, creator: str, element: int, vr: str, value: object) -> Edit:
    return lambda dataset, number: dataset.private_block(group, creator, create=True).add_new(
        element, vr, value
    )


def siemens_private(dataset: Dataset, number: int) -> None:
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x29, "FD", [12.5 * (5 - k) for k in range(6)])  # slice times, no volume's
    other = dataset.private_block(0x0051, "SIEMENS MR HEADER", create=True)
    other.add_new(0x0E, "LO", f"Tra>Cor({number})")


def real_world_values(slope: float) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        mapping = Dataset()
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, 0.0
        mapping.LUTLabel = "quantity"
        dataset.RealWorldValueMappingSequence = [mapping]

    return edit


def reversed_numbers(dataset: Dataset, number: int) -> None:
    dataset.InstanceNumber, dataset.InStackPositionNumber = 6 - number, number + 1


def outside_the_circle(dataset: Dataset, number: int) -> None:
    pixels = dataset.pixel_array.copy()
    pixels[:4] = -2000
    dataset.PixelData, dataset.PixelPaddingValue = pixels.tobytes(), -2000
    dataset["PixelPaddingValue"].VR = "SS"


SLOPES = tuple(f"{0.25 * (number + 1)}" for number in range(6))

SCANNERS: dict[str, Edit] = {
    "Siemens MR, VB13": by("SIEMENS", "Avanto", "syngo MR B13 4VB13A", mr, siemens_private, EchoTime=30),
    "Siemens MR, VD13": by(
        "SIEMENS", "Skyra", "syngo MR D13", mr, siemens_private, AcquisitionNumber=(1, 1, 2, 2, 3, 3)
    ),
    "Siemens MR, VE11": by(
        "SIEMENS",
        "Prisma",
        "syngo MR E11",
        mr,
        siemens_private,
        ImageComments="Motion: 0.4",
        SequenceName="epfid2d1_64",
    ),
    "Siemens MR, XA classic": by(
        "Siemens Healthineers", "MAGNETOM Vida", "syngo MR XA61", mr, real_world_values(1.0), reversed_numbers
    ),
    "Siemens CT": by(
        "SIEMENS", "SOMATOM Force", "syngo CT VB20A", ct, GantryDetectorTilt=0, ConvolutionKernel="Br40"
    ),
    "Philips MR": by(
        "Philips Medical Systems", "Ingenia", "5.7.1", mr, RescaleSlope="2.5", RescaleIntercept="-3"
    ),
    "Philips MR, own scale": by(
        "Philips",
        "Achieva",
        "3.2",
        mr,
        private(0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.0123),
        RescaleSlope="2.5",
        RescaleIntercept="0",
    ),
    "Philips MR, real-world values": by(
        "Philips", "Achieva", "5.3", mr, real_world_values(0.5), RescaleSlope="2.5", RescaleIntercept="0"
    ),
    "Philips PET, counts": by(
        "Philips Medical Systems",
        "Gemini",
        "1",
        pet,
        private(0x7053, "Philips PET Private Group", 0x00, "DS", "0.000321"),
        Units="CNTS",
    ),
    "Philips CT": by(
        "Philips", "Brilliance", "3.5", ct, RescaleIntercept=-1024, StudyTime=("1", "2", "3", "4", "5", "6")
    ),
    "GE CT": by("GE MEDICAL SYSTEMS", "Revolution", "07MW", ct, reversed_numbers, RescaleIntercept=-1024),
    "GE PET, rescaled slice by slice": by(
        "GE MEDICAL SYSTEMS", "Discovery", "52.00", pet, RescaleSlope=SLOPES
    ),
    "GE MR": by(
        "GE MEDICAL SYSTEMS",
        "SIGNA",
        "27",
        mr,
        reversed_numbers,
        private(0x0043, "GEMS_PARM_01", 0x39, "IS", [1000000800, 8, 0, 0]),
        private(0x0021, "GEMS_RELA_01", 0x4F, "SS", 3),
    ),
    "Canon CT, air at -2000": by("Canon Medical Systems", "Aquilion", "V10", ct, outside_the_circle),
    "Toshiba MR": by("TOSHIBA_MEC", "Titan", "V2.5", mr, SliceLocation=("0", "2", "4", "6", "8", "10")),
    "UIH MR": by("UIH", "uMR 790", "V10", mr, private(0x0065, "Image Private Header", 0x0F, "SH", "H23.4")),
    "UIH CT": by("UIH", "uCT 780", "R001", ct, InstanceNumber=1),
    "Hitachi MR": by("HITACHI", "Oasis", "V5", mr, AcquisitionTime=("6", "5", "4", "3", "2", "1")),
    "MR, rescaled to negative values": by(
        "SIEMENS", "Prisma", "E11", mr, RescaleSlope=2, RescaleIntercept=-4096
    ),
    "MR, negative slope": by(
        "GE MEDICAL SYSTEMS", "SIGNA", "27", mr, RescaleSlope="-0.5", RescaleIntercept="12.25"
    ),
}
SAID = {
    "Philips MR, own scale": ["display_values"],
    "Philips MR, real-world values": ["display_values"],
    "Philips PET, counts": ["display_values"],
}
"""What is found about them: nothing about the others."""


@pytest.mark.parametrize("scanner", SCANNERS)
def test_series_of_a_scanner_has_every_value_that_its_rescaling_gives(
    make_series: MakeSeries, tmp_path: Path, scanner: str
) -> None:
    folder = make_series(edit=SCANNERS[scanner])
    volume = read_series(folder)
    assert [finding.code for finding in volume.findings] == SAID.get(scanner, [])
    converted = convert_volume(volume, tmp_path / "out.nii")
    assert converted.warnings == ()
    values = np.asanyarray(nib.load(converted.path).dataobj).transpose(2, 1, 0)[:, ::-1]
    images = [dcmread(path) for path in sorted(folder.iterdir())]
    wanted = [
        image.pixel_array * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))
        for image in images
    ]
    assert np.array_equal(values, np.array(wanted, np.float32))


def test_enhanced_object_of_xa61_is_one_volume(make_multiframe: Callable[..., Path], tmp_path: Path) -> None:
    """Its frames are numbered in stacks, and each says times and comments of its own."""

    def edit(image: Dataset) -> None:
        image.Manufacturer, image.SoftwareVersions = "Siemens Healthineers", "syngo MR XA61"
        for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
            content = groups.FrameContentSequence[0]
            content.StackID, content.InStackPositionNumber = "1", number + 1
            content.FrameAcquisitionDateTime = f"202401021011{number:02}"
            content.FrameComments = f"frame {number}"

    volume = read_series(make_multiframe(edit=edit))
    assert volume.findings == ()
    plain = convert_volume(read_series(make_multiframe()), tmp_path / "plain.nii")
    assert convert_volume(volume, tmp_path / "other.nii").sha256 == plain.sha256
