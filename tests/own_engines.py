"""The engines that docs/engines.md shows, as they stand there."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "engines.md"


def shown(name: str) -> str:
    """The block of the guide that is the file of that name."""
    (text,) = re.findall(
        rf"^```\w+ {re.escape(name)}\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(text)


def write_program(folder: Path) -> list[str]:
    """The program `bands.py`; its words for `engine.command`, which start it as fast as Python starts."""
    path = folder / "bands.py"
    path.write_text(shown("bands.py"), encoding="utf-8")
    return [sys.executable, "-I", "-S", str(path), "{input}", "{output}"]


def as_variables(command: list[str]) -> dict[str, str]:
    """What a job's process is told of such a command."""
    return {"IRIS_ENGINE__COMMAND": json.dumps(command)}


def install_bright(folder: Path) -> None:
    """The package `bright`, as pip installs it into a folder that is on Python's path."""
    (folder / "bright.py").write_text(shown("bright.py"), encoding="utf-8")
    metadata = folder / "bright-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bright\nVersion: 1.2\n")
    group, line = shown("pyproject.toml").splitlines()
    assert group == '[project.entry-points."iris.engines"]'
    (metadata / "entry_points.txt").write_text(f"[iris.engines]\n{line.replace(chr(34), '')}\n")
