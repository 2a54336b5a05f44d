"""The command `iris quarantine`: what waits for a person, why, and what to do about it."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .actions import Meant, Since, Until, Yes, act_on
from .console import (
    ConfigOption,
    JsonOption,
    client_of,
    clock,
    fail,
    out,
    plain_errors,
    print_json,
    say_table,
)

quarantine_commands = typer.Typer(
    name="quarantine",
    help="What waits for a person: held jobs, and objects that were put aside.",
    invoke_without_command=True,
)

Key = Annotated[str, typer.Argument(help="The key as the list prints it, or a beginning that no other has")]
Reason = Annotated[str, typer.Option(help="Only for this code, as the list prints it; held: only jobs")]
Every = Annotated[bool, typer.Option("--all", help="All that the other options do not leave out")]
From = Annotated[str, typer.Option("--sender", help="Only objects that came from this AE title or token")]


@quarantine_commands.callback()
def list_quarantine(
    context: typer.Context,
    reason: Reason = "",
    sender: From = "",
    dismissed: Annotated[bool, typer.Option("--dismissed", help="What was dismissed instead")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a person: held jobs, and objects that were put aside, with the reason."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        items = client_of(config).quarantine(limit=limit, reason=reason, sender=sender, dismissed=dismissed)
    if as_json:
        print_json({"items": items})
        return
    if not items:
        out.print("nothing was dismissed" if dismissed else "nothing waits for a person")
        return
    rows = [
        (
            item["key"][:16],
            Text(item["reason"], "" if dismissed else "yellow"),  # it did not fail: a person decides
            clock(item["last"]),
            item["sender"] or "",
            item["study_uid"] or "",
            item["sentence"],
        )
        for item in items
    ]
    say_table(("key", "reason", "since", "sender", "study", "why"), rows)
    if not dismissed:
        _say_what_can_be_done(items)


def _say_what_can_be_done(items: list[dict[str, Any]]) -> None:
    if any(item["releasable"] for item in items):
        out.print("`iris release KEY` lets a job go on, or takes an object in; `iris cancel KEY` ends a job")
    if any(item["kind"] == "object" for item in items):
        out.print("`iris quarantine show KEY` says what to do; `iris quarantine dismiss KEY` settles it")


@quarantine_commands.command("show")
def show(key: Key, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say why something waits and what to do, and show the header of an object: it names the patient."""
    with plain_errors():
        client = client_of(config)
        item = client.quarantined(key)
        header = client.quarantined(item["key"], "/header") if item["kind"] == "object" else None
    if as_json:
        print_json({**item, "header": header})
        return
    out.print(Text(f"{item['reason']}: {item['sentence']}", "yellow"))
    out.print(f"{item['what']} {item['to_do']}")
    if item["dismissed"] is not None:
        out.print(f"dismissed on {clock(item['dismissed'])} by {item['dismissed_by'] or 'somebody'}")
    _say_whence(item)
    if header is not None:
        _say_header(header)


def _say_whence(item: dict[str, Any]) -> None:
    if item["kind"] == "job":
        out.print(f"job {item['key'][:16]}, {item['task']}, held since {clock(item['first'])}")
    else:
        times = f", {item['times']} times, last on {clock(item['last'])}" if item["times"] > 1 else ""
        out.print(f"from {item['sender']} on {clock(item['first'])}{times}")
    if item["study_uid"]:
        out.print(f"study {item['study_uid']}" + ("" if item["study_key"] else ", of which nothing is here"))


def _say_header(header: dict[str, Any]) -> None:
    out.print(f"{header['nature']}, {header['size_bytes']} bytes")
    rows = [
        ("  " * each["depth"] + each["tag"], each["vr"], each["keyword"], each["value"])
        for each in header["elements"]
    ]
    if rows:
        say_table(("tag", "VR", "keyword", "value"), rows)
    if header["left_out"]:
        out.print(f"and {header['left_out']} more; `iris quarantine save` gives the whole object")


@quarantine_commands.command("save")
def save(
    key: Key,
    target: Annotated[
        Path | None, typer.Argument(metavar="FILE", dir_okay=False, help="Else KEY.dcm, in this folder")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write an object as it came into a file: it names the patient."""
    with plain_errors():
        client = client_of(config)
        whole = client.quarantined(key)["key"]
        path = target or Path(f"{whole[:16]}.dcm")
        content = client.quarantined_object(whole)
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            fail(f"{path} exists; give the name of another file")
    out.print(f"{path}: {len(content)} bytes")


@quarantine_commands.command("dismiss")
def dismiss(
    key: Annotated[str, typer.Argument(help="An object, by its key or a beginning that no other has")] = "",
    every: Every = False,
    reason: Reason = "",
    sender: From = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Say that objects are settled: they stay in quarantine, and nobody is asked about them any more."""
    meant = Meant(key, every, since=since, until=until, reason=reason, object_sender=sender)
    act_on(config, meant, "dismiss", "dismissed", yes=yes)


@quarantine_commands.command("release")
def release(
    key: Annotated[str, typer.Argument(help="An object or a held job, as `iris release` takes it")] = "",
    every: Every = False,
    reason: Reason = "",
    sender: From = "",
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Take objects in after all, as what they say themselves; what cannot be stays, and it is said why."""
    if every and not (reason or sender):
        raise typer.BadParameter("say which: --reason or --sender; `iris release --all` is for held jobs")
    meant = Meant(key, every, since=since, until=until, reason=reason, object_sender=sender)
    act_on(config, meant, "release", "released", yes=yes)
