"""Which engine segments, and which model it is where that is one's own."""

from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from .sections import Section

if TYPE_CHECKING:
    from batch_job.contract import EngineFacts, EngineSettings


class Engine(Section):
    """What segments."""

    name: str = "threshold"
    version: str = ""
    model: str = ""
    """The folder of a model of one's own."""
    command: tuple[str, ...] = ()
    """A program of one's own, with its arguments."""
    image: str = ""
    """A container image of one's own."""
    task: str = Field("", pattern=r"^[A-Za-z0-9_.-]{0,64}$")
    """How the one task of such a model is called; empty: as the model says."""
    modality: str = Field("", pattern=r"^[A-Z]{0,16}$")
    """The Modality that such a model works on; empty: as the model says."""

    @field_validator("name")
    @classmethod
    def _is_in_the_catalogue(cls, name: str) -> str:
        from batch_job.contract import recorded_facts  # late: who reads states needs no engine

        return recorded_facts(name).name

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.model_fields_set:  # the default is, and who reads states needs no engine
            _ = self.facts
        return self

    @property
    def facts(self) -> "EngineFacts":
        """All that is known of it, with what its model says."""
        from batch_job.contract import engine_facts

        return engine_facts(self.name, self.settings)

    @property
    def settings(self) -> "EngineSettings":
        """What says which model it is, as the processes of jobs get it."""
        from batch_job.contract import EngineSettings

        return EngineSettings(**{name: getattr(self, name) for name in EngineSettings.model_fields})
