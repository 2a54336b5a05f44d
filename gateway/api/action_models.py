"""The shapes of what is asked of many things at once, and of what is answered."""

from pydantic import BaseModel, ConfigDict, Field

from gateway.ledger.bulk import Action

from .studies.study_filter import Moment, StudiesMeant


class AlsoTo(BaseModel):
    """Where a delivery is to be sent again."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field("", max_length=100, description="A configured destination; empty: where it went")


class ActionFilter(StudiesMeant):
    """Which things are meant: of which studies, and which of theirs; what is left out is any."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(
        "",
        max_length=128,
        description="What belongs to a study, job or delivery: its key, a beginning that no other has,"
        " or a Study Instance UID",
    )
    state: str = Field("", max_length=32, description="The delivery's, the job's or the study's own")
    destination: str = Field("", max_length=100, description="Only deliveries there")
    output: str = Field("", max_length=32, description="Only deliveries of that: seg, sr, ...")
    since: Moment | None = Field(
        None, description="Only what is as it is, or waits to be sent, since this time or later"
    )
    until: Moment | None = Field(None, description="Only what is so since before this time")
    reason: str = Field(
        "", max_length=64, description="Only what is in quarantine for that: a code; `held` for jobs"
    )
    object_sender: str = Field(
        "", max_length=64, description="Only objects that are in quarantine and came from there"
    )


class ActionArguments(BaseModel):
    """What an action needs to know beside."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field("", max_length=100, description="For redirect and resend: a configured destination")


class BulkAction(BaseModel):
    """Something to be done to all things that a filter finds; a misspelt `filter` is not taken for none."""

    model_config = ConfigDict(extra="forbid")

    action: Action = Field(description="retry without a state takes what failed")
    filter: ActionFilter = ActionFilter()
    arguments: ActionArguments = ActionArguments()
    dry_run: bool = Field(True, description="Only say how many they are; nothing is done unless it is false")


class BulkOutcome(BaseModel):
    """How many things were meant, or it was done to."""

    count: int
    studies: int = Field(description="Of how many studies they are")
    keys: list[str] = Field(description="Their keys, the first 1000")
    left_alone: int = Field(description="Those whose state does not allow it, or not any more")
    why: str = Field(description="What the first of them that was left alone says; empty where none was")
