"""The shapes of what waits for a person, and of an object's header."""

from typing import Literal

from pydantic import BaseModel, Field


class Quarantined(BaseModel):
    """Something that waits for a person: an object that was put aside, or a job that is held."""

    key: str
    kind: Literal["object", "job"]
    reason: str = Field(description="A code; `held` for a job")
    what: str = Field(description="What happened, as the code means it")
    sentence: str = Field(description="What happened to this one")
    to_do: str = Field(description="What to do about it")
    study_uid: str | None
    study_key: str | None = Field(description="null: its study is not known here")
    sender: str | None
    task: str | None
    releasable: bool = Field(description="Whether releasing it may help: others are sent again")
    times: int = Field(description="How often the same object came")
    first: str
    last: str
    dismissed: str | None = Field(description="When a person dismissed it; null: it waits")
    dismissed_by: str = Field(description="Who did")


class QuarantineReason(BaseModel):
    """A reason for which something waits."""

    reason: str = Field(description="A code; `held`: of jobs")
    what: str = Field(description="What it means")


class QuarantineList(BaseModel):
    """One page of the quarantine, the latest first.

    Always empty in the cloud: what was put aside is not mirrored, and a held job stands with its study, which
    is `held`. Both are released at the gateway.
    """

    items: list[Quarantined]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last")
    waiting: int = Field(description="How many wait for a person in all, whatever was asked for")
    reasons: list[QuarantineReason] = Field(description="For which they do, each once")
    senders: list[str] = Field(description="From whom objects came that wait, each once")


class HeaderElement(BaseModel):
    """One element of a data set (PS3.5 7.1)."""

    tag: str = Field(description="(0010,0020)")
    keyword: str = Field(description="Empty of one that the standard does not have")
    depth: int = Field(description="In how many sequences it stands")
    vr: str
    value: str = Field(description="As text, cut where it is long; of bytes how many they are")


class PutAsideHeader(BaseModel):
    """What the header of an object in quarantine says. It names the patient."""

    is_dicom: bool = Field(description="Whether it can be parsed; else there is only what stands before")
    nature: str = Field(description="What it is, by its first bytes where it is no DICOM")
    size_bytes: int
    elements: list[HeaderElement]
    left_out: int = Field(description="Elements that are not shown, since they are too many")
