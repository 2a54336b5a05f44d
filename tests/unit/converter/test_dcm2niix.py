"""dcm2niix run and understood: what it writes, says, and how it ends.

Where it has to misbehave, a script stands in that calls the real one and spoils what it did.
"""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import pytest
from pydicom import dcmread

from converter.derived.series import MadeUpStudy
from converter.errors import ConversionFailed
from converter.nifti.conversion import convert_volume
from converter.series import Volume, read_series
from tests.quick_start import IRIS, quick_python

MakeSeries = Callable[..., Path]
StandIn = Callable[[str], None]

DEADLINE_S = 120.0


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files; whatever happens, nothing is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


def spoilt(change: str) -> str:
    """A script that changes the image, `image`, and its header's affine before they are looked at."""
    return f"""real "$@" && cat > spoil.py <<END && "{quick_python(IRIS)}" spoil.py
import nibabel as nib, numpy as np
image = nib.load("out/volume.nii")
values, affine = np.array(image.dataobj), image.affine
{change}
nib.save(nib.Nifti1Image(values, affine), "out/volume.nii")
END"""


def failure(volume: Volume, folder: Path, *, timeout_s: float = 60) -> str:
    """Convert in vain; the sentence."""
    with pytest.raises(ConversionFailed) as failed:
        convert_volume(volume, folder / "out" / "ct.nii.gz", timeout_s=timeout_s)
    assert list((folder / "out").glob("*")) + list((folder / "out").glob(".*")) == []
    return str(failed.value)


# -- what it writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["volume_Tilt_1", "volume_Eq_1", "volume_ROI1", "volume_ADC", "volume_Crop_1"]
)
def test_resampled_and_other_images_besides_the_slices_are_left_alone(
    volume: Volume, tmp_path: Path, stand_in: StandIn, name: str
) -> None:
    plain = convert_volume(volume, tmp_path / "plain.nii")
    stand_in(
        f'real "$@" && head -c 400 out/volume.nii > out/{name}.nii && touch out/volume.json out/volume.bval'
    )
    assert convert_volume(volume, tmp_path / "other.nii").sha256 == plain.sha256


@pytest.mark.parametrize("name", ["volume_ph", "volume_real", "volume_e2", "volume_e1_ph", "volume_t1200"])
def test_image_that_is_named_by_its_kind_is_taken(
    volume: Volume, tmp_path: Path, stand_in: StandIn, name: str
) -> None:
    plain = convert_volume(volume, tmp_path / "plain.nii")
    stand_in(f'real "$@" && mv out/volume.nii out/{name}.nii')
    assert convert_volume(volume, tmp_path / "other.nii").sha256 == plain.sha256


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("volume_e1", "volume_e2"), "made 2 images of one volume, by echo;"),
        (("volume", "volume_ph"), "made 2 images of one volume, by phase and magnitude;"),
        (("volume_e1_ph", "volume_e2", "volume_e3"), "made 3 images of one volume, by echo and phase and"),
        (("volume", "volumea", "volumeb"), "made 3 images of one volume; the series mixes"),
    ],
)
def test_several_images_of_one_volume_are_none(
    volume: Volume, tmp_path: Path, stand_in: StandIn, names: tuple[str, ...], said: str
) -> None:
    copies = "".join(f" && cp out/image out/{name}.nii" for name in names)
    stand_in(f'real "$@" && mv out/volume.nii out/image{copies}')
    assert said in failure(volume, tmp_path)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('real "$@" && rm out/volume.nii', "wrote no image of the slices"),
        ('real "$@" && mv out/volume.nii out/volume_Eq_1.nii', "wrote no image of the slices"),
        ('real "$@" && truncate -s -1 out/volume.nii', "cut short"),
        ('real "$@" && truncate -s 200 out/volume.nii', "no NIfTI"),
        ('real "$@" && head -c 9000 /dev/zero > out/volume.nii', "no NIfTI"),
        ("exit 2", "ended with code 2, it found no valid images"),
        ('real "$@"; exit 8', "ended with code 8, some images are bad"),
        ("exit 99", "ended with code 99, an unknown error"),
        ("kill -SEGV $$", r"crashed on the images (signal 11)"),
    ],
)
def test_run_that_gives_nothing_usable_ends_in_a_sentence(
    volume: Volume, tmp_path: Path, stand_in: StandIn, script: str, said: str
) -> None:
    stand_in(script)
    assert said in failure(volume, tmp_path)


