"""The tables of the configuration, one class each, with what must hold within one table."""

import ipaddress
import os
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from .arrival import HOW_IT_ARRIVED
from .oidc import Oidc
from .outputs import require_known
from .stores import STORES, StoreFacts, require_store
from .viewers import places_of

_REGION: Final = r"[a-z]{2}(-[a-z]+)+-[0-9]+"
_OBJECT_PREFIX: Final = r"^([A-Za-z0-9_.-]+/?)*$"
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
"""PS3.5 6.2, value representation AE: 1 to 16 characters, no backslash, not blank."""

Port = Annotated[int, Field(ge=1, le=65535)]
FreePort = Annotated[int, Field(ge=0, le=65535)]
_SIGN_IN = r"^(https://[A-Za-z0-9.-]+(:[0-9]+)?|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)?$"
OTEL_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
WhenValue = str | int | float | list[str | int | float]


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, and never leaves it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Section(BaseModel):
    """One table of the file: no unknown keys, nothing that changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(Section):
    """Who this gateway is and where it keeps its files."""

    name: str = Field("demo", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    data_dir: Path = Path("./iris-data")
    secret_file: str = ""
    time_zone: str = ""
    """Of the dates in results, by its name in the IANA database; empty: the system's."""
    issuer_of_patient_id: str = ""
    """Who issued the Patient IDs of images that do not say it."""
    low_water_mb: int = Field(1024, ge=0)
    """Free space below which new associations are rejected as transient."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name and name not in available_timezones():
            raise ValueError(f"there is no time zone {name}; it is named as in Europe/Berlin")
        return name

    def local(self, at: datetime) -> datetime:
        """A time, aware, in the site's time zone."""
        return at.astimezone(ZoneInfo(self.time_zone) if self.time_zone else None)

    def begin_of(self, day: date) -> datetime:
        """When a day begins in the site's time zone, aware."""
        midnight = datetime.combine(day, time())
        return midnight.replace(tzinfo=ZoneInfo(self.time_zone)) if self.time_zone else midnight.astimezone()


class Retention(Section):
    """For how long what is done is kept here; days, fractions allowed, 0: for ever."""

    images_days: float = Field(0, ge=0, le=36500)
    results_days: float = Field(0, ge=0, le=36500)
    uploads_days: float = Field(0, ge=0, le=36500)
    quarantine_days: float = Field(0, ge=0, le=36500)
    ledger_days: float = Field(0, ge=0, le=36500)
    min_free_mb: int = Field(0, ge=0)
    """Free space below which the oldest done studies are removed; 0: whatever there is."""

    def sentences_about(self, *, has_destination: bool) -> list[str]:
        """What is set and removes nothing, one sentence each."""
        sentences = []
        if self.ledger_days and not (self.images_days and self.results_days):
            sentences.append(
                "retention.ledger_days removes nothing by itself: the ledger knows a study as long as its"
                " images or results are here; set images_days and results_days too"
            )
        if self.results_days and not has_destination:
            sentences.append(
                "retention.results_days removes nothing: without [[destination]] results are here only"
            )
        return sentences


def _is_a_network(value: str) -> str:
    ipaddress.ip_network(value, strict=False)
    return value


Network = Annotated[str, AfterValidator(_is_a_network)]
"""An address, or a network as 192.0.2.0/24."""


class AllowedSender(Section):
    """One sender that may open associations: both its AE title and its address must match."""

    ae_title: AeTitle
    address: Network
    port: FreePort = 0
    """Where it takes reports on storage commitment; 0: nowhere, or as a destination or `study.find` says."""


class ListenerTls(Section):
    """DICOM TLS where others connect; all empty means plain TCP."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    """Who signs those of senders; empty: none is asked for."""

    @property
    def is_wanted(self) -> bool:
        """Whether any of it is set."""
        return bool(self.certificate or self.key or self.client_ca)

    @model_validator(mode="after")
    def _has_what_a_server_needs(self) -> "ListenerTls":
        if self.is_wanted and not (self.certificate and self.key):
            raise ValueError("certificate and key are needed both")
        return self


class PeerTls(Section):
    """DICOM TLS where the gateway connects; all empty means plain TCP."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def is_wanted(self) -> bool:
        """Whether any of it is set."""
        return bool(self.ca or self.certificate or self.key)

    @model_validator(mode="after")
    def _has_what_a_client_needs(self) -> "PeerTls":
        if self.is_wanted and not self.ca:
            raise ValueError("ca is needed: the certificate of who signs the peer's, or the peer's own")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key are needed both, or neither")
        return self


