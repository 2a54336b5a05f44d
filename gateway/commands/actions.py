"""What a person asks of a running gateway: `iris retry`, `cancel`, `release`, `complete`, `drop`, `resend`,
`redirect`, of one thing by its key, or of all that options name; `iris priority` and
`iris reprocess` of one job.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.ledger.states import DeliveryState, JobState

from .console import ConfigOption, client_of, one_of, out, plain_errors
from .meaning import OfStudies, in_zone, narrowed_by_studies

Key = Annotated[
    str,
    typer.Argument(
        help="A study, job or delivery: any key that a listing prints, or a beginning that no other has; or a"
        " Study Instance UID",
    ),
]
All = Annotated[bool, typer.Option("--all", help="All of them, as far as the other options do not say less")]
State = Annotated[
    str,
    typer.Option(
        "--state",
        help="With --all: only what is in this state",
        callback=one_of(*dict.fromkeys([*JobState, *DeliveryState])),
    ),
]
To = Annotated[str, typer.Option("--destination", help="With --all: only deliveries to this destination")]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since", help="With --all: only what is so, or waits, since then or later, by this machine's clock"
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        "--until", help="With --all: only what is so since before this time, by this machine's clock"
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask")]


@dataclass(frozen=True)
class Meant:
    """What of it is meant: one key, or all that a filter finds."""

    key: str
    is_all: bool
    state: str = ""
    destination: str = ""
    since: datetime | None = None
    until: datetime | None = None
    of: OfStudies = field(default_factory=dict)
    reason: str = ""
    object_sender: str = ""

    def wish(self, action: str, to: str) -> dict[str, Any]:
        """As the API takes it.

        Raises
        ------
        BadParameter
            It is not clear what is meant.
        """
        if bool(self.key) == self.is_all:
            raise typer.BadParameter("give a KEY, or --all with what is meant")
        texts = {"key": self.key, "state": self.state, "destination": self.destination, **self.of}
        texts |= {"since": in_zone(self.since), "until": in_zone(self.until)}
        texts |= {"reason": self.reason, "object_sender": self.object_sender}
        found = {name: text for name, text in texts.items() if text}
        if self.key and len(found) > 1:
            raise typer.BadParameter("options that say which are meant go with --all")
        return {"action": action, "filter": found, "arguments": {"to": to} if to else {}}


THINGS: Final = {
    "cancel": "job",
    "release": "job or object",
    "complete": "study",
    "forget": "study",
    "retry": "job or delivery",
    "dismiss": "object",
}
"""What an action is done to; the others are to deliveries."""


@narrowed_by_studies
def retry(
    *,
    of: OfStudies,
    key: Key = "",
    every: All = False,
    state: State = "",
    destination: To = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Take up what failed, and try now what waits.

    With --all it takes what failed; with --all --state pending it tries what waits.
    """
    act_on(
        config, Meant(key, every, state, destination, since, until, of), "retry", "taken up again", yes=yes
    )


@narrowed_by_studies
def cancel(
    *,
    of: OfStudies,
    key: Key = "",
    every: All = False,
    state: State = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Stop jobs that are not over, and what they have not delivered; `iris retry` takes them up again."""
    act_on(config, Meant(key, every, state, "", since, until, of), "cancel", "cancelled", yes=yes)


def priority(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A job: its key, or how that begins")],
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="[N]",
            min=-9999,
            max=9999,
            help="The higher, the sooner; left out: before every job that waits now",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Let a job have its turn sooner or later, while it is not handed to the queue yet.

    A negative N stands behind "--": iris priority KEY -- -5
    """
    with plain_errors():
        client = client_of(config)
        client.act(f"jobs/{key}/priority", {"priority": number})
    out.print("it comes before all others that wait" if number is None else f"its priority is {number}")


def reprocess(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A job: its key, or how that begins")],
    task: Annotated[str, typer.Option(help="A task of the engine, as in a rule")],
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the task, as in a rule: fast=true; repeatable"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Run another task on the images of a job, beside it; its results go where that job's go."""
    options = dict(map(_named_value, option or []))
    with plain_errors():
        client = client_of(config)
        made = client.act(f"jobs/{key}/reprocess", {"task": task, "options": options})
    out.print(f"the job of the task {task} is {made['key'][:16]}, {made['state']}")


def _named_value(text: str) -> tuple[str, Any]:
    """An option with its value, which is JSON or else a text.

    Raises
    ------
    BadParameter
        There is no "=" in it.
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise typer.BadParameter(f'"{text}" has no "="; write NAME=VALUE')
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@narrowed_by_studies
def release(
    *,
    of: OfStudies,
    key: Key = "",
    every: All = False,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Let held jobs go on; by its KEY an object in quarantine, too, which is taken in after all."""
    act_on(config, Meant(key, every, "", "", since, until, of), "release", "released", yes=yes)


@narrowed_by_studies
def complete(
    *,
    of: OfStudies,
    key: Key = "",
    every: All = False,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Say that a study has arrived: it is not waited for any longer."""
    act_on(config, Meant(key, every, "", "", since, until, of), "complete", "called complete", yes=yes)


@narrowed_by_studies
def drop(
    *,
    of: OfStudies,
    key: Key = "",
    every: All = False,
    state: State = "",
    destination: To = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Do not send any more what failed or waits."""
    act_on(
        config, Meant(key, every, state, destination, since, until, of), "drop", "not sent any more", yes=yes
    )


@narrowed_by_studies
def resend(
    *,
    of: OfStudies,
    key: Key = "",
    to: Annotated[str, typer.Option(help="A configured destination, also one that it never went to")] = "",
    every: All = False,
    state: State = "",
    destination: To = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Send again what was delivered: to where it went, or to another destination as well."""
    meant = Meant(key, every, state, destination, since, until, of)
    act_on(config, meant, "resend", f"sent to {to}" if to else "sent again", yes=yes, to=to)


@narrowed_by_studies
def redirect(
    *,
    of: OfStudies,
    to: Annotated[str, typer.Option(help="Name of a configured destination")],
    key: Key = "",
    every: All = False,
    state: State = "",
    destination: To = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Send to another destination instead what failed or waits."""
    meant = Meant(key, every, state, destination, since, until, of)
    act_on(config, meant, "redirect", f"sent to {to} instead", yes=yes, to=to)


def act_on(config: Path | None, meant: Meant, action: str, how: str, *, yes: bool, to: str = "") -> None:
    """Ask for it; where it is for all, first say how many they are and ask whether that is meant.

    Parameters
    ----------
    how
        What becomes of them: "sent again".
    """
    wish = meant.wish(action, to)
    with plain_errors():
        client = client_of(config)
        if meant.is_all and not yes:
            found = client.act_on_many({**wish, "dry_run": True})["count"]
            if not found:
                out.print("there is nothing of that kind")
                return
            if not typer.confirm(f"{_number(action, found)} to be {how}. Go on?"):
                raise typer.Exit(1)
        answer = client.act_on_many({**wish, "dry_run": False})
    out.print(f"{_number(action, answer['count'])} {how}")
    if answer["left_alone"]:
        out.print(f"{answer['left_alone']} left alone: {answer['why']}")


def _number(action: str, count: int) -> str:
    """How many: "1 delivery is", "12 deliveries are"."""
    one = THINGS.get(action, "delivery")
    if count == 1:
        return f"1 {one} is"
    many = " or ".join(f"{word[:-1]}ies" if word.endswith("y") else f"{word}s" for word in one.split(" or "))
    return f"{count} {many} are"
