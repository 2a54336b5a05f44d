"""What only the folder store does; tests/integration/test_object_stores.py has what every store does."""

from pathlib import Path

import pytest

from gateway.adapters.errors import Retriable
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object, job_prefix


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


def test_put_of_an_existing_key_leaves_no_other_file(store: FolderStore) -> None:
    key = job_object("abc", "request.json")
    store.put(key, b"one")
    store.put(key, b"two")
    assert [path.name for path in store.path(job_prefix("abc")).iterdir()] == ["request.json"]


def test_put_where_the_folder_cannot_be_made_is_retriable(store: FolderStore) -> None:
    store.put("jobs/a", b"a file where a folder is needed")
    with pytest.raises(Retriable, match="see to its disk"):
        store.put("jobs/a/request.json", b"{}")


def test_removing_what_cannot_be_removed_is_retriable(store: FolderStore) -> None:
    store.put("jobs/a/request.json", b"{}")
    with pytest.raises(Retriable, match="see to its disk"):
        store.remove("jobs/a")  # a folder, where an object is meant
    assert store.get("jobs/a/request.json") == b"{}"
