"""An engine's options: defaults filled in, and what a task cannot do refused by its name."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from batch_job.refusals import ContractError, printable

from . import EngineFacts, OptionKind, TaskFacts, engine_facts


def canonical_options(engine: str | EngineFacts, task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in defaults, sort by name and within lists, so that equal wishes are equal dictionaries.

    Parameters
    ----------
    engine
        Its facts, or its name where this process's variables say which model it is.

    Raises
    ------
    ContractError
        An option that the engine does not have, of another type than its default, or that the task does not
        know; a structure that the task does not have.
    """
    of = engine if isinstance(engine, EngineFacts) else engine_facts(engine)
    facts = of.task(task)
    for name, value in options.items():
        if name not in of.options:
            known = ", ".join(of.options) or "none"
            raise ContractError(f'{of.name} has no option "{printable(name)}"; it has: {known}')
        _check_type(of.name, name, value, type(of.options[name].default))
    full = {name: options.get(name, of.options[name].default) for name in sorted(of.options)}
    _check_variant(of, task, facts, full)
    for name, option in of.options.items():
        if full[name] == option.default:
            continue
        if option.kind is OptionKind.STRUCTURES:
            _check_subset(of, name, task, full[name])
        if option.modality not in ("", facts.modality):
            only = f"{name} works on {option.modality}"
            raise ContractError(f"{only}, the task {task} on {facts.modality}; leave the option out")
        if option.fixed:
            raise ContractError(f"{option.fixed}; leave the option out")
    return {name: sorted(set(value)) if isinstance(value, list) else value for name, value in full.items()}


def _check_type(engine: str, name: str, value: Any, wanted: type[Any]) -> None:
    if type(value) is not wanted or (
        isinstance(value, list) and any(type(item) is not str for item in value)
    ):
        said = "a list of names" if wanted is list else f"of type {wanted.__name__}"
        raise ContractError(f'the option "{name}" of {engine} must be {said}')


def _check_variant(of: EngineFacts, task: str, facts: TaskFacts, options: Mapping[str, Any]) -> None:
    models = [name for name, option in of.options.items() if option.kind is OptionKind.MODEL]
    chosen = [name for name in models if options[name] != of.options[name].default]
    if len(chosen) > 1:
        raise ContractError(f"{' and '.join(chosen)} are two models; choose one of them")
    for name in chosen:
        if name not in facts.variants:
            having = [other for other, its in of.tasks.items() if name in its.variants]
            raise ContractError(f"the task {task} has no {name} model; those that do: {', '.join(having)}")


def _check_subset(of: EngineFacts, option: str, task: str, names: list[str]) -> None:
    there = of.tasks[task].subset
    if not there:
        having = [other for other, its in of.tasks.items() if its.takes_subset]
        raise ContractError(f"the task {task} knows no {option}; those that do: {', '.join(having)}")
    for name in names:
        if name not in there:
            similar = get_close_matches(name, there, n=1)
            hint = f"; is {similar[0]} meant?" if similar else ""
            raise ContractError(f'{option}: {task} has no structure "{printable(name)}"{hint}')
