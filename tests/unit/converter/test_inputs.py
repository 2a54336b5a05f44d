"""A series however it is given, and one of several volumes of it."""

import gc
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, config, dcmread
from pydicom.fileset import FileSet

from converter.choice import distinctions
from converter.errors import UnusableSeries
from converter.inputs import SeriesFiles, Source
from converter.nifti.conversion import convert_volume
from converter.reading.headers import text_of
from converter.series import Choice, judge, read_series

MakeSeries = Callable[..., Path]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files; nothing is left in it once nobody holds a volume."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert list(folder.iterdir()) == []


def digest(source: Source, out: Path, choice: Choice | None = None) -> str:
    return convert_volume(read_series(source, choice), str(out)).sha256


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/README.txt", "six slices")
        archive.writestr("export/.DS_Store", "none of it")
        for path in folder.iterdir():
            archive.write(path, f"export/series/{path.name}")
    return target


def on_a_medium(folder: Path, target: Path) -> Path:
    medium = FileSet()
    for path in folder.iterdir():
        medium.add(path)
    medium.write(target)
    return target


# -- however it is given ------------------------------------------------------------------------------------


def test_series_is_the_same_as_folder_list_zip_and_medium_by_text_or_path(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    folder = make_series()
    medium = on_a_medium(folder, tmp_path / "medium")
    sources: list[Source] = [
        str(folder),
        [str(path) for path in sorted(folder.iterdir(), reverse=True)],
        zipped(folder, tmp_path / "series.zip"),
        str(medium),
        medium / "DICOMDIR",
    ]
    plain = digest(folder, tmp_path / "plain.nii")
    assert [digest(source, tmp_path / "other.nii") for source in sources] == [plain] * len(sources)


def test_object_of_several_frames_is_the_same_as_file_and_folder(
    make_multiframe: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_multiframe()
    plain = digest(folder, tmp_path / "plain.nii")
    assert digest(folder / "object.dcm", tmp_path / "other.nii") == plain


def test_medium_that_was_copied_in_small_letters_is_read(make_series: MakeSeries, tmp_path: Path) -> None:
    medium = on_a_medium(make_series(), tmp_path / "medium")
    for path in sorted(medium.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    assert len(read_series(medium).frames) == 6


def test_medium_that_lacks_a_file_is_refused(make_series: MakeSeries, tmp_path: Path) -> None:
    medium = on_a_medium(make_series(), tmp_path / "medium")
    next(path for path in medium.rglob("*") if path.is_file() and path.name != "DICOMDIR").unlink()
    with pytest.raises(UnusableSeries, match="that the DICOMDIR names is not there; copy the whole medium"):
        read_series(medium)


@pytest.mark.parametrize(
    "named", [["..", "SECRET"], "../SECRET", "/etc/hostname", ["A", "../../SECRET"], "."]
)
def test_medium_that_names_files_outside_its_folder_is_refused(
    make_series: MakeSeries, tmp_path: Path, named: str | list[str]
) -> None:
    medium = on_a_medium(make_series(), tmp_path / "medium")
    listing = dcmread(medium / "DICOMDIR")
    image = next(record for record in listing.DirectoryRecordSequence if "ReferencedFileID" in record)
    image.ReferencedFileID = named
    listing.save_as(medium / "DICOMDIR")
    with pytest.raises(UnusableSeries, match="outside its folder"):
        read_series(medium)


def test_medium_whose_names_no_system_takes_is_refused(make_series: MakeSeries, tmp_path: Path) -> None:
    medium = on_a_medium(make_series(), tmp_path / "medium")
    listing = dcmread(medium / "DICOMDIR")
    image = next(record for record in listing.DirectoryRecordSequence if "ReferencedFileID" in record)
    image.ReferencedFileID = "A" * 300
    with config.disable_value_validation():
        listing.save_as(medium / "DICOMDIR")
    with pytest.raises(UnusableSeries, match="that the DICOMDIR names is not there"):
        read_series(medium)


@pytest.mark.parametrize("content", [b"DICM", b""])
def test_listing_of_a_medium_that_is_none_is_refused(make_series: MakeSeries, content: bytes) -> None:
    folder = make_series()
    (folder / "DICOMDIR").write_bytes(content)
    with pytest.raises(UnusableSeries, match="DICOMDIR cannot be read"):
        read_series(folder)


def test_zip_that_is_damaged_is_refused(make_series: MakeSeries, tmp_path: Path) -> None:
    path = zipped(make_series(), tmp_path / "series.zip")
    content = path.read_bytes()
    path.write_bytes(content[:400] + bytes(64) + content[464:])
    with pytest.raises(UnusableSeries, match="cannot be unpacked"):
        read_series(path)


def test_zip_that_was_cut_off_is_said_to_be_damaged(make_series: MakeSeries, tmp_path: Path) -> None:
    path = zipped(make_series(), tmp_path / "series.zip")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnusableSeries, match="the zip cannot be unpacked"):
        read_series(path)


def test_zip_that_unpacks_to_more_than_there_is_room_for_is_refused_before_it_is(
    make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(make_series(), tmp_path / "series.zip")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("something was unpacked"))
    with pytest.raises(UnusableSeries, match=r"unpacks to 0 MB, and .* has room for 0 MB"):
        read_series(path)


@pytest.mark.parametrize("name", ["large.dcm", "large.iso"])
def test_member_of_a_zip_that_is_no_dicom_is_not_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(10_000_000))
    files = SeriesFiles(tmp_path / "large.zip")
    assert sum(path.stat().st_size for path in files.paths) < 1_000
    with pytest.raises(UnusableSeries, match=r"not DICOM|none of the files is DICOM"):
        files.headers()


def test_file_of_a_folder_that_is_no_dicom_is_told_by_its_number(make_series: MakeSeries) -> None:
    folder = make_series()
    second = sorted(folder.iterdir())[1]
    second.write_bytes(b"")
    with pytest.raises(UnusableSeries, match=r"number 2 of 6 files by name") as refusal:
        read_series(folder)
    assert second.name not in str(refusal.value)


def test_folder_without_dicom_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UnusableSeries, match="none of the files is DICOM"):
        read_series(tmp_path)


