"""A data directory in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.place import Place, open_place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = open_place(tmp_path)
    yield place
    place.ledger.close()
