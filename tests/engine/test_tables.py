"""What is recorded for the gateway, which does not import TotalSegmentator, is what the package says."""

import pytest
from totalsegmentator import registry

from batch_job.contract import engine_facts
from batch_job.engines.totalsegmentator.record import LEFT_OUT, TARGET, recorded

FACTS = engine_facts("totalsegmentator")


def test_recorded_tasks_are_those_of_the_package() -> None:
    assert TARGET.read_text(encoding="utf-8") == recorded()
    assert set(FACTS.tasks) == set(registry.TASKS) - LEFT_OUT
    assert FACTS.version == registry.package_version()


@pytest.mark.parametrize("task", FACTS.tasks)
def test_catalogue_has_the_label_table_of_every_task(task: str) -> None:
    assert FACTS.tasks[task].labels == registry.class_map[task]


@pytest.mark.parametrize("task", FACTS.tasks)
def test_every_label_of_a_task_fits_into_eight_bits(task: str) -> None:
    assert 0 < min(registry.class_map[task]) <= max(registry.class_map[task]) <= 255
