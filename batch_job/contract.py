"""The job folder's contract, version 1: what the gateway asks, what the job answers, and the exit codes.

The one file of this package that the gateway imports; it knows pydantic and the standard library only. What
there is of engines is handed on from `catalogue`.

A job folder, on a disk or under a prefix of a bucket, holds in the order in which they appear::

    input.nii.gz | input.nii   the gateway writes it, then
    request.json               JobRequest
    claim.json                 in a bucket, the gateways' own affair: who hands its runs to the queue
    runs/{n}/owner.json        Owner: in a bucket, the Batch job that works on run n
    runs/{n}/exit.json         RunExit: in a bucket, of a run that another Batch job took, why it failed
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

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from .catalogue import EngineFacts as EngineFacts
from .catalogue import StructureCodes as StructureCodes
from .catalogue import TaskFacts as TaskFacts
from .catalogue import engine_facts as engine_facts
from .catalogue import engines as engines
from .catalogue import find_task as find_task
from .catalogue import recorded_facts as recorded_facts
from .catalogue import task_facts as task_facts
from .catalogue.options import canonical_options as canonical_options
from .catalogue.settings import EngineSettings as EngineSettings
from .refusals import ContractError as ContractError
from .refusals import ModelError as ModelError
from .refusals import reasons_in
from .refusals import what_is_wrong as what_is_wrong

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
RUN_EXIT_NAME: Final = "runs/{run}/exit.json"
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
WAITING_VARIABLE: Final = "IRIS_WAITING"
"""Environment: where runs that this process may take stand as markers, `s3://bucket/prefix/waiting/GROUP/`,
or several such addresses with spaces between, the first one first. Each marker is a `RunWanted`, and their
names are in the order in which they are to be done."""
TAKE_FOR_VARIABLE: Final = "IRIS_TAKE_FOR_S"
"""Environment: for how many seconds after its start it may take some."""
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
            raise ContractError(f"not a {cls.__name__} of contract {CONTRACT}: {reasons_in(error)}") from None


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


class RunWanted(_Record):
    """A line on standard input of `python -m batch_job --serve`: a run that it is to do."""

    address: Annotated[str, Field(min_length=1)]
    run: Annotated[int, Field(ge=1)] = 1


class RunAnswered(_Record):
    """A line on standard output of `python -m batch_job --serve`: how a run ended."""

    address: str
    """As it came; empty where the line was not understood."""
    run: int
    code: int
    """Of `EXIT_...`."""
    sentence: str
    """Why, in one line without patient data; empty when all is well."""
    memory_share: float | None = None
    """What the process holds now of the memory that it may have, 0 to 1; null where nothing says."""


_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_.<>]{0,99}$"
_Place = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.<>-]{1,99}:[0-9]{1,9}$")]


class QuietLine(_Record):
    """A line on standard error of a job: a warning, or an exception that nobody caught, without its words."""

    event: Literal["failed", "warning"]
    error: Annotated[str, StringConstraints(pattern=_NAME)] | None = None
    category: Annotated[str, StringConstraints(pattern=_NAME)] | None = None
    place: _Place | None = None
    places: list[_Place] | None = None


class Owner(_Record):
    """`runs/{n}/owner.json`: the one Batch job that works on that run."""

    contract: Literal[1] = CONTRACT
    batch_job_id: Annotated[str, Field(min_length=1)]
    attempt: Annotated[int, Field(ge=1)] = 1
    """Which attempt of that Batch job began it. Its later ones go on with its own run; with one that it took
    beside that none does."""
    token: str = ""
    """Of who took it, to know its own writing again."""


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


FLAG_CODES: Final = (
    "air_not_minus_1000",
    "highest_value_implausible",
    "spacing_above_5_mm",
    "situs_inversus",
    "sides_contradict",
    "regions_contradict",
    "order_contradicts",
    "gap",
    "volume_out_of_range",
    "fragments",
    "truncated",
)
"""What a result can be flagged with; others are of later versions."""


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


class MachineUse(_Record):
    """Which machine a run had and for how long: what it cost follows from it."""

    instance: str = ""
    """EC2's name of the machine; empty where nobody says, as for all that follows of it."""
    zone: str = ""
    """Its availability zone."""
    is_spot: bool = False
    up_s: Annotated[float, Field(ge=0)] | None = None
    """How long the machine had been up when the run began."""
    begun_at: Moment
    machine_s: Annotated[float, Field(ge=0)]
    """How long the run held its machine, from its begin to this manifest."""
    gpu_s: Annotated[float, Field(ge=0)]
    """How long of that it was in the stage `segment` with a GPU; 0 where the machine has none."""


class Accelerator(_Record):
    """What an engine computed with; empty where there is none, or nobody says."""

    torch: str
    """Its version, with that of CUDA where it has one: "2.8.0+cu128"."""
    cuda: str
    """That torch is built for; empty: for the CPU alone."""
    driver: str
    """NVIDIA's, of the machine: "535.247.01"."""
    device: str
    """The GPU's name: "Tesla T4"."""


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
    """In 10^6 bytes: of the process while it had this job, and of its largest child process beside it."""
    attempt: Annotated[int, Field(ge=1)]
    """The run's number; in a bucket the number of the folder under `attempts/`, the run's or a later one."""
    machine: str = ""
    """The instance type that it ran on, where EC2's metadata say: "g4dn.xlarge"."""
    machine_use: MachineUse | None = None
    """None: written by an earlier version."""
    accelerator: Accelerator | None = None
    """None: an engine without torch, or an earlier version."""
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()
    """What the engine says about this run, in sentences."""
    structures: dict[str, StructureCodes] = Field(default={}, exclude_if=lambda codes: not codes)
    """Codes of structures by name, where the engine says them beside the catalogue."""

    def where(self, name: str) -> str:
        """Where an output lies in the job folder.

        Raises
        ------
        KeyError
            There is no such output.
        """
        return self.outputs[name].path or name


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
