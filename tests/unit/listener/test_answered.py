"""Objects that came, by what was answered."""

from gateway.api.probes.metrics import FiguresCollector
from gateway.listener.answered import Answered, By


def test_answered_objects_are_counted_by_way_and_status() -> None:
    answered = Answered()
    for by, status, size_bytes in [
        (By.C_STORE, 0, 100),
        (By.C_STORE, 0, 20),
        (By.C_STORE, 0xA700, 0),
        (By.STOW, 0xC409, 3),
    ]:
        answered.tell(by, status, size_bytes)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in FiguresCollector(answered.figures).collect()
        for sample in family.samples
    }
    assert {labels: number for labels, number in samples.items() if number} == {
        ("iris_instances_received_total", "c-store", "0000"): 2,
        ("iris_instances_received_total", "c-store", "A700"): 1,
        ("iris_instances_received_total", "stow-rs", "C409"): 1,
        ("iris_received_bytes_total", "c-store"): 120,
        ("iris_received_bytes_total", "stow-rs"): 3,
    }
