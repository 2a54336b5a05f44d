"""Which studies are meant, as lists are asked for them, and as what is done in bulk says it."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from gateway.ledger.finding import StudyFilter
from gateway.ledger.ordering import LATEST_FIRST, Order, Sort
from gateway.ledger.states import StudyState
from gateway.ledger.waiting import Waits

from .listings import DEFAULT_LIMIT, MAX_LIMIT

Word = Annotated[str, Field(max_length=128)]
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 9998  # in any time zone


def _within_the_calendar(at: datetime) -> datetime:
    """Only times whose text in UTC has a year of four digits stand in the ledger's order."""
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"must be a time of the years {FIRST_YEAR} to {LAST_YEAR}")
    return at


Moment = Annotated[AwareDatetime, AfterValidator(_within_the_calendar)]


class OfStudies(BaseModel):
    """What is said of studies alike in lists and in bulk; what is left out is any."""

    q: Word = Field(
        "",
        description="Only studies whose Patient ID, accession number, UID or key begins so, or the key of a"
        " job or delivery of theirs",
    )
    waits: Waits | None = Field(
        None,
        description="Only studies that wait for this, among other things maybe. person: something failed or"
        " is held, and a person decides; sender: not all images have come, or nobody said so; gateway: a"
        " volume is to be prepared, or a result to be made; queue: a job waits there, or runs; destination:"
        " a result is to be sent, or its destination to say that it keeps it",
    )
    modality: Word = Field("", description="Only studies with images of this modality: CT, MR, SR, ...")
    sender: Word = Field("", description="Only studies with images from this AE title, or token of STOW-RS")
    rule: Word = Field("", description="Only studies with a job of this rule")
    flag: Word = Field("", description="Only studies with a result that has this flag (docs/quality.md)")


class StudyQuery(OfStudies):
    """What a list of studies is asked for."""

    model_config = ConfigDict(extra="ignore")

    state: StudyState | None = Field(None, description="Only studies in this state")
    since: Moment | None = Field(
        None,
        description="Only studies received from this time on, ISO 8601 with its zone: 2026-01-31T08:00:00Z",
    )
    until: Moment | None = Field(None, description="Only studies received before this time")
    destination: Word = Field("", description="Only studies of which a result is there, or is to go there")
    sort: Sort | None = Field(
        None,
        description="The order; left out: by when they were received, in the cloud by their last change."
        " state: what is most urgent first",
    )
    order: Literal["asc", "desc"] | None = Field(
        None, description="Left out: the latest and the largest first, names from A to Z"
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Items on one page")
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before")
    count: bool = Field(False, description="Whether `total` is to say how many they are on all pages")

    @property
    def wanted(self) -> StudyFilter:
        """The studies that are meant."""
        return replace(
            _of_studies(self),
            state=self.state or "",
            since=self.since,
            until=self.until,
            destination=self.destination,
        )

    @property
    def in_order(self) -> Order | None:
        """The order that is asked for; None: whichever is usual."""
        if self.sort is None and self.order is None:
            return None
        by = self.sort or Sort.RECEIVED
        is_descending = self.order == "desc" if self.order is not None else by in LATEST_FIRST
        return Order(by, is_descending)


class StudiesMeant(OfStudies):
    """Whose things are meant by what is done in bulk, where `state` and times alone are the things' own."""

    keys: list[Word] = Field(
        [], max_length=MAX_LIMIT, description="Only of these studies, by their whole keys"
    )
    study_state: StudyState | None = Field(None, description="Only of studies in this state")
    study_destination: Word = Field(
        "", description="Only of studies of which a result is there, or is to go there"
    )
    received_since: Moment | None = Field(None, description="Only of studies received from this time on")
    received_until: Moment | None = Field(None, description="Only of studies received before this time")

    @property
    def studies(self) -> StudyFilter:
        """The studies that are meant."""
        return replace(
            _of_studies(self),
            state=self.study_state or "",
            since=self.received_since,
            until=self.received_until,
            destination=self.study_destination,
            keys=tuple(self.keys),
        )


def _of_studies(said: OfStudies) -> StudyFilter:
    return StudyFilter(
        sought=said.q.strip(),
        waits=said.waits or "",
        modality=said.modality,
        sender=said.sender,
        rule=said.rule,
        flag=said.flag,
    )
