"""Figures of a gateway as it stands."""

from typing import Any

from gateway.api.ledger_store import LedgerStore
from gateway.api.probes.gateway_figures import GatewayFigures, gateway_collectors
from gateway.api.probes.metrics import exposition, registry_of
from gateway.api.probes.readiness import Readiness
from gateway.identity import EngineIdentity

ENGINE = EngineIdentity("threshold", "2", "weights", "1")


def _scraped(world: Any) -> list[str]:
    figures = GatewayFigures(world.ledger, lambda: world.readiness, ENGINE, ["pacs"])
    registry = registry_of(LedgerStore(world.ledger).counts, gateway_collectors(figures))
    return exposition(registry).decode().splitlines()


def test_gateway_that_is_not_ready_says_so_and_how_many_troubles_it_has(world: Any) -> None:
    assert {"iris_ready 1.0", "iris_troubles 0.0"} <= set(_scraped(world))
    world.readiness = Readiness(False, ("the disk is full",), ("pacs: away", "mirror: away"))
    assert {"iris_ready 0.0", "iris_troubles 2.0"} <= set(_scraped(world))


def test_what_waits_for_a_destination_is_counted_with_its_age(world: Any) -> None:
    assert not any("iris_deliveries_waiting{" in line for line in _scraped(world))
    world.encode(world.job(world.study()))
    scraped = _scraped(world)
    assert 'iris_deliveries_waiting{destination="pacs"} 1.0' in scraped
    [age] = [line for line in scraped if line.startswith("iris_oldest_waiting_delivery_age_seconds{dest")]
    assert 0 <= float(age.split()[-1]) < 300


def test_ledger_has_a_size_and_the_build_a_name(world: Any) -> None:
    scraped = _scraped(world)
    [size] = [line for line in scraped if line.startswith("iris_ledger_size_bytes ")]
    assert float(size.split()[-1]) >= world.ledger.path.stat().st_size
    [build] = [line for line in scraped if line.startswith("iris_build_info{")]
    assert 'engine="threshold",engine_version="2"' in build
