"""What is not allowed in a file or a wish, said in one sentence that never quotes a value from outside."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

_HAS_TO_BE: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text",
    "path_type": "must be a path, as a text",
    "list_type": "must be a list, as [ ... ]",
    "tuple_type": "must be a list, as [ ... ]",
    "dict_type": "must be a table of keys and values, as {{ ... }}",
    "model_type": "must be a table of keys and values, as {{ ... }}",
    "model_attributes_type": "must be a table of keys and values, as {{ ... }}",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must be of the form {pattern} (a regular expression)",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "enum": "must be {expected}",
    "datetime_type": "must be a time, as 2026-01-31T08:00:00Z",
    "datetime_parsing": "must be a time, as 2026-01-31T08:00:00Z",
    "datetime_from_date_parsing": "must be a time, as 2026-01-31T08:00:00Z",
    "timezone_aware": "must say its time zone, as 2026-01-31T08:00:00Z does",
    "extra_forbidden": "is a key that nothing knows",
    "json_invalid": "is no JSON",
}
"""By the kind of pydantic's error (https://docs.pydantic.dev/latest/errors/validation_errors/)."""


class ContractError(ValueError):
    """A file of the job folder or of the catalogue, or a wish in it, that is not allowed; one sentence."""


class ModelError(ContractError):
    """The model of one's own that is set is not there, or is none that its engine can run; one sentence."""


def reasons_in(error: ValidationError) -> str:
    """Say where and why in one line, without the offending values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {what_is_wrong(dict(item))}"
        for item in error.errors(include_input=False, include_url=False)
    )


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """Say what a value has to be, in our words: pydantic's are for whoever wrote the model.

    Parameters
    ----------
    error
        One of `ValidationError.errors`.
    """
    if error["type"] in ("value_error", "assertion_error"):  # a sentence of ours
        return str(error["msg"]).partition(", ")[2]
    said = _HAS_TO_BE.get(error["type"], "cannot be used as it is; the documentation says what it takes")
    return said.format_map(error.get("ctx", {}))


def printable(text: str) -> str:
    """Cut a name that came from outside to something fit for one line."""
    return re.sub(r"[^\w.-]", "?", text)[:40]