class Dicom(Section):
    """The DICOM listener."""

    ae_title: AeTitle = "IRIS"
    host: str = "127.0.0.1"
    port: FreePort = 11112
    max_associations: int = Field(32, ge=1)
    allow: list[AllowedSender] = []
    check_called_ae_title: bool = False
    commitment: bool = False
    """Whether storage commitment is provided, for what the PACS of `study.find` confirms."""
    max_object_mb: int = Field(8192, ge=1)
    tls: ListenerTls = ListenerTls()
    tls_port: FreePort | None = None
    """Where TLS is spoken beside plain TCP; none: `port` speaks TLS only, where `tls` is set."""

    @model_validator(mode="after")
    def _port_of_tls_has_a_certificate(self) -> "Dicom":
        if self.tls_port is not None and not self.tls.is_wanted:
            raise ValueError("tls_port needs tls = { certificate, key }")
        return self


class Find(Section):
    """The PACS that is asked by C-FIND which instances a study has; all empty: nobody is."""

    ae_title: str = Field("", max_length=16, pattern=r"^[ -\[\]-~]*$")
    host: str = ""
    port: FreePort = 0
    tls: PeerTls = PeerTls()

    @property
    def is_wanted(self) -> bool:
        """Whether any of it is set."""
        return bool(self.ae_title or self.host or self.port or self.tls.is_wanted)

    @model_validator(mode="after")
    def _names_a_peer(self) -> "Find":
        if self.is_wanted and not (self.ae_title.strip() and self.host and self.port):
            raise ValueError("needs ae_title, host and port")
        return self


class StudyTimes(Section):
    """When a study counts as complete."""

    quiet_s: float = Field(5.0, ge=0)
    timeout_s: float = Field(60.0, ge=0)
    quiet_adaptive: bool = False
    """Whether `quiet_s` is shortened to what the sender's own pauses ask for."""
    find: Find = Find()


class Rule(Section):
    """Which volumes get which task, and where the results go."""

    name: str = Field(min_length=1)
    when: dict[str, WhenValue] = {}
    task: str = ""
    options: dict[str, str | int | float | bool | list[str]] = {}
    outputs: list[str] = Field(["seg"], min_length=1)
    send_to: list[str] | None = None
    priority: int = 0
    on_flags: Literal["deliver", "mark", "hold"] = "mark"
    hold_flags: list[str] = ["sides_contradict", "regions_contradict", "air_not_minus_1000"]
    """Flags that hold a result whatever `on_flags` says."""
    choose: Literal["best", "all"] = "best"
    compare: bool = False
    """Whether results say what changed since the patient's earlier one."""
    leave_site: bool | Literal["no_head"] = True
    regions: list[Annotated[str, Field(pattern=f"^{_REGION}$")]] = []
    """The regions of AWS that its images may be in; empty: all that the site has configured."""

    @field_validator("outputs")
    @classmethod
    def _are_in_the_catalogue(cls, outputs: list[str]) -> list[str]:
        require_known(outputs)
        return outputs

    @field_validator("hold_flags")
    @classmethod
    def _are_flags(cls, codes: list[str]) -> list[str]:
        from batch_job.contract import FLAG_CODES  # late: who reads states needs no contract

        known = (*HOW_IT_ARRIVED, *FLAG_CODES)
        unknown = [code for code in codes if code not in known]
        if unknown:
            raise ValueError(f"there is no flag {', '.join(unknown)}; known: {', '.join(known)}")
        return codes


class Fallback(Section):
    """Where a job goes that waited too long for a machine."""

    after_s: float = Field(1800.0, ge=0)
    """How long a run may wait before it is moved; 0: for ever."""
    job_queue: str = ""
    """Empty: there is no fallback, and who waits goes on waiting."""
    job_definition: str = ""
    """Empty: the same as on the main queue."""
    options: dict[str, str | int | float | bool | list[str]] = {}
    """Options that differ there make another job: `{ fast = true }` on a CPU queue."""
    region: str = Field("", pattern=f"^({_REGION})?$")
    """The second region, where that queue is; empty: in the first one (`aws.region`)."""
    bucket: str = ""
    """The bucket in the second region, where job folders lie while they run there."""
    prefix: str = Field("", pattern=_OBJECT_PREFIX)
    kms_key: str = ""
    news_queue_url: str = ""
    """Where news of the runs there come; empty: they are only asked after."""

    @model_validator(mode="after")
    def _second_region_is_whole(self) -> Self:
        if self.region and not (self.bucket and self.job_queue and self.job_definition):
            raise ValueError("region needs bucket, job_queue and job_definition there")
        there = [key for key in ("bucket", "prefix", "kms_key", "news_queue_url") if getattr(self, key)]
        if there and not self.region:
            raise ValueError(f"{', '.join(there)} of a second region: name it as region")
        return self


