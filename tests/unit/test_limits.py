"""Modules and functions stay as small as the house says: by what is code, without docstrings and comments."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path for room in ("gateway", "converter", "batch_job") for path in (ROOT / room).rglob("*.py")
)
MODULE_LINES, FUNCTION_LINES = 320, 60
"""Where there is no question any more; the rule says 250 and 40 (CONTRIBUTING, rule 7)."""
NO_NAMES = {"utils", "helpers", "common", "misc"}
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def _code_lines(text: str, tree: ast.Module) -> set[int]:
    """The numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in _strings_that_say_something(tree):
        lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _strings_that_say_something(tree: ast.Module) -> Iterator[ast.Expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_and_its_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = _code_lines(text, tree)
    assert len(lines) <= MODULE_LINES, (
        f"{len(lines)} lines of code in {path.relative_to(ROOT)}: ask what it really is, and part it"
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = sum(node.lineno <= line <= (node.end_lineno or 0) for line in lines)
            assert count <= FUNCTION_LINES, (
                f"{count} lines of code in {node.name} of {path.relative_to(ROOT)}: it has to fit on a screen"
            )


def test_no_module_is_named_for_what_it_is_not() -> None:
    named = [str(path.relative_to(ROOT)) for path in MODULES if path.stem in NO_NAMES]
    assert named == [], "name it for what it does"
