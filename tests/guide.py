"""CONTRIBUTING's guide on adding to the house, as it stands there, done to a copy of the checkout.

A block of it names in its first line the file that it is, or where in a file it goes::

    ```python gateway/new.py
    ```python gateway/there.py after LINE_THAT_BEGINS_SO
    ```md docs/operator.md in the table of ## Heading
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("gateway", "converter", "batch_job", "tests", "docs", "infra", "benchmarks", "container", "examples")
LARGE = ("tests/data", "docs/pictures")
"""Linked to instead of copied."""

_BLOCK = re.compile(
    r"^(?P<indent> *)```\w+ (?P<path>\S+)"
    r"(?: after (?P<line>[^\n]+)| in the table of (?P<heading>[^\n]+))?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Addition:
    """One place of one extension; the whole file where neither `line` nor `heading` is given."""

    path: str
    line: str
    heading: str
    text: str

    @property
    def is_new_file(self) -> bool:
        return not self.line and not self.heading

    def make(self, copy: Path) -> None:
        """Do it to a copy of the checkout."""
        path = copy / self.path
        if self.is_new_file:
            assert not path.exists(), f"{self.path} is there already"
            path.write_text(self.text, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        at = _after_line(lines, self.line) if self.line else _end_of_table(lines, self.heading)
        path.write_text("".join([*lines[:at], self.text, *lines[at:]]), encoding="utf-8")


def _after_line(lines: list[str], beginning: str) -> int:
    found = [number for number, line in enumerate(lines) if line.lstrip().startswith(beginning)]
    assert len(found) == 1, f"{len(found)} lines begin with {beginning}"
    return found[0] + 1


def _end_of_table(lines: list[str], heading: str) -> int:
    at = lines.index(f"{heading}\n")
    at = next(number for number in range(at, len(lines)) if lines[number].startswith("|"))
    return next(number for number in range(at, len(lines)) if not lines[number].startswith("|"))


def additions() -> dict[str, list[Addition]]:
    """The places of each extension, by its heading."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    guide = guide.partition("\n## Adding to it\n")[2].partition("\n## ")[0]
    sections = re.split(r"^### (.+)$", guide, flags=re.MULTILINE)[1:]
    return {
        heading: [_addition(block) for block in _BLOCK.finditer(text)]
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }


def _addition(block: re.Match[str]) -> Addition:
    lines = block["text"].splitlines(keepends=True)
    text = "".join(line.removeprefix(block["indent"]) for line in lines)
    return Addition(block["path"], block["line"] or "", block["heading"] or "", text)


def copy_of_the_checkout(target: Path) -> Path:
    """Copy what the gateway and its tests need."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        large = {Path(each).name for each in LARGE if (ROOT / each).parent == Path(folder)}
        return {name for name in names if name == "__pycache__" or name.endswith(".pyc")} | large

    for part in PARTS:
        shutil.copytree(ROOT / part, target / part, ignore=ignored, symlinks=True)
    for large in LARGE:
        (target / large).symlink_to(ROOT / large)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, target)
    return target
