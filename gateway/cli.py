"""The command `iris`: exit 0 on success, 1 on failure with a line that says what to do, 2 on wrong usage."""

import json
import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from gateway.commands.console import err, fail, out, plain_errors
from gateway.commands.converter import convert, decode, encode

# Each command imports what it needs when it runs: `iris --help` and `iris studies` should not load NumPy.

app = typer.Typer(
    name="iris",
    help="An event-driven DICOM gateway: every suitable study in the PACS gets a segmentation, unasked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
mirror_commands = typer.Typer(name="mirror", help="The table that mirrors the ledger.", no_args_is_help=True)
app.add_typer(mirror_commands)
config_commands = typer.Typer(name="config", help="The configuration file.", no_args_is_help=True)
app.add_typer(config_commands)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file; without one the defaults and IRIS_* variables")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"iris {version('iris-gateway')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the gateway until it is told to stop (SIGTERM or Ctrl-C)."""
    from gateway.config import load_config
    from gateway.logs import configure_logging

    configure_logging()
    with plain_errors():
        settings = load_config(config)
        from gateway.app import App, warnings_about  # late: it takes seconds, and the file may have a mistake

        gateway = App(settings)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            gateway.start()
            host, port = gateway.listener.address
            out.print(f"DICOM listener: {settings.dicom.ae_title}@{host}:{port}")
            out.print(f"Data directory: {settings.data_dir}")
            for destination in settings.destination:
                peer = f"{destination.ae_title}@{destination.host}:{destination.port}"
                out.print(f"Destination:    {destination.name} ({peer})")
            for warning in warnings_about(settings):
                out.print(f"Warning:        {warning}")
            out.print(f"Status page:    {gateway.page_address}")
            stop.wait()
        finally:
            gateway.stop()


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Working folder, made anew")] = Path("iris-demo"),
    study: Annotated[Path | None, typer.Option(help="Folder with your own study")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running to look around")] = False,
    pacs: Annotated[str, typer.Option(help="auto, orthanc or builtin")] = "auto",
) -> None:
    """Send a real study through the whole gateway and show its segmentation."""
    from gateway.demo.run import run_demo

    with plain_errors():
        raise typer.Exit(
            run_demo(
                folder=folder,
                study=study,
                keep=keep,
                pacs=pacs,
                console=Console(highlight=False, soft_wrap=True),
            )
        )


@app.command()
def send(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders", exists=True)],
    to: Annotated[str, typer.Option(help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="This side's AE title")] = "IRIS-SEND",
) -> None:
    """Send DICOM files by C-STORE, as they are stored."""
    from gateway.delivery.peer import parse_peer
    from gateway.delivery.sending import dicom_files, send_files
    from gateway.delivery.statuses import Answer, understand

    try:
        peer = parse_peer(to)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from None
    with plain_errors():
        files = dicom_files(paths)
        if not files:
            fail("there is no DICOM file there")
        with Progress(console=err, transient=True) as progress:
            task = progress.add_task(f"sending to {peer}", total=len(files))
            results = send_files(files, peer, calling, on_sent=lambda *_: progress.advance(task))
    bad = [result for result in results if understand(result.status) is not Answer.STORED]
    for result in bad:
        err.print(f"{result.path.name}: {result.meaning}")
    stored = len(results) - len(bad)
    out.print(f"{stored} of {len(files)} files stored at {peer}")
    if stored < len(files):
        raise typer.Exit(1)


@app.command()
def studies(
    config: ConfigOption = None,
    state: Annotated[str | None, typer.Option(help="receiving, processing, failed or done")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the latest studies."""
    with plain_errors():
        items = _status_client(config).studies(state=state, limit=limit)
    if as_json:
        _print_json({"items": items})
        return
    widest = max((len(item["study_uid"]) for item in items), default=0)
    table = Table(Column("study", min_width=widest), "state", "received", "reason", box=None, pad_edge=False)
    for item in items:
        table.add_row(item["study_uid"], item["state"], _short(item["received"]), item["reason"])
    out.print(table if items else "no studies yet; point a PACS at the gateway, or use `iris send`")


@app.command()
def study(
    uid: Annotated[str, typer.Argument(help="Study Instance UID, or the study's key")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one study: where it is, and everything that happened to it."""
    with plain_errors():
        item = _status_client(config).study(uid)
    if as_json:
        _print_json(item)
        return
    reason = f" ({item['reason']})" if item["reason"] else ""
    out.print(f"{item['study_uid']}: {item['state']}{reason}, received {_short(item['received'])}")
    for job in item["jobs"]:
        out.print(f"  job {job['job_key'][:16]}  {job['task']}: {job['state']}  {job['reason']}")
    for delivery in item["deliveries"]:
        out.print(f"  to {delivery['destination']}: {delivery['state']}  {delivery['reason']}")
    for line in item["timeline"]:
        detail = ", ".join(f"{key}: {value}" for key, value in line["detail"].items())
        out.print(f"  {_short(line['at'])}  {line['event']:<24}{detail}")


@app.command()
def retry(
    key: Annotated[str, typer.Argument(help="Key of a failed job or delivery")], config: ConfigOption = None
) -> None:
    """Take up what failed under this key."""
    with plain_errors():
        _status_client(config).retry(key)
    out.print("it is taken up again")


@mirror_commands.command("rebuild")
def rebuild(config: ConfigOption = None) -> None:
    """Write the mirror's table anew from the ledger, with the gateway running or not."""
    from gateway.commands.mirror_rebuild import rebuild_mirror
    from gateway.config import load_config
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        settings = load_config(config)
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task(f"writing {settings.mirror.table}", total=None)
            written = rebuild_mirror(
                settings, lambda done, total: progress.update(task, completed=done, total=total)
            )
    out.print(f"{settings.mirror.table} has everything: {written} items written")


@config_commands.command("from-stack")
def config_from_stack(
    stack: Annotated[str, typer.Argument(help="Name of a stack that was made of infra/template.yaml")],
    region: Annotated[str, typer.Option(help="Where it is; by default the region of your AWS profile")] = "",
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A new file; else it is printed")
    ] = None,
) -> None:
    """Write a configuration for the gateway whose stack in AWS this is."""
    from gateway.commands.stack_config import config_of_stack

    with plain_errors():
        text = config_of_stack(stack, region)
        if target is None:
            typer.echo(text, nl=False)
            return
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    out.print(f"{target}; now: iris doctor --config {target}")


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and everything around the gateway, and say the fix."""
    from gateway.adapters.checks import Verdict
    from gateway.commands.doctor import examine
    from gateway.config import load_config

    with plain_errors():
        checks = list(examine(load_config(config)))
    if as_json:
        _print_json({"items": [vars(check) for check in checks]})
    else:
        colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red"}
        table = Table("check", "", "finding", "what to do", box=None, pad_edge=False)
        for check in checks:
            colour = colours[check.verdict]
            table.add_row(check.name, Text(check.verdict, colour), check.finding, check.fix)
        out.print(table)
    failed = sum(check.verdict is Verdict.FAILED for check in checks)
    if failed:
        fail(f"{failed} of {len(checks)} checks failed; the table says what to do")


for command in (convert, encode, decode):
    app.command()(command)


def _status_client(config: Path | None) -> Any:
    from gateway.commands.status_client import StatusClient
    from gateway.config import load_config

    return StatusClient(load_config(config).data_dir)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _short(at: str) -> str:
    return at[:19].replace("T", " ")


if __name__ == "__main__":
    main()
