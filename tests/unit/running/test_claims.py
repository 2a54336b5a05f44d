"""Claims of jobs: prolonged without reading them first, and seen all the same where another took over."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.running import claims as claims_module
from gateway.running.claims import Claim, Claims

JOB_KEY = "ab" * 32
NAME = job_object(JOB_KEY, "claim.json")


class Store(FolderStore):
    """Counts who reads; what is settled is compared under the store's own lock."""

    reads = 0

    def settle(self, key: str, content: bytes, instead_of: bytes | None) -> bool:
        before = self.reads
        settled = super().settle(key, content, instead_of)
        self.reads = before
        return settled

    def get(self, key: str) -> bytes | None:
        self.reads += 1
        return super().get(key)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_claim_is_prolonged_without_being_read(store: Store) -> None:
    claims = Claims(store, "north")
    first = claims.take(JOB_KEY, 1)
    assert store.reads == 1
    again = claims.take(JOB_KEY, 1)
    assert (store.reads, again.gateway, again.run) == (1, "north", 1)
    assert again.until > first.until
    content = store.get(NAME)
    assert content is not None
    assert Claim.model_validate_json(content) == again


def test_claim_that_another_took_over_is_seen_when_it_is_to_be_prolonged(store: Store) -> None:
    claims = Claims(store, "north")
    claims.take(JOB_KEY, 1)
    taken = Claim(gateway="south", run=2, until=datetime.now(UTC) + timedelta(hours=1))
    store.put(NAME, taken.model_dump_json().encode())
    assert claims.take(JOB_KEY, 1) == taken
    assert claims.take(JOB_KEY, 1) == taken


def test_claim_given_back_is_taken_by_another(store: Store) -> None:
    claims = Claims(store, "north")
    claims.take(JOB_KEY, 1)
    claims.release(JOB_KEY)
    assert claims.holder(JOB_KEY) is None
    assert Claims(store, "south").take(JOB_KEY, 1).gateway == "south"
    assert claims.take(JOB_KEY, 1).gateway == "south"


def test_claims_of_too_many_jobs_are_forgotten_and_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "MOST_REMEMBERED", 2)
    claims = Claims(store, "north")
    for number in range(4):
        claims.take(f"{number:064}", 1)
    reads = store.reads
    assert claims.take(f"{3:064}", 1).run == 1
    assert store.reads == reads
    assert claims.take(f"{0:064}", 1).run == 1
    assert store.reads == reads + 1
