"""Records in `batch_job/totalsegmentator.json` what the gateway must know of TotalSegmentator.

::

    .venv-engine/bin/python -m batch_job.engines.totalsegmentator.record

A test compares the file with the package that is installed. The label tables of all tasks stand in
`converter/codes/codes.json`, made by `converter.codes.build`.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parents[2] / "totalsegmentator.json"
PACKAGE: Final = "TotalSegmentator"
LEFT_OUT: Final = frozenset({"test", "total_highres_test"})
"""Tasks for its makers' own tests."""


def tasks() -> dict[str, dict[str, Any]]:
    """What every task takes, as the fields of `contract.TaskFacts`."""
    from totalsegmentator import registry
    from totalsegmentator.map_tasks_config import TASK_CONFIGS

    return {
        task: {
            "modality": registry.task_modality(task),
            "is_licensed": registry.requires_license(task),
            "variants": [
                name for name in ("fast", "fastest") if name in TASK_CONFIGS[task].get("sub_modes", {})
            ],
            "subset": list(registry.class_map[task].values()) if task.startswith("total") else [],
        }
        for task in registry.TASKS
        if task not in LEFT_OUT
    }


def recorded() -> str:
    """The data file's text, one line a task, so that a change can be reviewed."""
    lines = [f"  {json.dumps(task)}: {json.dumps(facts)}" for task, facts in tasks().items()]
    version = json.dumps(metadata.version(PACKAGE))
    return f'{{\n "version": {version},\n "tasks": {{\n' + ",\n".join(lines) + "\n }\n}\n"


if __name__ == "__main__":
    TARGET.write_text(recorded(), encoding="utf-8")
