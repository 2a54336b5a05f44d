"""The folder store behaves as every object store must."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.adapters.errors import Permanent, Retriable
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object, job_prefix


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


def test_put_file_when_read_again_gives_the_same_bytes(store: FolderStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"voxels" * 1000)
    key = job_object("abc", "input.nii.gz")
    store.put_file(key, source)
    target = tmp_path / "target"
    assert store.fetch(key, target)
    assert target.read_bytes() == source.read_bytes()
    assert store.get(key) == source.read_bytes()


def test_put_of_an_existing_key_replaces_it_and_leaves_nothing_else(store: FolderStore) -> None:
    key = job_object("abc", "request.json")
    store.put(key, b"one")
    store.put(key, b"two")
    assert store.get(key) == b"two"
    assert [path.name for path in store.path(job_prefix("abc")).iterdir()] == ["request.json"]


def test_get_of_a_missing_key_gives_none(store: FolderStore, tmp_path: Path) -> None:
    assert store.get("jobs/none/manifest.json") is None
    assert store.modified_at("jobs/none/manifest.json") is None
    assert not store.fetch("jobs/none/labels.nii.gz", tmp_path / "target")


def test_modified_at_after_a_put_is_now_in_utc(store: FolderStore) -> None:
    store.put("jobs/a/manifest.json", b"{}")
    at = store.modified_at("jobs/a/manifest.json")
    assert at is not None
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=60)


def test_address_of_a_job_is_its_folder_with_a_slash(store: FolderStore) -> None:
    assert store.address(job_prefix("abc")) == f"{store.root}/jobs/abc/"


def test_key_that_leads_out_of_the_store_is_refused(store: FolderStore) -> None:
    with pytest.raises(Permanent):
        store.put("jobs/../../elsewhere", b"")


def test_put_where_the_folder_cannot_be_made_is_retriable(store: FolderStore) -> None:
    store.put("jobs/a", b"a file where a folder is needed")
    with pytest.raises(Retriable, match="see to its disk"):
        store.put("jobs/a/request.json", b"{}")
