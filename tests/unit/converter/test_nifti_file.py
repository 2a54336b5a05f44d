"""Files that are whole or not there, with the same bytes for the same voxels."""

import _thread
import errno
import gzip
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from converter import staged_file
from converter.nifti import file as nifti_file
from converter.nifti.file import stage, write_labels
from converter.staged_file import StagedFile
from tests.quick_start import IRIS, quick_python

AFFINE = np.array([[0.0, 0.8, 0, -20], [-0.7, 0, 0, 30], [0, 0, 2.5, 100], [0, 0, 0, 1]], np.float32).astype(
    float
)
PLANES = np.random.default_rng(0).integers(-1000, 1000, (40, 96, 128)).astype(np.int16)
"""About a megabyte: one block and a bit."""


def staged_planes(out: Path, planes: np.ndarray = PLANES) -> StagedFile:
    k, j, i = planes.shape
    return stage(planes, (i, j, k), planes.dtype, AFFINE, out)


def written(out: Path, planes: np.ndarray = PLANES) -> bytes:
    staged_planes(out, planes).commit()
    return out.read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_file_reads_back_as_it_was_written(tmp_path: Path, name: str, dtype: type) -> None:
    planes = np.abs(PLANES).astype(dtype)
    written(tmp_path / name, planes)
    image = nib.load(tmp_path / name)
    assert image.get_data_dtype() == dtype
    assert np.array_equal(np.asanyarray(image.dataobj), planes.transpose(2, 1, 0))
    assert np.array_equal(image.affine, AFFINE)
    assert image.get_qform(coded=True)[0] == pytest.approx(AFFINE, abs=1e-4)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)


def test_planes_of_any_strides_are_written_as_they_are_seen(tmp_path: Path) -> None:
    turned = PLANES[::-1, ::-1].transpose(0, 2, 1)
    assert written(tmp_path / "view.nii", turned) == written(tmp_path / "copy.nii", turned.copy())


def test_compressed_file_is_the_plain_one_for_any_reader_of_gzip(tmp_path: Path) -> None:
    assert gzip.decompress(written(tmp_path / "ct.nii.gz")) == written(tmp_path / "ct.nii")


def test_bytes_do_not_depend_on_the_number_of_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(nifti_file, "COMPRESSION_THREADS", threads)
        contents.append(written(tmp_path / "ct.nii.gz"))
    assert contents[0] == contents[1] == contents[2]


def test_digest_is_that_of_the_file(tmp_path: Path) -> None:
    for name in ("ct.nii", "ct.nii.gz"):
        staged = staged_planes(tmp_path / name)
        staged.commit()
        assert staged.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_file_has_its_name_only_once_it_is_committed(tmp_path: Path) -> None:
    out = tmp_path / "new" / "ct.nii.gz"
    staged = staged_planes(out)
    assert not out.exists()
    staged.commit()
    assert list(out.parent.iterdir()) == [out]


def test_file_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    staged_planes(tmp_path / "ct.nii.gz").discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("at", [0, 20, len(PLANES) - 1])
def test_interrupt_while_writing_leaves_nothing(tmp_path: Path, name: str, at: int) -> None:
    def planes() -> Iterator[np.ndarray]:
        for number, plane in enumerate(PLANES):
            if number == at:
                _thread.interrupt_main()  # as Ctrl-C does
            yield plane

    k, j, i = PLANES.shape
    with pytest.raises(KeyboardInterrupt):
        stage(planes(), (i, j, k), PLANES.dtype, AFFINE, tmp_path / name)
    deadline = time.monotonic() + 120
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize(("size", "room"), [((40, 96, 128), 300_000), ((2, 8, 8), 10)])
def test_disk_that_is_full_while_writing_leaves_the_file_that_was_there(
    tmp_path: Path, name: str, size: tuple[int, int, int], room: int
) -> None:
    """The kernel refuses to let the file grow, as it does on a full disk; a small one at its end only."""
    before = written(tmp_path / name, PLANES[:1])
    script = f"""
import resource, signal, sys
from pathlib import Path
import numpy as np
from converter.nifti.file import stage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
planes = np.random.default_rng(0).integers(-1000, 1000, {size}).astype(np.int16)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
try:
    stage(planes, {size[::-1]}, planes.dtype, np.eye(4), Path({str(tmp_path / name)!r}))
except OSError as error:
    print(error.errno)
"""
    program = tmp_path.parent / f"{tmp_path.name}.py"
    program.write_text(script)
    answer = subprocess.run(
        [quick_python(IRIS), str(program)], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(answer.stdout) == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


def test_disk_that_says_once_that_it_lost_something_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an fsync that failed the next one succeeds, though the bytes are gone."""
    real, calls = os.fsync, []

    def lost_at_first(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.EIO, "lost")
        real(descriptor)

    monkeypatch.setattr(staged_file, "BATCH_BYTES", 1000)
    monkeypatch.setattr(staged_file, "FLUSH_BYTES", 1000)
    monkeypatch.setattr(os, "fsync", lost_at_first)
    with pytest.raises(OSError, match="lost"):
        staged_planes(tmp_path / "ct.nii").commit()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        staged_planes(tmp_path / "file" / "ct.nii.gz")


def test_label_map_reads_back_as_it_was_written(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (7, 5, 3), np.uint8)
    write_labels(labels, AFFINE, tmp_path / "labels.nii.gz")
    image = nib.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asanyarray(image.dataobj), labels)
    assert image.get_data_dtype() == np.uint8
