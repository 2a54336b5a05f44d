"""The whole configuration, typed, from one TOML file and IRIS_* variables (a variable wins).

Keys that belong to parts which do not work yet are known and validated here, and refused with a sentence
when somebody switches them on (`Config.refuse_what_does_not_work_yet`).
"""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
"""PS3.5 6.2, value representation AE: 1 to 16 characters, no backslash, not blank."""

Port = Annotated[int, Field(ge=1, le=65535)]
FreePort = Annotated[int, Field(ge=0, le=65535)]
WhenValue = str | int | float | list[str | int | float]

_PREFIX = "IRIS_"
_UNKNOWN = "unknown key; see the configuration in the README"


class ConfigError(Exception):
    """The configuration cannot be used; the text names the key and says what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(_Section):
    """Who this gateway is and where it keeps its files."""

    name: str = Field("demo", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    data_dir: Path = Path("./iris-data")
    secret_file: str = ""
    low_water_mb: int = Field(1024, ge=0)
    """Free space below which new associations are rejected as transient."""


class AllowedSender(_Section):
    """One sender that may open associations: both its AE title and its address must match."""

    ae_title: AeTitle
    address: str

    @field_validator("address")
    @classmethod
    def _is_a_network(cls, value: str) -> str:
        ipaddress.ip_network(value, strict=False)
        return value


class Tls(_Section):
    """DICOM TLS; all empty means plain TCP."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""


class Dicom(_Section):
    """The DICOM listener."""

    ae_title: AeTitle = "IRIS"
    host: str = "127.0.0.1"
    port: FreePort = 11112
    max_associations: int = Field(32, ge=1)
    allow: list[AllowedSender] = []
    tls: Tls = Tls()


class Find(_Section):
    """The PACS that is asked by C-FIND which instances a study has."""

    ae_title: str = Field("", max_length=16)
    host: str = ""
    port: FreePort = 0


class StudyTimes(_Section):
    """When a study counts as complete."""

    quiet_s: float = Field(5.0, ge=0)
    timeout_s: float = Field(60.0, ge=0)
    find: Find = Find()


class Destination(_Section):
    """Where results are sent."""

    name: str = Field(min_length=1)
    ae_title: AeTitle | None = None
    host: str | None = None
    port: Port | None = None
    stow: str = ""
    supersede: Literal["add", "iocm", "delete"] = "add"
    give_up_after_h: float = Field(72.0, gt=0)
    """How long an unreachable destination is retried before the delivery is failed."""

    @model_validator(mode="after")
    def _is_reachable_somehow(self) -> "Destination":
        if self.stow:
            if self.ae_title or self.host or self.port:
                raise ValueError("give either stow or ae_title, host and port, not both")
        elif not (self.ae_title and self.host and self.port):
            raise ValueError("needs ae_title, host and port, or stow")
        return self


class Rule(_Section):
    """Which volumes get which task, and where the results go."""

    name: str = Field(min_length=1)
    when: dict[str, WhenValue] = {}
    task: str = ""
    options: dict[str, str | int | float | bool | list[str]] = {}
    outputs: list[Literal["seg", "sr", "rtstruct", "overlay"]] = Field(["seg"], min_length=1)
    send_to: list[str] | None = None
    priority: int = 0
    on_flags: Literal["deliver", "mark", "hold"] = "mark"
    choose: Literal["best", "all"] = "best"
    leave_site: bool | Literal["no_head"] = True


class Engine(_Section):
    """What segments."""

    name: Literal["threshold", "totalsegmentator"] = "threshold"
    version: str = ""


class Queue(_Section):
    """Where jobs run."""

    backend: Literal["local", "batch"] = "local"
    workers: int = Field(1, ge=1)
    max_jobs_per_hour: int = Field(0, ge=0)
    job_queue: str = ""
    job_definition: str = ""


class Objects(_Section):
    """Where job folders lie."""

    backend: Literal["local", "s3"] = "local"
    bucket: str = ""
    prefix: str = ""


class News(_Section):
    """How news of jobs comes."""

    backend: Literal["local", "sqs"] = "local"
    queue_url: str = ""


class Mirror(_Section):
    """Where states are mirrored."""

    backend: Literal["none", "dynamodb"] = "none"
    table: str = ""


class Aws(_Section):
    """The AWS region and, for tests, another endpoint."""

    region: str = "us-east-1"
    endpoint_url: str = ""


class Api(_Section):
    """The admin status API and its page."""

    host: str = "127.0.0.1"
    port: FreePort = 8080
    auth: Literal["none", "token", "cognito"] = "token"


class Seg(_Section):
    """How DICOM-SEG objects are made."""

    type: Literal["binary", "labelmap"] = "binary"
    transfer_syntax: Literal["", "explicit", "deflated", "deflated_frame", "rle", "jpegls"] = ""
    crop: bool = False
    series_description: str = "{task} of {source_number} (research use)"
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


