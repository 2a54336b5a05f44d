"""What is not allowed in a file or a wish, said in one sentence that never quotes a value from outside."""

import re

from pydantic import ValidationError


class ContractError(ValueError):
    """A file of the job folder or of the catalogue, or a wish in it, that is not allowed; one sentence."""


class ModelError(ContractError):
    """The model of one's own that is set is not there, or is none that its engine can run; one sentence."""


def reasons_in(error: ValidationError) -> str:
    """Say where and why in one line, without the offending values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    )


def printable(text: str) -> str:
    """Cut a name that came from outside to something fit for one line."""
    return re.sub(r"[^\w.-]", "?", text)[:40]
