"""The keys of `[engine]` that say which model an engine is: in a gateway's file, and as variables of jobs.

`engine.model` of the configuration is `IRIS_ENGINE__MODEL` in a job's environment, as it is in a gateway's:
what a job may start is never taken from its job folder.
"""

import json
import os
from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batch_job.refusals import ContractError, reasons_in

VARIABLE: Final = "IRIS_ENGINE__"


class EngineSettings(BaseModel):
    """What an engine is told beside task and options; each engine takes those that its facts name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = ""
    """That of what only its operator knows the version of; not for others."""
    model: str = ""
    """The folder of a trained model."""
    command: tuple[str, ...] = ()
    """A program with its arguments."""
    image: str = ""
    """A container image."""
    task: str = Field("", pattern=r"^[A-Za-z0-9_.-]{0,64}$")
    """How its one task is called; empty: as the engine finds it."""
    modality: str = Field("", pattern=r"^[A-Z]{0,16}$")
    """The DICOM Modality that it works on; empty: as the engine finds it."""

    @property
    def given(self) -> tuple[str, ...]:
        """The keys that are set, and say which model it is."""
        return tuple(name for name, value in self if value and name != "version")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the variables.

        Raises
        ------
        ContractError
            The command is no list in JSON, or a name has other characters than names may have.
        """
        found: dict[str, object] = {}
        for name in cls.model_fields:
            if text := environment.get(VARIABLE + name.upper(), ""):
                found[name] = _list_in(text) if name == "command" else text
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise ContractError(f"{VARIABLE}...: {reasons_in(error)}") from None

    def variables(self) -> dict[str, str]:
        """The same as variables, for the processes of jobs; one that is not set is empty there."""
        return {
            VARIABLE + name.upper(): json.dumps(value)
            if isinstance(value, tuple) and value
            else str(value or "")
            for name, value in self
        }


def _list_in(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise ContractError(
            f'{VARIABLE}COMMAND is no list in JSON; ["my-program", "{{input}}"] would be'
        ) from None
