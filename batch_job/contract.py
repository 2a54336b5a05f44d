"""The job folder's contract, version 1: what the gateway asks, what the job answers, and the exit codes.

The one file of this package that the gateway imports; it knows pydantic and the standard library only.

A job folder, on a disk or under a prefix of a bucket, holds in the order in which they appear::

    input.nii.gz | input.nii   the gateway writes it, then
    request.json               JobRequest
    claim.json                 in a bucket, the gateways' own affair: who hands its runs to the queue
    runs/{n}/owner.json        Owner: in a bucket, the Batch job that works on run n
    progress.json              Progress: replaced at most every 5 s while the job runs; 1.0 when it is done
    checkpoint/                parts that are finished, for the next attempt; gone when the job is done
    labels.nii.gz              uint8, exactly the input's grid and affine
    statistics.json            {"bone": {"volume_ml": 812.5, "mean_intensity": 301.2, ...}, ...}
    preview.png
    manifest.json              Manifest: written last; where it is missing there is no result
    exit.json                  RunExit: on a disk, how the latest run ended, and the last that it writes

Of each structure that was found `statistics.json` has `volume_ml`, `voxels`, `mean_intensity`,
`std_intensity`, `median_intensity`, `truncated` (true where it touches the image's border: the volume is that
of the scanned part), and `intensity_unit`, "HU", where the image is a CT; other intensities have no unit.

In a bucket labels, statistics and preview lie under `attempts/{attempt}/`, where the manifest says.

Readers ignore fields they do not know, so that the contract can grow; what changes a field's meaning
raises `CONTRACT`, and another number is refused.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

CONTRACT: Final = 1

REQUEST_NAME: Final = "request.json"
INPUT_NAMES: Final = ("input.nii.gz", "input.nii")
PROGRESS_NAME: Final = "progress.json"
LABELS_NAME: Final = "labels.nii.gz"
STATISTICS_NAME: Final = "statistics.json"
PREVIEW_NAME: Final = "preview.png"
MANIFEST_NAME: Final = "manifest.json"
EXIT_NAME: Final = "exit.json"
CHECKPOINT_NAME: Final = "checkpoint"
CLAIM_NAME: Final = "claim.json"
OWNER_NAME: Final = "runs/{run}/owner.json"
ATTEMPT_NAME: Final = "attempts/{attempt}"
LOCK_NAME: Final = "job.lock"

EXIT_DONE: Final = 0
"""The manifest is there (also when it was there before), or this run belongs to another Batch job."""
EXIT_BAD_INPUT: Final = 2
"""The request or the input cannot be used; the reason is one line on standard error. Do not retry."""
EXIT_SOFTWARE_ERROR: Final = 70
"""A defect in the engine or the job (EX_SOFTWARE of sysexits.h); one line, then the traceback. The same
input would fail again: not retried by itself."""
EXIT_TRANSIENT: Final = 75
"""The folder is busy, the disk is full, memory ran out, the object store does not answer or does not let the
job in. Retry later."""
EXIT_NOT_SET_UP: Final = 78
"""The engine lacks weights or a licence (EX_CONFIG of sysexits.h); the reason is one line that says how to
get them. Nothing is wrong with the input: retry when that is settled, not by itself."""
EXIT_INTERRUPTED: Final = 143
"""SIGTERM, SIGINT, the parent's death, a Spot interruption. Retry; what was finished is in `checkpoint/`."""

RUN_VARIABLE: Final = "IRIS_RUN"
"""Environment: the run number, a positive integer; 1 when absent."""
BATCH_JOB_VARIABLE: Final = "AWS_BATCH_JOB_ID"
"""Environment, set by AWS Batch: who runs; the owner of a run in a bucket."""
BATCH_ATTEMPT_VARIABLE: Final = "AWS_BATCH_JOB_ATTEMPT"
"""Environment, set by AWS Batch: the attempt within a run, from 1."""
DIE_WITH_PARENT_VARIABLE: Final = "IRIS_DIE_WITH_PARENT"
"""Environment: "1" when the parent holds the write end of a pipe that is the job's standard input; the
job ends with `EXIT_INTERRUPTED` when that pipe closes, as it does when the parent dies."""