class Urgent(Section):
    """Where jobs go that others have to wait for: a queue that comes before the main one."""

    job_queue: str = ""
    """Empty: there is none, and every job goes to the main queue."""
    priority: int = Field(1, ge=1)
    """From which priority of its rule on a job goes there."""


class Queue(Section):
    """Where jobs run."""

    backend: Literal["local", "batch"] = "local"
    workers: int = Field(1, ge=1)
    stage_workers: int = Field(2, ge=1, le=16)
    """How many jobs each of the steps convert, stage and encode takes at once."""
    keep_warm_s: float = Field(600.0, ge=0)
    """How long a local process that has done a run waits for the next one; 0: a process for each run."""
    local_timeout_s: float = Field(14400.0, ge=0)
    """How long a local run may take before it is ended, and held against its job; 0: for ever."""
    stall_s: float = Field(900.0, ge=0)
    """How long a run may get no further before that is told, and it is started anew; 0: for ever."""
    max_jobs_per_hour: int = Field(0, ge=0)
    """So many runs of jobs that are not urgent begin within any hour; 0: no limit."""
    job_queue: str = ""
    job_definition: str = ""
    timeout_s: float = Field(7200.0, ge=60)
    """How long one attempt may run before Batch ends it."""
    attempts: int = Field(5, ge=1, le=10)
    """How often Batch starts a run whose machine was taken away, or that asked for it (exit 75, 143)."""
    reconcile_s: float = Field(180.0, gt=0)
    """How often Batch is asked how the open runs stand, should news have been missed."""
    unseen_s: float = Field(60.0, ge=0)
    """How long a run whose submission was not answered is looked for before it is submitted again."""
    usd_per_hour: dict[str, float] = {"g4dn.xlarge": 0.526, "g5.xlarge": 1.006, "g6.xlarge": 0.805}
    """Instance type to price, for what a run cost where no Spot price is known."""
    urgent: Urgent = Urgent()
    fallback: Fallback = Fallback()

    @model_validator(mode="after")
    def _batch_is_named(self) -> Self:
        if self.backend == "batch" and not (self.job_queue and self.job_definition):
            raise ValueError("backend = 'batch' needs job_queue and job_definition")
        return self


class Objects(Section):
    """Where job folders lie."""

    backend: str = "local"
    bucket: str = ""
    prefix: str = Field("", pattern=_OBJECT_PREFIX)
    kms_key: str = ""
    """The KMS key for what is stored; empty: the bucket's own default encryption."""

    @field_validator("backend")
    @classmethod
    def _is_in_the_catalogue(cls, name: str) -> str:
        return require_store(name)

    @model_validator(mode="after")
    def _needs_are_given(self) -> Self:
        missing = [key for key in self.facts.needs if not getattr(self, key)]
        if missing:
            raise ValueError(f"backend = '{self.backend}' needs {' and '.join(missing)}")
        return self

    @property
    def facts(self) -> StoreFacts:
        """What the catalogue says of the store."""
        return STORES[self.backend]


class News(Section):
    """How news of jobs comes."""

    backend: Literal["local", "sqs"] = "local"
    queue_url: str = ""

    @model_validator(mode="after")
    def _queue_is_named(self) -> Self:
        if self.backend == "sqs" and not self.queue_url:
            raise ValueError("backend = 'sqs' needs queue_url")
        return self


class Mirror(Section):
    """Where states are mirrored."""

    backend: Literal["none", "dynamodb"] = "none"
    table: str = ""
    keep_days: int = Field(90, ge=1)
    """How long the table keeps what is over."""
    files_of: Literal["own", "all"] = "own"
    """For the page in the cloud: `all`, and it leads to files under every prefix of the bucket, as the
    gateways of the table say theirs."""
    layout: Literal["own", "iris-web"] = "own"
    """`iris-web`: with items of the present web client's own form, in a table of its own."""
    web_table: str = ""
    web_user: str = ""
    """Whose studies they are there: a user's `sub` of Cognito."""

    @model_validator(mode="after")
    def _table_is_named(self) -> Self:
        if self.backend == "dynamodb" and not self.table:
            raise ValueError("backend = 'dynamodb' needs table")
        if self.is_for_web_client and not (self.backend == "dynamodb" and self.web_table and self.web_user):
            raise ValueError("layout = 'iris-web' needs backend = 'dynamodb', web_table and web_user")
        return self

    @property
    def is_for_web_client(self) -> bool:
        """Whether the present web client sees the studies."""
        return self.layout == "iris-web"