def test_names_in_a_zip_lead_nowhere_outside(make_series: MakeSeries, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for number, path in enumerate(make_series().iterdir()):
            archive.write(path, f"../../outside-{number}.dcm")
    assert len(read_series(tmp_path / "series.zip").frames) == 6
    assert not list(tmp_path.rglob("outside*"))


@pytest.mark.parametrize("kind", ["a file", "in a list"])
def test_file_that_is_no_dicom_is_refused_whatever_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(UnusableSeries, match="not DICOM"):
        read_series(path if kind == "a file" else [path])


def test_no_files_are_refused() -> None:
    with pytest.raises(UnusableSeries, match="no files"):
        read_series([])


# -- one of several -----------------------------------------------------------------------------------------


@pytest.fixture
def echoes(make_series: MakeSeries) -> Path:
    """Two echoes, of six slices and of five, of which each has a temporal position of its own."""

    def edit(dataset: Dataset, number: int) -> None:
        dataset.EchoTime, dataset.ImageType = (5, 12.5)[number % 2], ["ORIGINAL", "PRIMARY", "M"]
        dataset.TemporalPositionIdentifier = number

    return make_series([2.0 * (k // 2) for k in range(11)], edit=edit)


@pytest.mark.parametrize(
    ("choice", "echo_ms"),
    [
        (Choice(1), 5),
        (Choice(2), 12.5),
        (Choice(where={"EchoTime": "5.0"}), 5),
        (Choice(where={"EchoTime": "12.5", "ImageType": "m"}), 12.5),
        (Choice(1, {"EchoTime": "5"}), 5),
    ],
)
def test_volume_is_chosen_by_its_number_and_by_what_tells_it_apart(
    echoes: Path, choice: Choice, echo_ms: float
) -> None:
    volume = read_series(echoes, choice)
    assert {float(text_of(header, "EchoTime")) for header in volume.headers} == {echo_ms}
    assert volume.frames == judge(echoes).volumes[0 if echo_ms == 5 else 1].frames


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (None, r"the images make 2 volumes; choose one by its number .*--volume 1 or --where EchoTime=5"),
        (Choice(where={"ImageType": "M"}), "the images make 2 volumes"),
        (Choice(3), "there is no volume 3; choose one .*; 1: 6 images, EchoTime=5.0; 2: 5 images"),
        (Choice(0), "there is no volume 0"),
        (Choice(where={"EchoTime": "6"}), "no volume has EchoTime 6; choose one"),
        (Choice(2, {"EchoTime": "5"}), "no volume has EchoTime 5"),
        (Choice(where={"TemporalPositionIdentifier": "1"}), "no volume has TemporalPositionIdentifier 1"),
        (Choice(where={"Echo": "5"}), "Echo is no keyword of DICOM"),
    ],
)
def test_choice_that_fits_no_volume_or_several_is_refused_with_how_to_choose(
    echoes: Path, choice: Choice | None, said: str
) -> None:
    with pytest.raises(UnusableSeries, match=said):
        read_series(echoes, choice)


def test_refusal_of_many_volumes_names_some_of_them(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.EchoTime = number % 13

    folder = make_series([2.0 * (k // 13) for k in range(39)], edit=edit)
    with pytest.raises(UnusableSeries, match=r"make 13 volumes.*; and 9 volumes more$"):
        read_series(folder)


def test_chosen_volume_that_cannot_be_used_says_why(make_series: MakeSeries) -> None:
    folder = make_series()
    for path in make_series((0.0, 2.0), seed=1).iterdir():
        shutil.move(path, folder / f"other-{path.name}")
    assert len(read_series(folder).frames) == 6
    with pytest.raises(UnusableSeries, match="only 2 slices"):
        read_series(folder, Choice(2))


def test_what_tells_volumes_apart_is_what_all_images_of_each_have_in_common(echoes: Path) -> None:
    assert distinctions(judge(echoes).volumes) == [{"EchoTime": "5.0"}, {"EchoTime": "12.5"}]
