"""What concerns neither geometry nor pixels nor tells volumes apart changes neither verdict nor a voxel."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config, dcmread

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from converter.nifti.conversion import convert_volume
from converter.series import Finding, Usability, read_series
from tests.property.made_up_series import few

SLICES = 5
VENDORS = (
    "SIEMENS",
    "GE MEDICAL SYSTEMS",
    "Philips Medical Systems",
    "TOSHIBA",
    "UIH",
    "Canon",
    "HITACHI",
    "",
)
_TIMES = st.integers(0, 235959).map(lambda time: f"{time // 10000:02}{time // 100 % 60:02}{time % 60:02}")
_DATES = st.integers(10, 28).map(lambda day: f"202401{day}")
_TEXTS = st.text("ABCXYZ 0123_*", max_size=12)
_NUMBERS = st.integers(-3, 99999)

_BY_VALUES: dict[st.SearchStrategy[object], str] = {
    _TIMES: "StudyTime SeriesTime InstanceCreationTime",
    _DATES: "StudyDate SeriesDate AcquisitionDate ContentDate",
    _TEXTS: "ManufacturerModelName StationName SoftwareVersions SeriesDescription ProtocolName StudyID "
    "ImageComments BodyPartExamined ReceiveCoilName DeviceSerialNumber",
    _NUMBERS: "InstanceNumber SeriesNumber ImagesInAcquisition EchoTrainLength NumberOfTemporalPositions "
    "SliceThickness SpacingBetweenSlices GantryDetectorTilt ImagingFrequency WindowCenter",
    st.integers(0, 99): "TriggerWindow HeartRate InStackPositionNumber",
    st.sampled_from(VENDORS): "Manufacturer",
    st.sampled_from(["HFS", "FFP", "HFDR", "XXX", ""]): "PatientPosition",
    st.sampled_from(["2D", "3D"]): "MRAcquisitionType",
    st.sampled_from(["ROW", "COL"]): "InPlanePhaseEncodingDirection",
    st.sampled_from(["EP", "GR", "SE"]): "ScanningSequence",
    st.sampled_from(["HU", "US", "normalized"]): "RescaleType",
}
ATTRIBUTES = {keyword: values for values, keywords in _BY_VALUES.items() for keyword in keywords.split()}
"""Each may be missing, one for all slices, or another one in each."""


def outcome(folder: Path) -> tuple[Usability, tuple[Finding, ...], str, tuple[str, ...]]:
    volume = read_series(folder)
    converted = convert_volume(volume, folder.parent / f"{folder.name}.nii")
    return volume.usability, volume.findings, converted.sha256, converted.warnings


def write(folder: Path, modality: str) -> list[Path]:
    pixels = np.random.default_rng(0).integers(-900, 900, (SLICES, 9, 12)).astype(np.int16)
    stack = SliceStack(
        pixels, (0.8, 0.6, 0, 0, 0, -1), (1.5, 1.25), [[2.4 * k, -3.2 * k, 5] for k in range(SLICES)]
    )
    return write_slices(stack, folder, MadeUpStudy(modality=modality))


@cache
def plain_outcome(modality: str) -> tuple[Usability, tuple[Finding, ...], str, tuple[str, ...]]:
    with TemporaryDirectory() as name:
        write(Path(name) / "plain", modality)
        return outcome(Path(name) / "plain")


@few
@given(
    modality=st.sampled_from(["CT", "MR"]),
    changed=st.fixed_dictionaries(
        {},
        optional={
            keyword: st.one_of(
                st.none(),
                values.map(lambda v: [v] * SLICES),
                st.lists(values, min_size=SLICES, max_size=SLICES),
            )
            for keyword, values in ATTRIBUTES.items()
        },
    ),
    order=st.permutations(range(SLICES)),
)
def test_header_of_no_concern_changes_neither_verdict_nor_voxels(
    modality: str, changed: dict[str, list[object] | None], order: list[int]
) -> None:
    with TemporaryDirectory() as name, config.disable_value_validation():
        folder = Path(name) / "changed"
        for number, path in enumerate(write(folder, modality)):
            image = dcmread(path)
            for keyword, values in changed.items():
                if values is not None:
                    setattr(image, keyword, values[number])
                elif keyword in image:
                    del image[keyword]
            image.save_as(folder / f"{order[number]}.IMA")
            path.unlink()
        assert outcome(folder) == plain_outcome(modality)