class Watch(Section):
    """Where figures of this gateway are put for alarms and a dashboard."""

    backend: Literal["none", "cloudwatch"] = "none"
    namespace: str = Field("IrisGateway", pattern=r"^[A-Za-z0-9_.#-]{1,255}$")
    every_s: float = Field(60.0, ge=1, le=300)
    """How often; the alarm on a missing heartbeat expects at least one in five minutes."""


class Traces(Section):
    """Where traces are put."""

    endpoint: str = Field("", pattern=r"^(https?://[^\s?#@]+)?$")
    """Where a collector takes them; empty: as OpenTelemetry's variables say, which may be nowhere."""

    @property
    def is_wanted(self) -> bool:
        """Whether anything names a collector."""
        return bool(self.endpoint) or any(map(os.environ.get, OTEL_VARIABLES))


class Aws(Section):
    """The AWS region and, for tests, another endpoint."""

    region: str = "us-east-1"
    endpoint_url: str = ""


class Api(Section):
    """The admin status API and its page."""

    host: str = "127.0.0.1"
    port: FreePort = 8080
    auth: Literal["none", "token", "oidc", "cognito"] = "token"
    oidc: Oidc = Oidc()
    sign_in_url: str = Field("", pattern=_SIGN_IN)
    """Of the user pool's domain, where the page signs in; empty: whatever stands before it does that."""
    sign_in_client: str = Field("", pattern=r"^[A-Za-z0-9_+]*$")
    """The user pool's client that the page is, without a secret."""
    addresses: list[Network] = []
    """From where it may be asked; empty: from anywhere."""
    proxies: list[Network] = []
    """Who says truly, before the API, who asks and whether by TLS."""
    public_url: str = Field("", pattern=r"^(https?://[^\s?#]+[^\s?#/])?$")
    """Where people reach the page, for links in messages; empty: these have none."""
    max_upload_mb: int = Field(2048, ge=1)
    """The largest NIfTI that is taken by hand, as it comes and unpacked."""
    viewer_url: str = ""
    """Where the site's viewer shows a study, with `{study_uid}` and the like; empty: there is none."""

    @field_validator("viewer_url")
    @classmethod
    def _is_the_address_of_a_study(cls, value: str) -> str:
        if value:
            places_of(value)
        return value

    @model_validator(mode="after")
    def _sign_in_is_whole(self) -> Self:
        if bool(self.sign_in_url) != bool(self.sign_in_client):
            raise ValueError("sign_in_url and sign_in_client belong together; give both, or neither")
        if self.sign_in_url and self.auth != "cognito":
            raise ValueError("sign_in_url is for auth = 'cognito'; leave it empty")
        if self.auth == "oidc" and not self.oidc.is_whole:
            raise ValueError("auth = 'oidc' needs issuer, client_id and groups in the table [api.oidc]")
        return self


class Seg(Section):
    """How DICOM-SEG objects are made."""

    type: Literal["binary", "labelmap", "auto"] = "binary"
    transfer_syntax: Literal["", "explicit", "deflated", "deflated_frame", "rle", "jpegls"] = ""
    crop: bool = False
    background_item: bool = True
    even_grid: bool = False
    """Whether a segmentation of slices that lean or are uneven has another on an even grid beside it."""
    series_description: str = "IRIS {task} (research) {source_description}"
    series_number: int = Field(9000, ge=0)

    @model_validator(mode="after")
    def _type_can_have_the_transfer_syntax(self) -> Self:
        if self.type == "binary" and self.transfer_syntax in ("rle", "jpegls"):
            raise ValueError(
                f"transfer_syntax = '{self.transfer_syntax}' is for type = 'labelmap'; "
                "for 'binary' there are 'explicit', 'deflated' and 'deflated_frame'"
            )
        return self

    @field_validator("series_description")
    @classmethod
    def _has_known_fields_only(cls, value: str) -> str:
        try:
            value.format(task="total", source_number="2", source_description="")
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"cannot be filled in ({error}); known: {{task}}, {{source_number}}, {{source_description}}"
            ) from None
        return value


class Overlay(Section):
    """How slices with contours are made."""

    plane: Literal["source", "axial", "coronal", "sagittal"] = "source"
    transfer_syntax: Literal["auto", "explicit", "rle", "jpegls", "jpeg2000"] = "explicit"
    """A destination that does not take it gets them uncompressed; `auto`: the smallest that it takes."""
    max_mb: float = Field(500, gt=0)
    """A series that would be larger shows every second, third, ... slice only."""
