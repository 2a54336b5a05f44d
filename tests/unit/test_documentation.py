"""The documentation says what is so: every configuration key with its default, files that exist."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import click
import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from batch_job.contract import engine_facts, engines
from gateway.cli import app
from gateway.config import Config, load_config
from gateway.config.outputs import OUTPUTS
from gateway.config.stores import STORES
from gateway.ledger.quarantine import REASONS
from gateway.ledger.states import JobState

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "docs" / "operator.md"
FOLDERS = ("benchmarks", "docs", "examples", "infra")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))])

IN_WORDS = {
    "dicom.tls_port": "none",
    "destination[].ae_title": "none",  # where it is a folder
    "destination[].host": "none",
    "destination[].port": "none",
    "rule[].send_to": "every destination",
    "notify.smtp.port": "none",
    "notify.smtp.sender": "none",
}
"""Defaults that are said in words: the code has None there, which TOML cannot write."""

_ROW = re.compile(r"^\| `(?P<key>[a-z_]+(?:\[\]|\.[a-z_]+)*)` \| (?P<default>.+?) \| .+\|$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that somebody can write, `[]` after a list of tables; a table alone is no key."""
    for name, field in model.model_fields.items():
        inner = next(_models_in(field.annotation), None)
        if inner is None:
            yield f"{prefix}{name}", field
        elif isinstance(field.annotation, type):  # a table
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field
            yield from _keys(inner, f"{prefix}{name}[].")


def _documented() -> dict[str, str]:
    text = OPERATOR.read_text(encoding="utf-8")
    reference = text.partition("\n## Configuration\n")[2].partition("\n## ")[0]
    rows = _ROW.findall(reference)
    assert len({key for key, _ in rows}) == len(rows), "a key is documented twice"
    return dict(rows)


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, list):  # of tables: what is said beyond their own defaults
        return [v.model_dump(exclude_unset=True) if isinstance(v, BaseModel) else v for v in value]
    return to_jsonable_python(value)


def _written(text: str) -> Any:
    return tomllib.loads(f"value = {text.strip('`')}")["value"]


def test_operators_guide_documents_every_key_of_the_configuration_and_no_other() -> None:
    assert set(_documented()) == {key for key, _ in _keys(Config)}


@pytest.mark.parametrize(("key", "field"), [pytest.param(k, f, id=k) for k, f in _keys(Config)])
def test_operators_guide_default_of_a_key_is_the_one_in_the_code(key: str, field: FieldInfo) -> None:
    said = _documented()[key]
    if key in IN_WORDS:
        assert (said, field.default) == (IN_WORDS[key], None)
    elif field.default is PydanticUndefined and field.default_factory is None:
        assert said == "required"
    elif isinstance(field.default, Path):
        assert Path(_written(said)) == field.default
    else:
        assert _written(said) == _default(field)


def _rows(heading: str) -> list[str]:
    """The rows of the table under a heading of the operator's guide."""
    section = OPERATOR.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `[a-z0-9_-]+` \| .*$", section, re.MULTILINE)


def _own_task(name: str) -> str:
    return f"`{name}`" if name else "the model's"


def test_operators_guide_describes_every_engine_as_the_catalogue_does() -> None:
    assert sorted(_rows("Engines")) == sorted(
        f"| `{of.name}` | {of.about} | {_own_task(of.default_task)} |"
        f" {', '.join(f'`{option}`' for option in of.options) or 'none'} | {of.algorithm_family[1]} |"
        for of in engines().values()
    )


def test_operators_guide_describes_every_output_as_the_catalogue_does() -> None:
    assert sorted(_rows("Outputs")) == sorted(
        f"| `{of.name}` | {of.about} | {'no' if of.files else 'yes'} |" for of in OUTPUTS.values()
    )


def test_operators_guide_describes_every_object_store_as_the_catalogue_does() -> None:
    assert sorted(_rows("Object stores")) == sorted(
        f"| `{of.name}` | {of.about} | {'yes' if of.leaves_site else 'no'} |" for of in STORES.values()
    )


def test_page_of_totalsegmentator_names_every_task_by_its_licence_and_every_option_of_the_engine() -> None:
    page = (ROOT / "docs" / "totalsegmentator.md").read_text(encoding="utf-8")
    facts = engine_facts("totalsegmentator")
    for said, is_licensed in (("need a licence", True), ("need\\s+none", False)):
        (listed,) = re.findall(rf"These {said}.*?: (`.*?)\. ", page, re.DOTALL)
        tasks = [name for name, of in facts.tasks.items() if of.is_licensed is is_licensed]
        assert re.findall(r"`(\w+)`", listed) == tasks
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) == set(facts.option_defaults)


