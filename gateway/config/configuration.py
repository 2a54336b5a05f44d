"""The whole configuration, typed, from one TOML file and IRIS_* variables (a variable wins).

Keys that belong to parts which do not work yet are known and validated here, and refused with a sentence
when somebody switches them on (`Config.refuse_what_does_not_work_yet`).
"""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .destinations import Destination
from .engine import Engine
from .notify import Notify
from .outputs import OUTPUTS, files_of, in_order
from .sections import (
    Api,
    Aws,
    Dicom,
    Mirror,
    News,
    Objects,
    Overlay,
    Queue,
    Retention,
    Rule,
    Seg,
    Site,
    StudyTimes,
    Traces,
    Watch,
    is_loopback,
)
from .sentences import PREFIX, in_sentences, misnamed, unknown_key
from .stores import buckets

UPLOAD_RULE = "upload"
"""Stands as the rule of jobs that no rule chose but a person, with a NIfTI."""


class ConfigError(Exception):
    """The configuration cannot be used; the text names the key and says what to do."""


class Config(BaseSettings):
    """Everything that can be set; every key has a default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    site: Site = Site()
    retention: Retention = Retention()
    dicom: Dicom = Dicom()
    study: StudyTimes = StudyTimes()
    destination: list[Destination] = []
    rule: list[Rule] = [Rule(name="ct", when={"Modality": "CT"})]
    engine: Engine = Engine()
    queue: Queue = Queue()
    objects: Objects = Objects()
    news: News = News()
    mirror: Mirror = Mirror()
    watch: Watch = Watch()
    notify: Notify = Notify()
    traces: Traces = Traces()
    aws: Aws = Aws()
    api: Api = Api()
    seg: Seg = Seg()
    overlay: Overlay = Overlay()

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
        if any(rule.name == UPLOAD_RULE for rule in self.rule):
            raise ValueError(f"rule {UPLOAD_RULE}: the name is kept for NIfTI uploads; choose another")
        known = {d.name for d in self.destination}
        for rule in self.rule:
            missing = [name for name in rule.send_to or [] if name not in known]
            if missing:
                raise ValueError(f"rule {rule.name}: send_to names no [[destination]]: {', '.join(missing)}")
        rules = {UPLOAD_RULE, *(rule.name for rule in self.rule)}
        for receiver in self.notify.receivers:
            unknown = [name for name in receiver.rules if name not in rules]
            if unknown:
                raise ValueError(f"notify, {receiver.receiver}: there is no [[rule]] {', '.join(unknown)}")
        self._aws_parts_fit_together()
        if self.dicom.commitment and not self.study.find.is_wanted:
            raise ValueError(
                "dicom.commitment = true needs study.find: what the PACS confirms is committed, nothing else"
            )
        if 0 < self.retention.min_free_mb <= self.site.low_water_mb:
            raise ValueError(
                f"retention.min_free_mb = {self.retention.min_free_mb} must be above site.low_water_mb ="
                f" {self.site.low_water_mb}: else senders are turned away before anything is removed"
            )
        if self.api.auth == "none" and not is_loopback(self.api.host):
            raise ValueError("api.auth = 'none' is allowed on loopback only; set api.auth = 'token'")
        return self

    def _aws_parts_fit_together(self) -> None:
        if self.mirror.is_for_web_client and not self.objects.facts.is_bucket:
            needs = f"objects.backend = {buckets()}"
            raise ValueError(f"mirror.layout = 'iris-web' needs {needs}: its client reads files of a bucket")
        if self.mirror.is_for_web_client and not any("surface" in rule.outputs for rule in self.rule):
            raise ValueError(
                "mirror.layout = 'iris-web' shows surfaces: add 'surface' to the outputs of a rule"
            )
        if self.queue.backend == "batch" and not self.objects.facts.is_bucket:
            needs = f"objects.backend = {buckets()}"
            raise ValueError(f"queue.backend = 'batch' needs {needs}: its jobs read a bucket")
        if self.news.backend == "sqs" and self.queue.backend != "batch":
            raise ValueError("news.backend = 'sqs' needs queue.backend = 'batch': others send no news there")
        self._regions_fit_together()

    def _regions_fit_together(self) -> None:
        first, second = self.aws.region, self.queue.fallback.region
        if second and second == first:
            raise ValueError(f"queue.fallback.region is the first region already ({first}); leave it empty")
        for rule in self.rule:
            if self.leaves_site and rule.regions and first not in rule.regions:
                raise ValueError(
                    f"rule {rule.name}: regions does not name {first} (aws.region), where its job folders lie"
                )

    @property
    def data_dir(self) -> Path:
        """The data directory, absolute."""
        return self.site.data_dir.expanduser().resolve()

    @property
    def leaves_site(self) -> bool:
        """Whether job folders, with the images in them, lie outside this machine."""
        return self.objects.facts.leaves_site

    @property
    def secret_path(self) -> Path:
        """The file that holds the site secret."""
        if self.site.secret_file:
            return Path(self.site.secret_file).expanduser().resolve()
        return self.data_dir / "site-secret"

    def destinations_of(self, rule: Rule) -> list[Destination]:
        """Where a rule's results go: what it names, or every destination."""
        return [d for d in self.destination if rule.send_to is None or d.name in rule.send_to]

    def outputs_of(self, rule: Rule) -> tuple[str, ...]:
        """What is made of a rule's results: what one of its destinations wants, in the catalogue's order.

        A destination that names none wants what the rule says; without destinations that is made, too, and
        always what goes to none.
        """
        wanted = [to.named_outputs or rule.outputs for to in self.destinations_of(rule)] or [rule.outputs]
        wanted.append([output for output in rule.outputs if OUTPUTS[output].files])
        return tuple(in_order({output for outputs in wanted for output in outputs}))

    def names_for(self, rule_name: str, planned: Sequence[str], output: str) -> tuple[str, ...]:
        """Where an output of a job goes, as configured now.

        Parameters
        ----------
        planned
            Where it was to go when the job was planned: holds, as far as it is still there, where there is no
            rule of that name any more.
        """
        if files_of([output]):
            return ()
        rule = self.rule_named(rule_name)
        if rule is None:
            found, said = [to for to in self.destination if to.name in planned], [output]
        else:
            found, said = self.destinations_of(rule), rule.outputs
        # What neither the rule nor a destination names now, the rule named when the job was planned.
        is_for_all = output in said or not any(output in to.named_outputs for to in found)
        return tuple(
            to.name for to in found if (output in to.named_outputs if to.named_outputs else is_for_all)
        )

    def may_be_in(self, rule_name: str, region: str) -> bool:
        """Whether images of jobs of this rule may be in this region of AWS.

        A rule that is not there any more may have kept them out of it; what a person uploaded is nobody's.
        """
        rule = self.rule_named(rule_name)
        if rule is None:
            return rule_name == UPLOAD_RULE
        return not rule.regions or region in rule.regions

    def rule_named(self, name: str) -> Rule | None:
        """The rule of this name as configured now, or None."""
        return next((rule for rule in self.rule if rule.name == name), None)

    def refuse_what_does_not_work_yet(self) -> None:
        """Raise ConfigError where something is switched on that this version does not do."""
        refusals = _not_yet(self)
        if refusals:
            raise ConfigError("; ".join(refusals))


