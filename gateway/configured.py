"""What a configuration amounts to: its rules with their tasks, the engine, and what should not stay so."""

from importlib import metadata

from batch_job.contract import ContractError, EngineFacts, canonical_options
from gateway.arrival.planning import TaskRule
from gateway.arrival.rules import RuleError, compile_rule
from gateway.config import Config, ConfigError, Rule


def task_rules(config: Config, facts: EngineFacts) -> list[TaskRule]:
    """The rules with their tasks, checked against the engine.

    Raises
    ------
    ConfigError
        A task or option that the engine lacks, a `when` that cannot be understood, or a rule whose Modality
        its task can never take.
    """
    rules = []
    for rule in config.rule:
        try:
            task = rule.task or facts.default_task
            modality = facts.task(task).modality
            options = canonical_options(facts, task, rule.options)
            compiled = compile_rule(rule.model_copy(update={"options": options}))
        except (ContractError, RuleError) as error:
            text = str(error)
            raise ConfigError(text if text.startswith("rule ") else f"rule {rule.name}: {text}") from None
        _refuse_wrong_modality(rule, task, modality)
        send_to = tuple(destination.name for destination in config.destinations_of(rule))
        rules.append(TaskRule(compiled, task, modality, send_to, config.outputs_of(rule)))
    return rules


def _refuse_wrong_modality(rule: Rule, task: str, modality: str) -> None:
    wanted = rule.when.get("Modality")
    values = wanted if isinstance(wanted, list) else [wanted]
    plain = [str(value) for value in values if value is not None and str(value)[:1] not in ("!", "~")]
    if plain and modality not in plain:
        raise ConfigError(
            f"rule {rule.name}: the task {task} works on {modality}, the rule takes {', '.join(plain)} only"
        )


def engine_version(config: Config, facts: EngineFacts) -> str:
    """The version for every job's identity: the configured, else the installed, else the recorded."""
    return config.engine.version or _installed_version(facts) or facts.version


def _installed_version(facts: EngineFacts) -> str:
    """The version of the engine's own package; empty where it has none, or is not installed here."""
    try:
        return metadata.version(facts.package) if facts.package else ""
    except metadata.PackageNotFoundError:
        return ""


def warnings_about(config: Config) -> list[str]:
    """What is allowed but should not stay so, one sentence each."""
    sentences = []
    if not config.dicom.allow:
        sentences.append("dicom.allow is empty: anyone who reaches the port may send; name the PACS there")
    if not config.destination:
        sentences.append("there is no [[destination]]: results are encoded and stay here; name the PACS")
    sentences += [
        f"destination {to.name}: its secret goes over the network for all to read; call it by https"
        for to in config.destination
        if to.shows_its_secret
    ]
    sentences += filter(None, (to.why_no_report(config.dicom) for to in config.destination))
    sentences += config.retention.sentences_about(has_destination=bool(config.destination))
    if config.queue.backend == "batch" and config.news.backend == "local":
        sentences.append(
            f"job news are asked for every {config.queue.reconcile_s:g} s only; set news.backend = 'sqs'"
        )
    if config.queue.backend == "batch" and config.engine.image:
        sentences.append(
            "engine.image starts nothing in AWS Batch, whose jobs run the image of their job definition: put"
            " the program there, name it by engine.command, and by IRIS_ENGINE__COMMAND in the job definition"
        )
    facts = config.engine.facts
    if facts.package and config.queue.backend == "local" and not _installed_version(facts):
        sentences.append(
            f"{facts.package} is not installed here: every job will fail; pip install {facts.package}"
        )
    return sentences
