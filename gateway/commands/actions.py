"""What a person asks of a running gateway: `iris retry`, `cancel`, `release`, `complete`, `drop`, `resend`,
`redirect`, of one thing by its key, or of all that options name.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.ledger.states import DeliveryState, JobState

from .console import ConfigOption, one_of, out, plain_errors

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

    def wish(self, action: str, to: str) -> dict[str, Any]:
        """As the API takes it.

        Raises
        ------
        BadParameter
            It is not clear what is meant.
        """
        if bool(self.key) == self.is_all:
            raise typer.BadParameter("give a KEY, or --all with what is meant")
        # An aware time: a person means the clock on the wall.
        times = {"since": self.since, "until": self.until}
        said = {name: at.astimezone().isoformat() for name, at in times.items() if at is not None}
        texts = {"key": self.key, "state": self.state, "destination": self.destination}
        found = {name: text for name, text in texts.items() if text} | said
        if self.key and len(found) > 1:
            raise typer.BadParameter("--state, --destination, --since and --until go with --all")
        return {"action": action, "filter": found, "arguments": {"to": to} if to else {}}


THINGS: Final = {"cancel": "job", "release": "job", "complete": "study", "retry": "job or delivery"}
"""What an action is done to; the others are to deliveries."""


def retry(
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
    _act(config, Meant(key, every, state, destination, since, until), "retry", "taken up again", yes=yes)


def cancel(
    key: Key = "",
    every: All = False,
    state: State = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Stop jobs that are not over, and what they have not delivered; `iris retry` takes them up again."""
    _act(config, Meant(key, every, state, "", since, until), "cancel", "cancelled", yes=yes)


def release(
    key: Key = "",
    every: All = False,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Let held jobs go on."""
    _act(config, Meant(key, every, "", "", since, until), "release", "released", yes=yes)


def complete(
    key: Key = "",
    every: All = False,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Say that a study has arrived: it is not waited for any longer."""
    _act(config, Meant(key, every, "", "", since, until), "complete", "called complete", yes=yes)


def drop(
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
    _act(config, Meant(key, every, state, destination, since, until), "drop", "not sent any more", yes=yes)


def resend(
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
    meant = Meant(key, every, state, destination, since, until)
    _act(config, meant, "resend", f"sent to {to}" if to else "sent again", yes=yes, to=to)


def redirect(
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
    meant = Meant(key, every, state, destination, since, until)
    _act(config, meant, "redirect", f"sent to {to} instead", yes=yes, to=to)


def _act(config: Path | None, meant: Meant, action: str, how: str, *, yes: bool, to: str = "") -> None:
    """Ask for it; where it is for all, first say how many they are and ask whether that is meant.

    Parameters
    ----------
    how
        What becomes of them: "sent again".
    """
    from gateway.config import load_config

    from .status_client import StatusClient

    wish = meant.wish(action, to)
    with plain_errors():
        client = StatusClient(load_config(config).data_dir)
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
