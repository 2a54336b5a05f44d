"""What is said to be durable was brought to the disk: content, then name, then the names of its folders."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batch_job.folder import JobFolder
from converter.staged_file import StagedFile
from gateway.adapters.durable import make_folder, write_durably
from gateway.adapters.folder import FolderStore
from gateway.api.callers.access import kept_token
from gateway.files.site_secret import site_secret
from gateway.ledger.backup import back_up
from gateway.ledger.store import Ledger
from tests.durability import SyncRecorder, recorded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nothing of what is written is yet."""
    (tmp_path / "data").mkdir()
    (tmp_path / "source").write_bytes(b"content")
    return tmp_path / "data"


@pytest.fixture
def recorder(folder: Path) -> Iterator[SyncRecorder]:
    with recorded(folder.parent) as recorder:
        yield recorder


def _bytes(folder: Path) -> Path:
    write_durably(folder / "a" / "b" / "file", b"content")
    return folder / "a" / "b" / "file"


def _copy(folder: Path) -> Path:
    write_durably(folder / "a" / "file", folder.parent / "source")
    return folder / "a" / "file"


def _in_the_place_of_another(folder: Path) -> Path:
    write_durably(folder / "file", b"before")
    write_durably(folder / "file", b"after")
    return folder / "file"


def _object(folder: Path) -> Path:
    FolderStore(folder / "objects").put("jobs/key/request.json", b"{}")
    return folder / "objects" / "jobs" / "key" / "request.json"


def _object_of_a_file(folder: Path) -> Path:
    FolderStore(folder / "objects").put_file("jobs/key/input.nii", folder.parent / "source")
    return folder / "objects" / "jobs" / "key" / "input.nii"


def _object_that_is_settled(folder: Path) -> Path:
    store = FolderStore(folder / "objects")
    assert store.settle("jobs/key/claim.json", b"mine", None)
    assert store.settle("jobs/key/claim.json", b"still mine", b"mine")
    return folder / "objects" / "jobs" / "key" / "claim.json"


def _output_of_a_job(folder: Path) -> Path:
    make_folder(folder / "jobs" / "key")
    JobFolder(folder / "jobs" / "key").put("checkpoint/part/1.npz", b"content")
    return folder / "jobs" / "key" / "checkpoint" / "part" / "1.npz"


def _staged(folder: Path) -> Path:
    staged = StagedFile(folder / "file")
    staged.write(b"content")
    staged.finish()
    staged.commit()
    return folder / "file"


def _secret(folder: Path) -> Path:
    with Ledger(folder / "ledger.sqlite") as ledger:
        site_secret(ledger, folder / "secrets" / "site-secret")
    return folder / "secrets" / "site-secret"


def _token(folder: Path) -> Path:
    kept_token(folder / "admin-token")
    return folder / "admin-token"


def _backup(folder: Path) -> Path:
    Ledger(folder / "ledger.sqlite").close()
    back_up(folder / "ledger.sqlite", folder / "backups" / "copy.sqlite")
    return folder / "backups" / "copy.sqlite"


@pytest.mark.parametrize(
    "write",
    [
        _bytes,
        _copy,
        _in_the_place_of_another,
        _object,
        _object_of_a_file,
        _object_that_is_settled,
        _output_of_a_job,
        _staged,
        _secret,
        _token,
        _backup,
    ],
)
def test_file_that_is_written_for_good_outlives_a_power_cut(
    folder: Path, recorder: SyncRecorder, write: Callable[[Path], Path]
) -> None:
    assert recorder.lacks(write(folder)) == ""


def _without_content(path: Path) -> None:
    with (path / "x.part").open("wb") as stream:
        stream.write(b"content")
    (path / "x.part").rename(path / "x")
    _sync(path)


def _content_after_its_name(path: Path) -> None:
    with (path / "x.part").open("wb") as stream:
        stream.write(b"content")
        stream.flush()
        (path / "x.part").rename(path / "x")
        os.fsync(stream.fileno())
    _sync(path)


def _without_its_name(path: Path) -> None:
    with (path / "x").open("wb") as stream:
        stream.write(b"content")
        stream.flush()
        os.fsync(stream.fileno())


def _without_the_name_of_its_folder(path: Path) -> None:
    _without_its_name(path)
    _sync(path)


def _written_to_again(path: Path) -> None:
    make_folder(path)
    write_durably(path / "x", b"content")
    with (path / "x").open("ab") as stream:
        stream.write(b" and more")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_without_content, "content of x was not synced"),
        (_content_after_its_name, "after it got its name"),
        (_without_its_name, "name of x"),
        (_without_the_name_of_its_folder, "name of new"),
        (_written_to_again, "content of x was not synced"),
    ],
)
def test_recorder_finds_what_a_power_cut_would_take(
    folder: Path, recorder: SyncRecorder, write: Callable[[Path], None], says: str
) -> None:
    (folder / "new").mkdir()
    write(folder / "new")
    assert says in recorder.lacks(folder / "new" / "x")
