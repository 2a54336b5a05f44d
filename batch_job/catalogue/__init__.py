"""The catalogue of engines: all that is known of one before it is loaded, in one data file each.

`NAME.json` beside this file is the engine NAME, and the only place where anything is said of it: what
configuration, doctor, status page and converter say of an engine, they read here, through `contract`.
Engines of other packages say the same where they are written (`installed`); one that is a model of one's own
is completed with what that model says (`EngineFacts.completed_by`).
"""

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batch_job.refusals import ContractError, printable, reasons_in

from .settings import EngineSettings

FOLDER: Final = Path(__file__).parent
MOST_IN_A_SENTENCE: Final = 5
LEAST_BYTES_A_VOXEL: Final = 2
"""A label map, and its copy on the way out: no engine needs less."""

ALGORITHM_FAMILIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "123101": "Neighborhood Analysis",
        "123102": "Adaptive Filtering",
        "123103": "Edge Detection",
        "123104": "Morphological Operations",
        "123105": "Histogram Analysis",
        "123106": "Multi-Scale/Resolution Filtering",
        "123107": "Cluster Analysis",
        "123108": "Multispectral Processing",
        "123109": "Manual Processing",
        "123110": "Artificial Intelligence",
        "123111": "Deformable Models",
    }
)
"""PS3.16 CID 7162, Surface Processing Algorithm Family: codes of the scheme DCM, and their meanings."""

LabelValue = Annotated[int, Field(ge=1, le=255)]
LOADER: Final = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
CodePair = tuple[str, str]
"""A SNOMED CT code and its meaning."""


class _Facts(BaseModel):
    """Frozen; a key that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptionKind(StrEnum):
    """What an option does, as far as it must be known before a run."""

    PLAIN = "plain"
    """The engine alone knows."""
    MODEL = "model"
    """It chooses another model: one of this kind at most, of those among a task's `variants`."""
    STRUCTURES = "structures"
    """It names structures of the task, of those tasks that say `takes_subset`."""


class OptionFacts(_Facts):
    """One option of an engine."""

    default: bool | int | float | str | list[str]
    """Its type is the option's type; lists are of text."""
    kind: OptionKind = OptionKind.PLAIN
    modality: str = ""
    """The only modality on which it works; empty: on any."""
    fixed: str = ""
    """Why it cannot be anything but its default, as the first half of a sentence; empty: it can."""


class StructureCodes(_Facts):
    """The codes of a structure that only this engine has (PS3.3 C.8.20.4), and its colour, sRGB."""

    category: CodePair
    type: CodePair
    type_modifier: CodePair | None = None
    region: CodePair | None = None
    region_modifier: CodePair | None = None
    rgb: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(min_length=3, max_length=3)


class TaskFacts(_Facts):
    """What is known of a task before it runs."""

    modality: str
    """The DICOM Modality it works on."""
    is_licensed: bool = False
    """Whether its weights need a licence from the engine's maker."""
    variants: tuple[str, ...] = ()
    """The options that choose another model, of those which the task has."""
    takes_subset: bool = False
    """Whether the option that names structures may be used."""
    labels: dict[LabelValue, str]
    """Label value to structure name: every value that the task can give; empty: only its results say it."""

    finds: tuple[str, ...] = ()
    """What it has to find in the reference case, `batch_job.reference`: "bone"."""

    @field_validator("labels")
    @classmethod
    def _names_differ(cls, labels: dict[int, str]) -> dict[int, str]:
        if len(set(labels.values())) < len(labels):
            raise ValueError("two values have the same name")
        return labels

    @model_validator(mode="after")
    def _finds_what_it_knows(self) -> Self:
        if unknown := set(self.finds) - set(self.labels.values()):
            raise ValueError(f"finds names that no value has: {', '.join(sorted(unknown))}")
        return self

    @property
    def subset(self) -> tuple[str, ...]:
        """The structures that may be asked for alone; empty: the task does not know that."""
        return tuple(self.labels.values()) if self.takes_subset else ()