STAGES: Final = ("fetch", "load", "segment", "measure", "preview", "save", "upload")
"""The stages of a job in order, as `Progress.stage` and as keys of `Manifest.seconds`, where the engine's own
stand, too. May grow."""
PROGRESS_INTERVAL_S: Final = 5.0

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
JobKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]  # what AWS Batch takes as a job name
OutputName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # a plain name, never a path
OutputPath = Annotated[str, Field(pattern=r"^attempts/[0-9]+/[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ContractError(ValueError):
    """A file of the job folder, or a wish in it, that this contract does not allow; one sentence."""


class _Record(BaseModel):
    """Frozen; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """Give the record as UTF-8 JSON with a newline at its end."""
        return self.model_dump_json(indent=2, exclude_none=False).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Parse and check a record.

        Raises
        ------
        ContractError
            It is not JSON, lacks a field, or is of another contract version. The text names fields and
            reasons, never values.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ContractError(f"not a {cls.__name__} of contract {CONTRACT}: {_reasons(error)}") from None


class JobInput(_Record):
    """The image: a name in the job folder and the SHA-256 of the file's bytes."""

    name: Literal["input.nii.gz", "input.nii"]
    sha256: Sha256


class JobRequest(_Record):
    """`request.json`: what the gateway asks for."""

    contract: Literal[1] = CONTRACT
    job_key: JobKey
    task: Annotated[str, Field(min_length=1)]
    engine: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = Field(default_factory=dict)
    input: JobInput


def _in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, kept as UTC."""


class Progress(_Record):
    """`progress.json`: how far the job is."""

    contract: Literal[1] = CONTRACT
    stage: str
    step: str = ""
    """What the engine does within the stage, in its words."""
    fraction: Annotated[float, Field(ge=0, le=1)]
    """Of the whole job; never falls within one run."""
    eta_s: Annotated[float, Field(ge=0)] | None
    """Seconds to go, or null while nothing can be said."""
    at: Moment


class RunExit(_Record):
    """`exit.json`: how a run ended. In a bucket there is none: the queue says it there.

    A run that is killed leaves none either, nor one whose disk is full: who saw its process end knows.
    """

    contract: Literal[1] = CONTRACT
    run: Annotated[int, Field(ge=1)]
    code: int
    """Of `EXIT_...`: what the process ends with, too."""
    sentence: str
    """Why, in one line without patient data; empty when all is well."""
    at: Moment


class Owner(_Record):
    """`runs/{n}/owner.json`: the one Batch job whose attempts work on that run."""

    contract: Literal[1] = CONTRACT
    batch_job_id: Annotated[str, Field(min_length=1)]


class OutputFile(_Record):
    """One file that the job wrote."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]
    path: OutputPath | None = Field(default=None, exclude_if=lambda path: path is None)
    """Where it lies in the job folder, when that is not under its own name."""


class EngineInfo(_Record):
    """What made the labels."""

    name: str
    version: str
    weights: str


class Flag(_Record):
    """What a person should know before trusting the result; `docs/quality.md` lists the codes."""

    code: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    structure: str | None
    """The name of the structure, or null where the flag is the image's."""
    number: Annotated[float, Field(allow_inf_nan=False)]
    """What was measured, in `unit`."""
    unit: str
    sentence: str
    """The same in words, for a radiologist or an operator; it holds nothing of the patient's header."""


class Manifest(_Record):
    """`manifest.json`: the result. Written last; fields of later versions are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    contract: Literal[1] = CONTRACT
    job_key: JobKey
    outputs: dict[OutputName, OutputFile]
    labels: dict[Annotated[int, Field(ge=1, le=255)], str]
    """Label value to structure name: every value the task can give, found or not."""
    engine: EngineInfo
    seconds: dict[str, Annotated[float, Field(ge=0)]]
    peak_rss_mb: Annotated[float, Field(ge=0)]
    """In 10^6 bytes: of the job, and of its largest child process beside it."""
    attempt: Annotated[int, Field(ge=1)]
    """The run's number; in a bucket the number of the folder under `attempts/`, the run's or a later one."""
    machine: str = ""
    """The instance type that it ran on, where EC2's metadata say: "g4dn.xlarge"."""
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()
    """What the engine says about this run, in sentences."""

    def where(self, name: str) -> str:
        """Where an output lies in the job folder.

        Raises
        ------
        KeyError
            There is no such output.
        """
        return self.outputs[name].path or name


class TaskFacts(_Record):
    """What is known of a task before it runs."""

    modality: str
    """The DICOM Modality it works on."""
    is_licensed: bool = False
    """Whether its weights need a licence from the engine's maker."""
    variants: tuple[Literal["fast", "fastest"], ...] = ()
    """The options that choose another model, of those which the task has."""
    subset: tuple[str, ...] = ()
    """The structures that the option `roi_subset` may name; empty: the task does not know it."""


class EngineFacts(_Record):
    """What the gateway must know of an engine at start, without importing it."""

    version: str
    """The recorded one; of an engine that is a package of its own, another one may be installed."""
    package: str = ""
    """The distribution that has to be installed where jobs run; empty: it is part of this one."""
    weights: str
    default_task: str
    tasks: Mapping[str, TaskFacts]
    option_defaults: Mapping[str, Any]
    """Every option the engine knows, with its default, whose type is the option's type; lists are of text."""


_TOTALSEGMENTATOR: Final = json.loads(Path(__file__).with_name("totalsegmentator.json").read_bytes())
"""Recorded by `batch_job.engines.totalsegmentator.record`; a test compares it with the package."""

ENGINE_TASKS: Final[Mapping[str, EngineFacts]] = MappingProxyType(
    {
        "threshold": EngineFacts(
            version="1.0.0",
            weights="",
            default_task="tissue",
            tasks={"tissue": TaskFacts(modality="CT", variants=("fast",))},
            option_defaults={"fast": False},
        ),
        "totalsegmentator": EngineFacts(
            version=_TOTALSEGMENTATOR["version"],
            package="TotalSegmentator",
            weights="",
            default_task="total",
            tasks=_TOTALSEGMENTATOR["tasks"],
            option_defaults={
                "body_seg": False,
                "fast": False,
                "fastest": False,
                "robust_crop": False,
                "roi_subset": [],
                "statistics": True,
            },
        ),
    }
)


def engine_facts(engine: str) -> EngineFacts:
    """Look an engine up; `ContractError` says which ones there are."""
    if engine not in ENGINE_TASKS:
        raise ContractError(f'there is no engine "{_printable(engine)}"; known: {", ".join(ENGINE_TASKS)}')
    return ENGINE_TASKS[engine]


def task_facts(engine: str, task: str) -> TaskFacts:
    """Look a task of an engine up; `ContractError` says which ones it has."""
    tasks = engine_facts(engine).tasks
    if task not in tasks:
        raise ContractError(f'{engine} has no task "{_printable(task)}"; it has: {", ".join(tasks)}')
    return tasks[task]


def canonical_options(engine: str, task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in defaults, sort by name and within lists, so that equal wishes are equal dictionaries.

    Raises
    ------
    ContractError
        An option that the engine does not have, of another type than its default, or that the task does not
        know; a structure that the task does not have.
    """
    defaults = engine_facts(engine).option_defaults
    facts = task_facts(engine, task)
    for name, value in options.items():
        if name not in defaults:
            known = ", ".join(defaults)
            raise ContractError(f'{engine} has no option "{_printable(name)}"; it has: {known}')
        _check_type(engine, name, value, type(defaults[name]))
    full = {name: options.get(name, defaults[name]) for name in sorted(defaults)}
    _check_variant(engine, task, facts, full)
    _check_subset(engine, task, facts, full.get("roi_subset", []))
    if full.get("body_seg") and facts.modality != "CT":
        raise ContractError(
            f"body_seg works on CT, the task {task} on {facts.modality}; leave the option out"
        )
    if not full.get("statistics", True):
        raise ContractError("statistics are part of every result; leave the option out")
    return {name: sorted(set(value)) if isinstance(value, list) else value for name, value in full.items()}


def _check_type(engine: str, name: str, value: Any, wanted: type[Any]) -> None:
    if type(value) is not wanted or (
        isinstance(value, list) and any(type(item) is not str for item in value)
    ):
        said = "a list of names" if wanted is list else f"of type {wanted.__name__}"
        raise ContractError(f'the option "{name}" of {engine} must be {said}')


def _check_variant(engine: str, task: str, facts: TaskFacts, options: Mapping[str, Any]) -> None:
    chosen = [name for name in ("fast", "fastest") if options.get(name)]
    if len(chosen) > 1:
        raise ContractError("fast and fastest are two models; choose one of them")
    for name in chosen:
        if name not in facts.variants:
            having = [other for other, of in engine_facts(engine).tasks.items() if name in of.variants]
            raise ContractError(f"the task {task} has no {name} model; those that do: {', '.join(having)}")


def _check_subset(engine: str, task: str, facts: TaskFacts, names: list[str]) -> None:
    if names and not facts.subset:
        having = [other for other, of in engine_facts(engine).tasks.items() if of.subset]
        raise ContractError(f"the task {task} knows no roi_subset; those that do: {', '.join(having)}")
    for name in names:
        if name not in facts.subset:
            similar = get_close_matches(name, facts.subset, n=1)
            hint = f"; is {similar[0]} meant?" if similar else ""
            raise ContractError(f'roi_subset: {task} has no structure "{_printable(name)}"{hint}')


def read_request(folder: Path) -> JobRequest:
    """Read `request.json`; `ContractError` for a bad one, `OSError` where it cannot be read."""
    return JobRequest.from_json((folder / REQUEST_NAME).read_bytes())


def read_progress(folder: Path) -> Progress | None:
    """Read `progress.json`; None where there is none (yet)."""
    try:
        return Progress.from_json((folder / PROGRESS_NAME).read_bytes())
    except FileNotFoundError:
        return None


def read_manifest(folder: Path) -> Manifest | None:
    """Read `manifest.json`; None where there is none, which means: no result."""
    try:
        return Manifest.from_json((folder / MANIFEST_NAME).read_bytes())
    except FileNotFoundError:
        return None


def _reasons(error: ValidationError) -> str:
    """Say where and why in one line, without the offending values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    )


def _printable(text: str) -> str:
    """Cut a name that came from outside to something fit for one line."""
    return re.sub(r"[^\w.-]", "?", text)[:40]
