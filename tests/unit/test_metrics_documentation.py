"""Every metric has its row in docs/metrics.md, and alerts and dashboard ask for no other."""

import ast
import json
import re
from pathlib import Path

from gateway.listener.door.turned_away import COUNTED

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "examples" / "grafana" / "iris-gateway.json"
_PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
_CLASSES = {"Counter": "_total"}


def _documented() -> set[str]:
    rows = re.findall(r"^\| (`iris_[^|]+) \|", _PAGE, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(names) == len(set(names)), "a metric is documented twice"
    return set(names)


def _made() -> set[str]:
    """The names in every call that makes one."""
    found = {f"iris_associations_{what}_total" for what in COUNTED}
    for path in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=made), args=given):
                    names = [one.value for one in given[:2] if isinstance(one, ast.Constant)]
                    found |= {
                        name + _CLASSES.get(made, "")
                        for name in names
                        if isinstance(name, str) and name.startswith("iris_")
                    }
    return found


def _asked_for(path: Path) -> set[str]:
    names = re.findall(r"\biris_\w+", path.read_text(encoding="utf-8"))
    return {re.sub(r"(?<=seconds)_(bucket|sum|count)$", "", name) for name in names}


def test_page_of_metrics_has_every_metric_and_no_other() -> None:
    assert _documented() == _made()


def test_alerts_ask_for_metrics_that_there_are() -> None:
    asked = _asked_for(ROOT / "examples" / "prometheus" / "alerts.yml")
    assert len(asked) > 10
    assert asked <= _documented()


def test_dashboard_asks_for_metrics_that_there_are() -> None:
    asked = _asked_for(DASHBOARD)
    assert len(asked) > 20
    assert asked <= _documented()


def test_dashboard_has_panels_beside_each_other_each_with_its_number() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken)), "two panels lie over each other"
    assert {x for x, _ in taken} == set(range(24))
    for panel in panels:
        assert panel["type"] == "row" or panel["targets"], panel["title"]