def test_page_about_trouble_has_every_reason_of_the_quarantine_in_its_own_words() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    table = page.partition("\n## In the quarantine\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `.*$", table, re.MULTILINE) == [
        f"| `{code}` | {reason.what} | {reason.to_do} |" for code, reason in REASONS.items()
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_example_configurations_in_the_documents_are_accepted(document: Path, tmp_path: Path) -> None:
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", document.read_text("utf-8"), re.DOTALL)):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        load_config(path)


def _headings(document: Path) -> set[str]:
    """How links name its headings: in lower case, without punctuation, with hyphens for blanks."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    words = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in words}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_the_documents_lead_to_files_and_headings_that_exist(document: Path) -> None:
    missing = []
    for link in _LINK.finditer(document.read_text(encoding="utf-8")):
        target = document.parent / link["target"] if link["target"] else document
        if not target.exists() or (link["heading"] and link["heading"] not in _headings(target)):
            missing.append(link.group())
    assert missing == []


TOUR = (
    (ROOT / "CONTRIBUTING.md")
    .read_text(encoding="utf-8")
    .partition("\n## A study's way through the house\n")[2]
    .partition("\n## ")[0]
)
ROOMS = ("gateway", "converter", "batch_job")


def test_tour_names_modules_and_rooms_that_exist() -> None:
    named = set(re.findall(r"(?<![\w/])[a-z_]+(?:/[a-z_]+)*(?:/|\.py)(?!\w)", TOUR))
    assert len(named) > 25
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "gateway"))]
    assert missing == [], "in the tour of CONTRIBUTING.md"


def test_tour_names_classes_that_exist() -> None:
    picture = TOUR.partition("```")[2].partition("```")[0]
    named = set(re.findall(r"\b(?:[A-Z][a-z]+)+(?=:)|\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", picture))
    text = "\n".join(path.read_text("utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    assert {"Intake", "Planner", "Convert", "StepWorker", "InstanceStored"} <= named
    assert [name for name in named if f"\nclass {name}" not in text] == [], "in the tour of CONTRIBUTING.md"


def test_tour_passes_the_states_of_a_job_in_their_order() -> None:
    states = [JobState(word) for word in re.findall(r"^ \|  ([a-z]+)$", TOUR, re.MULTILINE)]
    assert (states[0], states[-1]) == (JobState.PLANNED, JobState.DELIVERED)
    assert states == [state for state in JobState if state in states]


def _commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """Every command by what is typed: those of a group have its name before them."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if getattr(command, "invoke_without_command", True):
            found[before + name] = command
        if hasattr(command, "commands"):
            found |= _commands(cast(click.Group, command), f"{before}{name} ")
    return found


def test_readme_names_every_command_and_no_option_that_is_not_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = _commands(cast(click.Group, typer.main.get_command(app)))
    names = "|".join(sorted(commands, key=len, reverse=True))
    said = set(re.findall(rf"`iris ({names}|[a-z]+)", readme))
    assert said == set(commands)
    unknown = [
        (name, option)
        for name, options in re.findall(rf"`iris ({names})\b([^`]*)`", readme)
        for option in re.findall(r"--[a-z-]+", options)
        if option not in {text for parameter in commands[name].params for text in parameter.opts}
    ]
    assert unknown == []


GUIDE, GUIA = ROOT / "infra" / "README.md", ROOT / "infra" / "README.es.md"


def _commands_in(guide: Path) -> list[str]:
    """What stands in its code blocks, without what is said beside a command."""
    blocks = re.findall(r"^```\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+# .*$", "", line) for block in blocks for line in block.splitlines()]


def _figures(guide: Path) -> list[str]:
    """Numbers with a point: prices, and what they come to."""
    return re.findall(r"\d+\.\d+", guide.read_text(encoding="utf-8"))


def test_spanish_deployment_guide_has_the_commands_and_the_prices_of_the_english_one() -> None:
    assert len(_commands_in(GUIDE)) > 10
    assert _commands_in(GUIA) == _commands_in(GUIDE)
    assert _figures(GUIA) == _figures(GUIDE)


def _blocks(text: str) -> list[str]:
    """What stands in code blocks of any language, without what is said beside it."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+# .*$", "", block, flags=re.MULTILINE) for block in blocks]


def test_spanish_quick_start_has_the_commands_and_settings_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start = readme.partition("\n## Try it\n")[2].partition("\n## Configure it\n")[0]
    spanish = (ROOT / "docs" / "quick-start.es.md").read_text(encoding="utf-8")
    assert len(_blocks(start)) == 4
    assert _blocks(spanish) == _blocks(start)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tests_that_a_document_names_exist(path: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text(encoding="utf-8"))
    assert [each for each in named if f"def {each[1]}(" not in (ROOT / each[0]).read_text("utf-8")] == []


def test_map_of_rooms_names_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {
        path.parent.name for top in ("gateway", "benchmarks") for path in (ROOT / top).glob("*/__init__.py")
    }
    assert {room for room in rooms if f"{room}/`" not in text} == set()


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("docs/conformance.md", r"^IRIS Gateway (\S+)\. "),
        ("docs/container.md", r"localhost/iris-batch:(\S+)"),
        ("docs/howto/upgrade.md", r"-m venv /opt/iris/(\S+)"),
        ("docs/howto/pip.md", r"-m venv /opt/iris/(\S+)"),
        ("infra/template.yaml", r"ImageTag:\n +Type: String\n +Default: (\S+)"),
    ],
)
def test_version_that_is_named_is_the_one_of_the_project(path: str, named: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.findall(named, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(found) == {project["version"]}
