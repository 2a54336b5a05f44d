"""Records in `batch_job/catalogue/totalsegmentator.json` what is to be known of TotalSegmentator's tasks.

::

    .venv-engine/bin/python -m batch_job.engines.totalsegmentator.record

Version and tasks are written anew, all else in the file stays as it is. A test compares it with the package
that is installed.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parents[2] / "catalogue" / "totalsegmentator.json"
PACKAGE: Final = "TotalSegmentator"
LEFT_OUT: Final = frozenset({"test", "total_highres_test"})
"""Tasks for its makers' own tests."""


def tasks() -> dict[str, dict[str, Any]]:
    """What every task takes and gives, as the fields of `catalogue.TaskFacts`."""
    from totalsegmentator import registry
    from totalsegmentator.map_tasks_config import TASK_CONFIGS

    return {
        task: {
            "modality": registry.task_modality(task),
            "is_licensed": registry.requires_license(task),
            "variants": [
                name for name in ("fast", "fastest") if name in TASK_CONFIGS[task].get("sub_modes", {})
            ],
            "takes_subset": task.startswith("total"),
            "labels": registry.class_map[task],
        }
        for task in registry.TASKS
        if task not in LEFT_OUT
    }


def recorded() -> str:
    """The data file's text, a line for each fact, option and task, so that a change can be reviewed."""
    facts = json.loads(TARGET.read_bytes())
    return _a_line_each({**facts, "version": metadata.version(PACKAGE), "tasks": tasks()}) + "\n"


def _a_line_each(facts: dict[str, Any], depth: int = 0) -> str:
    lines = [
        f'{" " * (depth + 1)}"{name}": '
        + (_a_line_each(value, depth + 1) if isinstance(value, dict) and not depth else json.dumps(value))
        for name, value in facts.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


if __name__ == "__main__":
    TARGET.write_text(recorded(), encoding="utf-8")
