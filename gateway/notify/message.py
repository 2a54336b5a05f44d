"""What is told: keys, names of the configuration, codes and numbers, as JSON and in words.

No field takes a text that a sender of images had a hand in.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.config import Site
from gateway.config.notify import OCCASIONS

CONTRACT: Final = 1
KEY_SHOWN: Final = 12
"""So much of a key is enough for every command."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobSaid(_Part):
    """A job by which a study is as it is."""

    job_key: str
    task: str
    rule: str
    code: str


class DeliverySaid(_Part):
    """A delivery by which a study is as it is."""

    key: str
    destination: str
    code: str


class Item(_Part):
    """One thing that happened."""

    occasion: str
    about: str
    since: datetime
    study_key: str = ""
    jobs: tuple[JobSaid, ...] = ()
    deliveries: tuple[DeliverySaid, ...] = ()
    sentence: str = ""
    way_out: str = ""
    link: str = ""


class Summary(_Part):
    """What happened since the last summary, and how things stand."""

    since: datetime
    happened: Mapping[str, int]
    standing: Mapping[str, int]
    troubles: tuple[str, ...] = ()
    """What is wrong, in the sentences of `/readyz`."""


class Message(_Part):
    """What one receiver is told at once."""

    contract: int = CONTRACT
    key: str
    site: str
    made_at: datetime
    subject: str
    text: str = ""
    items: tuple[Item, ...] = ()
    further: Mapping[str, int] = Field(default_factory=dict)
    """What is not listed, for there is too much of it, by occasion."""
    summary: Summary | None = None


def trial_message(site: Site, on: Sequence[str]) -> Message:
    """One that tells of nothing, to see whether it arrives."""
    return Message(
        key=new_key(),
        site=site.name,
        made_at=datetime.now(UTC),
        subject=f"IRIS {site.name}: a test",
        text=f"This is a test. Whoever reads it is told of: {', '.join(on)}.",
    )


def new_key() -> str:
    """What a message is known again by."""
    return secrets.token_hex(16)


def subject_of(site: Site, items: Sequence[Item], further: Mapping[str, int], *, is_daily: bool) -> str:
    """One line that says what it is about."""
    counts = {name: further.get(name, 0) for name in OCCASIONS}
    for item in items:
        counts[item.occasion] += 1
    said = [_counted(name, number) for name, number in counts.items() if number]
    if is_daily:
        said = [OCCASIONS["daily"].about, *said]
    return f"IRIS {site.name}: {', '.join(said)}"


def text_of(message: Message, site: Site) -> str:
    """The whole of it in words, for people."""
    return "\n".join(
        [f"IRIS Gateway {message.site}, {_clock(message.made_at, site)}", "", *_lines(message, site)]
    )


def _lines(message: Message, site: Site) -> Iterator[str]:
    kinds = dict.fromkeys([*(item.occasion for item in message.items), *message.further])
    for kind in kinds:
        items = [item for item in message.items if item.occasion == kind]
        further = message.further.get(kind, 0)
        yield f"{_counted(kind, len(items) + further).capitalize()}."
        for item in items:
            yield from _lines_of(item, site)
        if further:
            yield f"  and {further} more, which the page lists"
        if way_out := next((item.way_out for item in items), ""):
            yield f"What to do: {way_out}."
        yield ""
    if message.summary is not None:
        yield from _lines_of_summary(message.summary, site)


def _lines_of(item: Item, site: Site) -> Iterator[str]:
    if item.sentence:
        yield f"  {item.sentence}"
    if not item.study_key:
        return
    yield f"  study {item.study_key[:KEY_SHOWN]}, since {_clock(item.since, site)}"
    for job in item.jobs:
        yield f"    job {job.job_key[:KEY_SHOWN]}, task {job.task}, rule {job.rule}: {job.code}"
    for delivery in item.deliveries:
        yield f"    to {delivery.destination}: {delivery.code}"
    if item.link:
        yield f"    {item.link}"


def _lines_of_summary(summary: Summary, site: Site) -> Iterator[str]:
    yield f"Since {_clock(summary.since, site)}:"
    yield from (f"  {what}: {number}" for what, number in summary.happened.items())
    yield "Now:"
    yield from (f"  {what}: {number}" for what, number in summary.standing.items())
    yield from (f"  {trouble}" for trouble in summary.troubles)


def _counted(name: str, number: int) -> str:
    occasion = OCCASIONS[name]
    return occasion.about if number == 1 else occasion.about_many.format(number)


def _clock(at: datetime, site: Site) -> str:
    return f"{site.local(at):%Y-%m-%d %H:%M %Z}"
