"""What is recorded for the gateway, which does not import TotalSegmentator, is what the package says."""

import json
from pathlib import Path

import pytest
from totalsegmentator import registry

from batch_job.contract import ENGINE_TASKS
from batch_job.engines.totalsegmentator.record import LEFT_OUT, TARGET, recorded

CODES = Path(__file__).parents[2] / "converter" / "codes" / "codes.json"
FACTS = ENGINE_TASKS["totalsegmentator"]


def test_recorded_tasks_are_those_of_the_package() -> None:
    assert TARGET.read_text(encoding="utf-8") == recorded()
    assert set(FACTS.tasks) == set(registry.TASKS) - LEFT_OUT
    assert FACTS.version == registry.package_version()


@pytest.mark.parametrize("task", FACTS.tasks)
def test_converter_knows_the_label_table_of_every_task(task: str) -> None:
    tables = json.loads(CODES.read_bytes())["tasks"]
    assert {int(value): name for value, name in tables[task].items()} == registry.class_map[task]


@pytest.mark.parametrize("task", FACTS.tasks)
def test_every_label_of_a_task_fits_into_eight_bits(task: str) -> None:
    assert 0 < min(registry.class_map[task]) <= max(registry.class_map[task]) <= 255
