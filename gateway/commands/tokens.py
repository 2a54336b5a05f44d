"""The commands about who may ask, with the gateway running or not: `iris token create|list|revoke|code`."""

from typing import Annotated, Any

import typer

from gateway.config.roles import Role

from .console import ConfigOption, JsonOption, client_of, clock, out, plain_errors, print_json, say_table

token_commands = typer.Typer(
    name="token", help="Who may ask the gateway: tokens by name and role.", no_args_is_help=True
)


@token_commands.command("create")
def create(
    role: Annotated[
        Role, typer.Option(help="viewer reads, operator acts, admin does everything, sender sends by STOW-RS")
    ],
    name: Annotated[str, typer.Option(help="Who or what uses it; the timeline says it")],
    expires_days: Annotated[
        float | None, typer.Option(min=0.001, max=36500, help="Days until it ends; else it does not")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token; it is shown now and never again."""
    with plain_errors():
        made = client_of(config).create_token(name, role, expires_days)
    if as_json:
        print_json(made)
        return
    out.print(made["token"])
    until = f"until {clock(made['expires'])}" if made["expires"] else f"until `iris token revoke {name}`"
    out.print(f"This is {name}'s token, for the role {role}, {until}; keep it now: it is not shown again")


@token_commands.command("list")
def list_tokens(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every token that there is or was, the latest first."""
    with plain_errors():
        items = client_of(config).tokens()
    if as_json:
        print_json({"items": items})
    elif not items:
        out.print(
            "no tokens yet; `iris token create` makes one; the first admin's is in the file admin-token"
        )
    else:
        names = ("name", "begins", "role", "state", "created", "by", "ends")
        say_table(names, [_row(item) for item in items])


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    ends = item["revoked"] or item["expires"]
    return (
        *(item[name] for name in ("name", "prefix", "role", "state")),
        *(clock(item["created"]), item["created_by"], clock(ends) if ends else "never"),
    )


@token_commands.command("revoke")
def revoke(
    token: Annotated[
        str, typer.Argument(metavar="NAME_OR_PREFIX", help="The token's name, or how it begins")
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a token at once, and the sessions of the page that it began."""
    with plain_errors():
        ended = client_of(config).revoke_token(token)
    if as_json:
        print_json(ended)
    else:
        out.print(f"{ended['name']} ({ended['prefix']}…) opens nothing any more")


@token_commands.command("code")
def code(config: ConfigOption = None) -> None:
    """Print the page's address with a code by which a browser signs in once, within ten minutes."""
    with plain_errors():
        address = client_of(config).page_address()
    out.print(address)
