"""Which files of the repository the site of the documentation shows: hooks of MkDocs.

Each keeps the path that it has in the repository, so that a link leads to the same place in both.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "infra/*.md", "benchmarks/*.md", "examples/*.md")
BESIDE = ("LICENSE", "docs/**/*.png", "examples/*/*.*", "infra/*.json", "batch_job/catalogue/*.json")
"""What pages show or link to."""

_ITEM = re.compile(r"- |\d+\. ")
_FENCE = re.compile(r"^(?P<fence> *```\w+) (?P<what>\S[^\n]*)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put these files in the place of those that MkDocs found in `docs/`."""
    of_theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted(
        {path for pattern in PAGES + BESIDE for path in ROOT.glob(pattern) if path.suffix != ".dcm"}
    )
    shown = [
        File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths
    ]
    return Files([*of_theme, *shown])


def on_page_markdown(markdown: str, **about: Any) -> str:
    """Write for MkDocs what the repository's own view reads otherwise.

    What stands behind the language of a block of code, the name of a file, is its title; what is in an item
    of a list is indented by four blanks, where two or three do elsewhere, and an empty line follows.
    """

    def titled(found: re.Match[str]) -> str:
        return f'{found["fence"]} title="{escape(found["what"])}"'

    return "".join(_indented(_FENCE.sub(titled, markdown).splitlines(keepends=True)))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    width, is_long = 0, False  # of the mark of the item that we are in; whether it has a second paragraph
    for line in lines:
        if item := _ITEM.match(line):
            if is_long:
                yield "\n"
            width, is_long = len(item[0]), False
        elif line.isspace():
            is_long = width > 0
        elif not line.startswith(" " * width):
            width, is_long = 0, False
        yield " " * (4 - width) + line if width and not item and not line.isspace() else line
