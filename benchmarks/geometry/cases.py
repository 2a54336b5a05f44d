"""The cases: real odd files of tests/data, real files that come with pydicom, and phantoms."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import highdicom as hd
import pydicom
from pydicom import Dataset, dcmread
from pydicom.uid import UID, EnhancedCTImageStorage

from benchmarks.geometry import conditions
from benchmarks.geometry.engine import Engine
from benchmarks.geometry.phantoms import BALLS, Edit, Phantom, moved, paint_over

ODDITIES = Path(__file__).parents[2] / "tests" / "data" / "oddities"
VENDOR_SERIES = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"

TWO_BALLS = Engine(limit=500, bodies=2)


@dataclass(frozen=True)
class Case:
    """A series, how to get it into an empty folder, and what the stand-in engine marks in it.

    `decoded` is a folder with the same pixels in a transfer syntax that pydicom decodes by itself. `where`
    chooses a volume, as `--where` does; the peers get the whole series.
    """

    name: str
    write: Callable[[Path], object]
    engine: Engine = TWO_BALLS
    decoded: Path | None = None
    where: Mapping[str, str] = field(default_factory=dict)


def as_it_is(source: Path) -> Callable[[Path], object]:
    """Copy a series."""

    def write(folder: Path) -> None:
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)

    return write


def painted(source: Path) -> Callable[[Path], object]:
    """Copy a series with the balls painted over its noise."""
    return lambda folder: paint_over(source, folder)


def _together(keyword: str, value: object, number: int) -> Edit:
    """Put several phantoms into one series, told apart by one attribute."""

    def edit(dataset: Dataset, index: int) -> None:
        dataset.SOPInstanceUID = f"2.25.77{number}{index:03}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.78", "2.25.79"
        dataset.FrameOfReferenceUID = "2.25.80"
        setattr(dataset, keyword, value)

    return edit


def _phases(keyword: str, values: Sequence[object], more: Edit | None = None) -> Callable[[Path], object]:
    """The same slices several times; the balls move from one to the next. `more` edits every header."""

    def write(folder: Path) -> None:
        for number, value in enumerate(values):
            balls = moved(BALLS, (0.0, -6.0 * number, 6.0 * number))
            phantom = Phantom(balls=balls, edit=_both(_together(keyword, value, number), more))
            phantom.write(folder, prefix=f"phase{number}_")

    return write


def _both(first: Edit, second: Edit | None) -> Edit:
    def edit(dataset: Dataset, index: int) -> None:
        first(dataset, index)
        if second is not None:
            second(dataset, index)

    return edit


def _with_scout(folder: Path) -> None:
    Phantom(edit=_together("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], 0)).write(folder)
    scout = Phantom(
        orientation_lps=(1, 0, 0, 0, 0, -1),
        steps_mm=(200.0,),
        missing=(0,),
        edit=_together("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], 1),
    )
    scout.write(folder, prefix="scout_")


def _enhanced(phantom: Phantom, sop_class: UID | None = None) -> Callable[[Path], object]:
    """One multi-frame object of all slices, as highdicom makes it of single ones."""

    def write(folder: Path) -> None:
        paths = phantom.write(folder)
        enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(
            [dcmread(path) for path in paths], "2.25.81", 4, "2.25.82", 1
        )
        for path in paths:
            path.unlink()
        if sop_class is not None:
            enhanced.SOPClassUID = enhanced.file_meta.MediaStorageSOPClassUID = sop_class
        enhanced.save_as(folder / "enhanced.dcm")

    return write


def _rounded(digits: int) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [round(float(v), digits) for v in dataset.ImagePositionPatient]

    return edit


def _rounded_cosines(dataset: Dataset, number: int) -> None:
    dataset.ImageOrientationPatient = [round(float(value), 4) for value in dataset.ImageOrientationPatient]
    dataset.ImagePositionPatient = [round(float(value), 2) for value in dataset.ImagePositionPatient]


def _shuffled(dataset: Dataset, number: int) -> None:
    dataset.InstanceNumber = 1 + (number * 7) % 25


def _phantom(name: str, phantom: Phantom) -> Case:
    return Case(name, phantom.write)


def _oddity(name: str, write: Callable[[Path], Callable[[Path], object]], **more: object) -> Case:
    return Case(f"oddities/{name}", write(ODDITIES / name), **more)  # type: ignore[arg-type]


_PRONE = (-1, 0, 0, 0, -1, 0)
_SAGITTAL, _CORONAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
_TILTED = Phantom(lean=(0.0, 0.27))
_NOISE = Engine(limit=200)
_RLE = ODDITIES / "compressed_rle" / "001"

REAL = (
    _oddity("gantrytilting/001", painted),
    _oddity("sliceincrement/001", painted),
    _oddity("sliceincrement/002", painted),
    _oddity("notavolume/001", painted),
    _oddity("slicecount/001", painted),
    _oddity("sliceorientation/001", as_it_is, engine=_NOISE),
    _oddity("compressed_j2k/001", as_it_is, engine=_NOISE),
    _oddity("compressed_jpeg/001", as_it_is, engine=_NOISE, decoded=_RLE),
    _oddity("compressed_jpegls/001", as_it_is, engine=_NOISE),
    _oddity("compressed_rle/001", as_it_is, engine=_NOISE),
    _oddity("hyperfine_mr/001", as_it_is, engine=_NOISE),
    _oddity("uids_blanked/001", as_it_is, engine=Engine(limit=1200)),
    Case("pydicom's GE CT, 5 slices", as_it_is(VENDOR_SERIES / "98892001" / "CT5N"), Engine(limit=0)),
    Case(
        "pydicom's GE CT, one slice missing",
        as_it_is(VENDOR_SERIES / "77654033" / "CT2"),
        Engine(limit=1000),
    ),
)

PHANTOMS = (
    _phantom("supine, head first (HFS)", Phantom()),
    _phantom("prone (HFP)", Phantom(_PRONE, patient_position="HFP")),
    _phantom("feet first (FFS)", Phantom((-1, 0, 0, 0, 1, 0), patient_position="FFS")),
    _phantom("feet first, prone (FFP)", Phantom((1, 0, 0, 0, -1, 0), patient_position="FFP")),
    _phantom("decubitus right (HFDR)", Phantom((0, 1, 0, -1, 0, 0), patient_position="HFDR")),
    _phantom("decubitus left, feet first (FFDL)", Phantom((0, 1, 0, 1, 0, 0), patient_position="FFDL")),
    _phantom("sagittal", Phantom(_SAGITTAL)),
    _phantom("coronal", Phantom(_CORONAL)),
    _phantom("oblique", Phantom(turned_degrees=(17.0, -9.0, 31.0))),
    _phantom("double oblique sagittal", Phantom(_SAGITTAL, turned_degrees=(-12.0, 21.0, 8.0))),
    _phantom("gantry tilt, forwards", _TILTED),
    _phantom("gantry tilt, backwards", replace(_TILTED, lean=(0.0, -0.27))),
    _phantom("gantry tilt, prone", replace(_TILTED, orientation_lps=_PRONE, patient_position="HFP")),
    _phantom("gantry tilt, sideways", replace(_TILTED, lean=(0.2, 0.0))),
    _phantom("unevenly spaced", Phantom(steps_mm=(2.4, 3.2, 4.4, 2.8, 5.0))),
    _phantom("unevenly spaced and tilted", Phantom(steps_mm=(2.4, 3.2, 4.4, 2.8, 5.0), lean=(0.0, 0.2))),
    _phantom("two slices missing", Phantom(missing=(9, 10))),
    _phantom("slice missing and tilted", Phantom(missing=(12,), lean=(0.0, 0.2))),
    _phantom("thick slices, fine pixels", Phantom(pixel_spacing_mm=(0.9, 0.7), steps_mm=(7.5,))),
    _phantom("odd matrix, 37 x 31", Phantom(pixel_spacing_mm=(2.75, 4.5))),
    _phantom("files from the top down", Phantom(backwards=True)),
    _phantom("instance numbers in no order", Phantom(edit=_shuffled)),
    _phantom("positions rounded to 0.1 mm", Phantom(steps_mm=(0.625,), edit=_rounded(1))),
    _phantom("positions rounded to 0.01 mm", Phantom(steps_mm=(1.25,), edit=_rounded(2))),
    _phantom("rounded cosines, oblique", Phantom(turned_degrees=(5.0, -3.0, 11.0), edit=_rounded_cosines)),
    Case("two echoes", _phases("EchoTime", (2.3, 4.6))),
    Case("4D, three time points", _phases("TemporalPositionIdentifier", (1, 2, 3))),
    Case("volume with a scout beside it", _with_scout),
    Case("enhanced multi-frame CT", _enhanced(Phantom(), EnhancedCTImageStorage)),
    Case("legacy converted multi-frame CT, prone", _enhanced(Phantom(_PRONE))),
    Case("enhanced multi-frame CT, tilted", _enhanced(_TILTED, EnhancedCTImageStorage)),
)

CONDITIONS = (
    _phantom("Study Time differs from slice to slice", Phantom(edit=conditions.study_time)),
    _phantom("Manufacturer differs from slice to slice", Phantom(edit=conditions.manufacturer)),
    _phantom("no Instance Number", Phantom(edit=conditions.no_instance_number)),
    Case("elements of group 0000 in the files", conditions.with_command_elements),
    _phantom("slices turned against each other, 0.004 degrees each", Phantom(edit=conditions.turned)),
    Case("every image twice, the copies under new UIDs", conditions.twice),
    Case(
        "GE MR, polar numbers, three echoes, one chosen",
        _phases("EchoTime", (2.3, 4.6, 6.9), conditions.ge_polar),
        where={"EchoTime": "4.6"},
    ),
    _phantom("PET, a slope for each slice", Phantom(edit=conditions.pet)),
    Case("NM, reconstructed tomogram", conditions.tomogram),
)

CASES = (*REAL, *PHANTOMS, *CONDITIONS)