def test_run_that_is_killed_lacked_memory(volume: Volume, tmp_path: Path, stand_in: StandIn) -> None:
    stand_in("kill -KILL $$")
    with pytest.raises(MemoryError):
        convert_volume(volume, tmp_path / "out.nii.gz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("values = values[:, ::-1]", "not the pixels of frame 1"),
        ("values = values[..., ::-1]", "not the pixels of frame 1"),
        ("values[3, 4, 5] += 1", "not the pixels of frame 6"),
        ("values = values[..., :-1]", r"24 x 16 x 5 voxels, which are not 6 frames of 16 x 24"),
        ("values = np.stack([values, values], -1)", "4 dimensions"),
        ("affine[0, 3] += 0.002", "voxels off along columns, rows and slices"),
        ("affine[:3, 2] *= 1.001", "voxels off along columns, rows and slices"),
        ("affine[:3, 0] *= -1", "voxels off along columns, rows and slices"),
        ("affine[2, 3] += 2", "0.0000, 0.0000, 1.0000 voxels off"),
    ],
)
def test_image_that_is_not_the_series_is_refused(
    volume: Volume, tmp_path: Path, stand_in: StandIn, change: str, said: str
) -> None:
    stand_in(spoilt(change))
    assert said in failure(volume, tmp_path)


@pytest.mark.parametrize(
    ("change", "axes"),
    [
        ("values, affine = values[::-1], affine @ [[-1,0,0,23],[0,1,0,0],[0,0,1,0],[0,0,0,1]]", "flipped"),
        ("values, affine = values.transpose(2, 0, 1), affine[:, [2, 0, 1, 3]]", "in another order"),
    ],
)
def test_image_whose_axes_are_turned_with_its_affine_is_the_series(
    volume: Volume, tmp_path: Path, stand_in: StandIn, change: str, axes: str
) -> None:
    plain = convert_volume(volume, tmp_path / "plain.nii")
    stand_in(spoilt(change))
    assert convert_volume(volume, tmp_path / f"{axes}.nii").sha256 == plain.sha256


# -- how it runs --------------------------------------------------------------------------------------------


def test_run_that_does_not_end_is_ended_with_its_children(
    volume: Volume, tmp_path: Path, stand_in: StandIn
) -> None:
    stand_in(f"sleep 600 & echo $! > {tmp_path}/child; sleep 600")
    begin = time.monotonic()
    assert "did not end within 3 s" in failure(volume, tmp_path, timeout_s=3)
    assert time.monotonic() - begin < 60
    assert ends(int((tmp_path / "child").read_text()))


def test_run_is_ended_when_the_conversion_fails_elsewhere(
    volume: Volume, tmp_path: Path, stand_in: StandIn
) -> None:
    stand_in(f"echo $$ > {tmp_path}/itself; sleep 600")
    volume.frames[4].path.unlink()
    assert "is gone or was changed" in failure(volume, tmp_path)
    if (tmp_path / "itself").exists():
        assert ends(int((tmp_path / "itself").read_text()))