class EngineFacts(_Facts):
    """What must be known of an engine without importing it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    about: Annotated[str, Field(min_length=1)]
    """What it does, for the operator's guide."""
    loader: Annotated[str, Field(pattern=LOADER)]
    """`module:attribute` of what gives the engine when it is called: `engines.Engine`."""
    version: Annotated[str, Field(min_length=1)]
    """The recorded one; of an engine that is a package of its own, another one may be installed."""
    package: str = ""
    """The distribution that has to be installed where jobs run; empty: it is part of this one."""
    weights: str = ""
    algorithm_family: CodePair
    """Of `ALGORITHM_FAMILIES`: whether its results are said to be artificial intelligence's."""
    bytes_a_voxel: Annotated[int, Field(ge=LEAST_BYTES_A_VOXEL)] = LEAST_BYTES_A_VOXEL
    """Its peak memory by voxel of the input, beyond the image itself, as measured; more it says itself."""
    takes: tuple[str, ...] = ()
    """The keys of `[engine]` that say which model it is: `settings.EngineSettings`."""
    completed_by: Annotated[str, Field(pattern=LOADER)] | Literal[""] = ""
    """What completes these facts by those keys, as `loader` says it; empty: they are complete."""
    default_task: str
    options: dict[str, OptionFacts] = {}
    structures: dict[str, StructureCodes] = {}
    """Codes of structures that the converter's terminology does not know; without one: a private code."""
    tasks: dict[str, TaskFacts]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        code, meaning = self.algorithm_family
        if ALGORITHM_FAMILIES.get(code) != meaning:
            raise ValueError("algorithm_family is no code and meaning of CID 7162")
        if not self.completed_by and self.default_task not in self.tasks:
            raise ValueError("default_task is none of the tasks")
        if not self.takes and not all(task.labels for task in self.tasks.values()):
            raise ValueError("a task without labels")
        models = {name for name, option in self.options.items() if option.kind is OptionKind.MODEL}
        if unknown := {name for task in self.tasks.values() for name in task.variants} - models:
            raise ValueError(f"variants that are no options of the kind model: {', '.join(sorted(unknown))}")
        found = {name for task in self.tasks.values() for name in task.labels.values()}
        if unknown := self.structures.keys() - found:
            raise ValueError(f"structures that no task gives: {', '.join(sorted(unknown))}")
        return self

    @property
    def option_defaults(self) -> dict[str, Any]:
        """Every option that the engine knows, with its default."""
        return {name: option.default for name, option in self.options.items()}

    def task(self, name: str) -> TaskFacts:
        """Look a task up; `ContractError` says which ones there are."""
        if name not in self.tasks:
            there = _meant(name, self.tasks)
            raise ContractError(f'{self.name} has no task "{printable(name)}"; it has: {there}')
        return self.tasks[name]

    def completed(self, name: str, task: TaskFacts, **more: Any) -> Self:
        """The facts with the one task of a model of one's own, and more that it says."""
        own = {"completed_by": "", "default_task": name, "tasks": {name: task}, **more}
        return type(self).model_validate({**dict(self), **own})


@cache
def engines() -> Mapping[str, EngineFacts]:
    """Every engine by its name.

    Raises
    ------
    ContractError
        A file of the catalogue is not as it must be.
    """
    return MappingProxyType({path.stem: read_engine(path) for path in sorted(FOLDER.glob("*.json"))})


def recorded_facts(engine: str) -> EngineFacts:
    """What is said of an engine, without what only a model of one's own says.

    Raises
    ------
    ContractError
        There is none of that name; the text says which ones there are.
    """
    from .installed import installed_engines, installed_facts  # late: they are facts of this module

    if engine in engines():
        return engines()[engine]
    others = installed_engines()
    if engine not in others:
        known = ", ".join([*engines(), *others])
        raise ContractError(f'there is no engine "{printable(engine)}"; known: {known}')
    return installed_facts(others[engine])


def engine_facts(engine: str, settings: EngineSettings | None = None) -> EngineFacts:
    """Look an engine up.

    Parameters
    ----------
    settings
        Which model it is; left out: as this process's variables say.

    Raises
    ------
    ContractError
        There is no such engine, it does not take what is set, or the model is not as it must be.
    """
    facts = recorded_facts(engine)
    if settings is not None and (foreign := [name for name in settings.given if name not in facts.takes]):
        raise ContractError(f"{engine} takes no {' and no '.join(foreign)}; leave it out")
    if not facts.completed_by:
        return facts
    return _completed(facts.name, settings or EngineSettings.from_environment())


@cache
def _completed(engine: str, settings: EngineSettings) -> EngineFacts:
    facts = recorded_facts(engine)
    module, _, attribute = facts.completed_by.partition(":")
    completed: EngineFacts = getattr(import_module(module), attribute)(facts, settings)
    return completed


def task_facts(engine: str, task: str) -> TaskFacts:
    """Look a task of an engine up; `ContractError` says which ones it has."""
    return engine_facts(engine).task(task)


def find_task(wish: str) -> tuple[EngineFacts, str]:
    """Look a task up where it is said without its engine, or as ENGINE/TASK.

    Raises
    ------
    ContractError
        No engine has it, or more than one; the sentence names what there is.
    """
    engine, slash, task = wish.rpartition("/")
    if slash:
        task_facts(engine, task)
        return engine_facts(engine), task
    having = [facts for facts in engines().values() if task in facts.tasks]
    if len(having) == 1:
        return having[0], task
    if having:
        ways = " or ".join(f"{facts.name}/{task}" for facts in having)
        raise ContractError(f'more than one engine has a task "{printable(task)}"; write {ways}')
    known = _meant(task, [name for facts in engines().values() for name in facts.tasks])
    raise ContractError(f'no engine has a task "{printable(task)}"; known: {known}')


def _meant(wish: str, tasks: Collection[str]) -> str:
    """Tasks for a sentence: of many those that may be meant, and where all of them stand."""
    if len(tasks) <= MOST_IN_A_SENTENCE:
        return ", ".join(tasks)
    near = get_close_matches(wish, tasks, MOST_IN_A_SENTENCE) or list(tasks)[:MOST_IN_A_SENTENCE]
    return f"{', '.join(near)} and {len(tasks) - len(near)} more, which docs/totalsegmentator.md lists"


def read_engine(path: Path) -> EngineFacts:
    """Read one file of the catalogue; `ContractError` says what in it is wrong."""
    try:
        facts = EngineFacts.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        raise ContractError(f"batch_job/catalogue/{path.name}: {reasons_in(error)}") from None
    except ValueError as error:
        raise ContractError(f"batch_job/catalogue/{path.name} is not JSON: {error}") from None
    if facts.name != path.stem:
        raise ContractError(f"batch_job/catalogue/{path.name}: name: must be that of the file")
    return facts
