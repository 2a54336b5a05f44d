"""What is wrong with a configuration, in sentences: the key, what it has to be, and which key may be meant.

What is wrong with a value is said as everywhere (`batch_job.contract.what_is_wrong`).
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

PREFIX: Final = "IRIS_"
"""Of the variables that set a key."""
_ALIKE: Final = 0.75
"""How much of a name must be right; difflib's ratio."""


def in_sentences(model: type[BaseModel], errors: Sequence[Mapping[str, Any]]) -> str:
    """Say what pydantic found, by key.

    Parameters
    ----------
    errors
        As `ValidationError.errors` gives them.
    """
    said: dict[str, list[str]] = {}
    for error in errors:
        where = ".".join(_place(model, error["loc"]))
        wrong = said.setdefault(where, [])
        sentence = _sentence(model, where, error)
        if sentence not in wrong:  # a value of several types is wrong for each of them
            wrong.append(sentence)
    return "; ".join(
        f"{where}: {' or '.join(wrong)}" if where else "; ".join(wrong) for where, wrong in said.items()
    )


def unknown_key(model: type[BaseModel], where: str) -> str:
    """Say of a key that there is none of that name, and which one may be meant.

    Parameters
    ----------
    where
        As it was found: "dicom.prot", "rule.0.whn".
    """
    meant = _meant(model, where)
    asked = f"did you mean {' or '.join(meant)}? Every" if meant else "every"
    return f"{where}: unknown key; {asked} key stands in docs/operator.md"


def misnamed(model: type[BaseModel], variable: str) -> str | None:
    """Say of a variable that it sets nothing, though it seems meant to; None: it does, or is not ours.

    Each step from a table to its key is written with two underscores: IRIS_DICOM__PORT.
    """
    name = variable.upper().removeprefix(PREFIX)
    if name == variable.upper():
        return None
    section = name.partition("__")[0].lower()
    if section in model.model_fields:
        table = [key for key in _keys(model) if key[0] == section]
        right = [key for key in table if _one_underscore(key) == name.replace("__", "_")]
        is_right = not right or any("__".join(key).upper() == name for key in right)
        return None if is_right else _named_so(variable, right[0])
    if "__" in name:
        return unknown_key(model, variable)
    if name.partition("_")[0].lower() not in model.model_fields:
        return None  # of a job, or of another program
    by_name = {_one_underscore(key): key for key in _keys(model)}
    found = get_close_matches(name, by_name, n=1, cutoff=_ALIKE)
    return _named_so(variable, by_name[found[0]]) if found else None


def _named_so(variable: str, key: Sequence[str]) -> str:
    right = PREFIX + "__".join(key).upper()
    return f"{variable}: no key is set by that; it is {right}, with two underscores behind each table's name"


def _one_underscore(key: Sequence[str]) -> str:
    return "_".join(key).upper()


def _sentence(model: type[BaseModel], where: str, error: Mapping[str, Any]) -> str:
    from batch_job.contract import what_is_wrong  # late: who reads states needs no engine

    if error["type"] == "extra_forbidden":
        return unknown_key(model, where).removeprefix(f"{where}: ")
    return what_is_wrong(error)


def _place(model: type[BaseModel], found: Sequence[str | int]) -> Iterator[str]:
    """The key, without what pydantic adds to tell the types of a value apart that may be of several."""
    of: type[BaseModel] | None = model
    has_free_keys = False
    for part in map(str, found):
        if part.isdecimal() or has_free_keys:
            yield part
            has_free_keys = False
        elif of is not None:
            yield part
            field = of.model_fields.get(part)
            of = _table_in(field.annotation) if field is not None else None
            has_free_keys = field is not None and get_origin(field.annotation) is dict


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Every key and table by the names on the way to it."""
    for name, field in model.model_fields.items():
        yield (name,)
        table = _table_in(field.annotation)
        if table is not None:
            yield from ((name, *key) for key in _keys(table))


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a table, or of those in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)


def _meant(model: type[BaseModel], where: str) -> list[str]:
    """The keys that are alike, in the same table first; else those of that name in other tables."""
    parts = [part for part in where.split(".") if not part.isdecimal()]
    keys = [".".join(key) for key in _keys(model)]
    same_table = [key for key in keys if key.split(".")[:-1] == parts[:-1]]
    near = {key.rpartition(".")[2]: key for key in same_table}
    found = get_close_matches(parts[-1], near, n=1, cutoff=_ALIKE)
    if found:
        return [near[found[0]]]
    return [key for key in keys if key.split(".")[-1] == parts[-1]][:3] or get_close_matches(
        ".".join(parts), keys, n=1, cutoff=_ALIKE
    )
