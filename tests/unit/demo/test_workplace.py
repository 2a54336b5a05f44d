"""The demo's working folder and the study it sends."""

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.demo.children import DemoError
from gateway.demo.workplace import example_study, read_study, working_folder


def test_working_folder_with_somebodys_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoError, match="holds something that no demo made"), working_folder(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_working_folder_of_an_earlier_demo_is_made_anew(tmp_path: Path) -> None:
    with working_folder(tmp_path / "demo") as folder:
        (folder / "old" / "deep").mkdir(parents=True)
        (folder / "old.txt").touch()
        (folder / "link").symlink_to(tmp_path)
    with working_folder(tmp_path / "demo") as folder:
        assert [entry.name for entry in folder.iterdir()] == [".iris-demo"]
    assert tmp_path.is_dir()


def test_working_folder_while_a_demo_runs_in_it_is_refused(tmp_path: Path) -> None:
    with working_folder(tmp_path / "demo") as folder:
        (folder / "kept").touch()
        with pytest.raises(DemoError, match="a demo runs in"), working_folder(tmp_path / "demo"):
            pass
        assert (folder / "kept").exists()


def test_working_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DemoError, match="Not a directory"), working_folder(tmp_path / "file"):
        pass


def test_working_folder_lets_errors_of_its_user_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), working_folder(tmp_path / "demo") as folder:
        (folder / "missing").read_text()


def test_example_study_is_found_and_is_one_study_of_twenty_images() -> None:
    study = read_study(example_study())
    assert len(study.files) == len(study.file_of_instance) == 20
    assert len(study.series_uids) == 1


def test_read_study_with_two_studies_is_refused(tmp_path: Path, small_study: Path) -> None:
    for path in small_study.glob("*.dcm"):
        shutil.copy(path, tmp_path / path.name)
    other = dcmread(next(small_study.glob("*.dcm")))
    other.StudyInstanceUID = "2.25.99"
    other.save_as(tmp_path / "other.dcm")
    with pytest.raises(DemoError, match="2 studies"):
        read_study(tmp_path)


def test_read_study_without_dicom_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("nothing here")
    with pytest.raises(DemoError, match="no DICOM file"):
        read_study(tmp_path)


def test_read_study_leaves_what_is_no_dicom_file_out(small_study: Path) -> None:
    (small_study / "note.txt").write_text("not sent")
    assert len(read_study(small_study).files) == 8
