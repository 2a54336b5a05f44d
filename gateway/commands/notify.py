"""The commands `iris notify`: whether people can be told what happens."""

import typer

from .console import ConfigOption, JsonOption, plain_errors, say_checks

notify_commands = typer.Typer(
    name="notify", help="Who is told what happens, by webhook and e-mail.", no_args_is_help=True
)


@notify_commands.callback()
def _group() -> None:  # else a group of one command is that command
    pass


@notify_commands.command("test")
def tell_a_test(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Send everybody a test message, with the gateway running or not, and say what came of it."""
    from gateway.commands.doctor_notify import tell_all_a_test
    from gateway.config import load_config
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        checks = list(tell_all_a_test(load_config(config)))
    say_checks(checks, as_json=as_json)