def _not_yet(config: Config) -> list[str]:
    """One sentence for each key that is switched on before the part behind it works."""
    switched_on: list[tuple[bool, str]] = [
        (config.api.auth == "cognito", "api.auth = 'cognito': use 'token' or 'oidc'"),
    ]
    for rule in config.rule:
        switched_on += [
            (rule.leave_site == "no_head", f"rule {rule.name}: leave_site = 'no_head': use true or false"),
        ]
    return [f"{sentence} (this version does not do that yet)" for on, sentence in switched_on if on]


def load_config(path: Path | None = None) -> Config:
    """Read the configuration of a gateway; see `read_config`.

    Raises
    ------
    ConfigError
        It cannot be read, or a part does not work yet; one line that names the key.
    """
    config = read_config(path)
    config.refuse_what_does_not_work_yet()
    return config


def read_config(path: Path | None = None) -> Config:
    """Read the configuration.

    Parameters
    ----------
    path
        A TOML file, or None for the defaults and the variables alone.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown, or a value is bad; one line that names the key.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}; give --config a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
    unknown = _unknown(values)
    if unknown:
        raise ConfigError("; ".join(unknown))
    try:
        return Config(**values)
    except ValidationError as error:
        raise ConfigError(in_sentences(Config, [dict(each) for each in error.errors()])) from None
    except SettingsError:  # it names neither the variable nor what is wrong with it
        names = ", ".join(sorted(name for name in os.environ if name.upper().startswith(PREFIX)))
        raise ConfigError(
            f"one of the variables {names} cannot be read: lists and tables are written as JSON"
        ) from None


def _unknown(values: dict[str, Any]) -> list[str]:
    """Of top-level keys and variables that set nothing, a sentence each: pydantic passes some over."""
    variables = filter(None, (misnamed(Config, name) for name in sorted(os.environ)))
    return [*(unknown_key(Config, key) for key in values if key not in Config.model_fields), *variables]