class Config(BaseSettings):
    """Everything that can be set; every key has a default."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    site: Site = Site()
    dicom: Dicom = Dicom()
    study: StudyTimes = StudyTimes()
    destination: list[Destination] = []
    rule: list[Rule] = [Rule(name="ct", when={"Modality": "CT"})]
    engine: Engine = Engine()
    queue: Queue = Queue()
    objects: Objects = Objects()
    news: News = News()
    mirror: Mirror = Mirror()
    aws: Aws = Aws()
    api: Api = Api()
    seg: Seg = Seg()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables first, then the file (which comes in as the initial values)."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_fit_together(self) -> "Config":
        for what, names in (
            ("destination", [d.name for d in self.destination]),
            ("rule", [r.name for r in self.rule]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} names must differ: {', '.join(sorted(twice))} stands twice")
        known = {d.name for d in self.destination}
        for rule in self.rule:
            missing = [name for name in rule.send_to or [] if name not in known]
            if missing:
                raise ValueError(f"rule {rule.name}: send_to names no [[destination]]: {', '.join(missing)}")
        loopback = self.api.host == "localhost" or _is_loopback(self.api.host)
        if self.api.auth == "none" and not loopback:
            raise ValueError("api.auth = 'none' is allowed on loopback only; set api.auth = 'token'")
        return self

    @property
    def data_dir(self) -> Path:
        """The data directory, absolute."""
        return self.site.data_dir.expanduser().resolve()

    @property
    def secret_path(self) -> Path:
        """The file that holds the site secret."""
        if self.site.secret_file:
            return Path(self.site.secret_file).expanduser().resolve()
        return self.data_dir / "site-secret"

    def destinations_of(self, rule: Rule) -> list[Destination]:
        """Where a rule's results go: what it names, or every destination."""
        return [d for d in self.destination if rule.send_to is None or d.name in rule.send_to]

    def refuse_what_does_not_work_yet(self) -> None:
        """Raise ConfigError where something is switched on that this version does not do."""
        refusals = _not_yet(self)
        if refusals:
            raise ConfigError("; ".join(refusals))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _not_yet(config: Config) -> list[str]:
    """One sentence for each key that is switched on before the part behind it works."""
    switched_on: list[tuple[bool, str]] = [
        (config.queue.backend == "batch", "queue.backend = 'batch': use 'local'"),
        (config.queue.max_jobs_per_hour > 0, "queue.max_jobs_per_hour: leave it at 0"),
        (config.objects.backend == "s3", "objects.backend = 's3': use 'local'"),
        (config.news.backend == "sqs", "news.backend = 'sqs': use 'local'"),
        (config.mirror.backend == "dynamodb", "mirror.backend = 'dynamodb': use 'none'"),
        (config.dicom.tls != Tls(), "dicom.tls: leave it empty"),
        (config.study.find != Find(), "study.find: leave it empty"),
        (config.api.auth == "cognito", "api.auth = 'cognito': use 'token'"),
    ]
    for destination in config.destination:
        where = f"destination {destination.name}"
        switched_on += [
            (bool(destination.stow), f"{where}: stow: use ae_title, host and port"),
            (destination.supersede != "add", f"{where}: supersede = '{destination.supersede}': use 'add'"),
        ]
    for rule in config.rule:
        others = [output for output in rule.outputs if output != "seg"]
        switched_on += [
            (bool(others), f"rule {rule.name}: outputs {', '.join(others)}: use ['seg']"),
            (rule.on_flags == "hold", f"rule {rule.name}: on_flags = 'hold': use 'mark'"),
            (rule.leave_site == "no_head", f"rule {rule.name}: leave_site = 'no_head': use true or false"),
        ]
    return [f"{sentence} (this version does not do that yet)" for on, sentence in switched_on if on]


def load_config(path: Path | None = None) -> Config:
    """Read the configuration.

    Parameters
    ----------
    path
        A TOML file, or None for the defaults and the variables alone.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown, a value is bad, or a part does not work yet; one line
        that names the key.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}; give --config a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
    unknown = _unknown_sections(values)
    if unknown:
        raise ConfigError("; ".join(f"{name}: {_UNKNOWN}" for name in unknown))
    try:
        config = Config(**values)
    except ValidationError as error:
        raise ConfigError("; ".join(_sentence(dict(e)) for e in error.errors())) from None
    except SettingsError:  # it names neither the variable nor what is wrong with it
        names = ", ".join(sorted(name for name in os.environ if name.upper().startswith(_PREFIX)))
        raise ConfigError(
            f"one of the variables {names} cannot be read: lists and tables are written as JSON"
        ) from None
    config.refuse_what_does_not_work_yet()
    return config


def _unknown_sections(values: dict[str, Any]) -> list[str]:
    """Top-level keys and variables that belong to no section: pydantic passes some of them over."""
    variables = [
        name
        for name in os.environ
        if name.upper().startswith(_PREFIX)
        and "__" in name
        and name[len(_PREFIX) :].partition("__")[0].lower() not in Config.model_fields
    ]
    return [*(key for key in values if key not in Config.model_fields), *sorted(variables)]


def _sentence(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where}: {_UNKNOWN}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