def ends(process: int) -> bool:
    """Whether a process that is no child of ours is gone, or soon is."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_run_gets_a_copy_of_each_image_of_the_volume_that_says_nothing_of_the_patient(
    make_series: MakeSeries, tmp_path: Path, stand_in: StandIn
) -> None:
    folder = make_series(study=MadeUpStudy(patient_name="Secret^Person", series_description="Secret scan"))
    volume = read_series(folder)
    for path in make_series(seed=1).iterdir():  # another series that came into the folder since
        path.rename(folder / f"other-{path.name}")
    (tmp_path / "copies").mkdir()
    stand_in(f'cp $(cat images.txt) {tmp_path}/copies; real "$@"')
    convert_volume(volume, tmp_path / "out.nii")
    copies = [dcmread(path) for path in sorted((tmp_path / "copies").iterdir())]
    assert [copy.InstanceNumber for copy in copies] == [1, 2, 3, 4, 5, 6]
    for copy, frame, header in zip(copies, volume.frames, volume.headers, strict=True):
        assert tuple(copy.ImagePositionPatient) == frame.position_lps_mm
        assert "SECRET" not in str(copy).upper()
        assert not {header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID} & {
            copy.SOPInstanceUID,
            copy.StudyInstanceUID,
            copy.SeriesInstanceUID,
        }
    assert nib.load(tmp_path / "out.nii").shape[2] == 6


@pytest.mark.parametrize("name", ["with blanks", "ümläut", "line\nbreak", "quote'\"s", "long " + "x" * 240])
def test_folder_of_any_name_converts(make_series: MakeSeries, tmp_path: Path, name: str) -> None:
    plain = convert_volume(read_series(make_series()), tmp_path / "plain.nii")
    other = make_series().rename(tmp_path / name)
    assert convert_volume(read_series(other), tmp_path / "other.nii").sha256 == plain.sha256


def test_defaults_that_somebody_saved_for_dcm2niix_do_not_count(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = convert_volume(volume, tmp_path / "plain.nii")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".dcm2nii.ini").write_text("isFlipY=0\nisGZ=1\nfilename=%n\nisMaximize16BitRange=1\n")
    assert convert_volume(volume, tmp_path / "other.nii").sha256 == plain.sha256


# -- what it says -------------------------------------------------------------------------------------------


def test_warnings_about_pixels_are_passed_on_once_and_in_our_words(
    volume: Volume, tmp_path: Path, stand_in: StandIn
) -> None:
    lines = ("Only loaded 12 of 400 bytes for /data/John Doe/1.dcm", "Only loaded 3 of 400 bytes for /data/y")
    stand_in("".join(f'echo "Warning: {line}"; ' for line in lines) + 'real "$@"')
    warnings = convert_volume(volume, tmp_path / "out.nii").warnings
    assert warnings == ("dcm2niix says that an image is shorter than it should be",)


@pytest.mark.parametrize("line", ["Siemens MoCo? Bogus slice timing", "(issue 236)", "/data/x is odd"])
def test_warnings_about_anything_else_are_not_passed_on(
    volume: Volume, tmp_path: Path, stand_in: StandIn, line: str
) -> None:
    stand_in(f'echo "Warning: {line}"; real "$@"')
    assert convert_volume(volume, tmp_path / "out.nii").warnings == ()


def test_ordinary_series_converts_without_a_warning(make_series: MakeSeries, tmp_path: Path) -> None:
    for modality in ("CT", "MR"):
        volume = read_series(make_series(study=MadeUpStudy(modality=modality)))
        assert convert_volume(volume, tmp_path / "out.nii").warnings == ()


def test_no_sentence_of_a_failure_holds_text_of_the_header(
    make_series: MakeSeries, tmp_path: Path, stand_in: StandIn
) -> None:
    study = MadeUpStudy(patient_name="Secret^Person", patient_id="SECRET", series_description="Secret scan")
    volume = read_series(make_series(study=study).rename(tmp_path / "Secret Person"))
    stand_in('cat "$(head -1 images.txt)"; echo "Error: trouble with $(head -1 images.txt)" ; exit 1')
    sentence = failure(volume, tmp_path)
    assert not re.search(r"Person|Secret|SECRET|scan|\.dcm", sentence)
