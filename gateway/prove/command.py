"""The command `iris prove`."""

import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.console import ConfigOption, JsonOption, err, out, plain_errors, print_json

if TYPE_CHECKING:
    from .pacs import Listening

_ITS_OWN = (0x0002, 0x0020, 0x0028, 0x7FE0)
"""Groups of attributes of place and pixels."""


def prove(
    to: Annotated[str, typer.Option(help="The PACS, AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="As whom it is called; else the gateway's AE title")] = "",
    listen: Annotated[
        str, typer.Option(metavar="AE:PORT", help="Where it may send by C-MOVE, if it has no C-GET")
    ] = "",
    said: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEYWORD=VALUE", help="Makes the phantom what your rules look for"),
    ] = None,
    wait_s: Annotated[
        float, typer.Option(min=1, help="A station where nothing happens for so long has failed")
    ] = 300.0,
    page: Annotated[Path, typer.Option(help="Where the page goes, a PDF")] = Path("iris-prove.pdf"),
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send a phantom through PACS and gateway and back, and compare every voxel: a site's acceptance test."""
    from gateway.adapters.dicom.peer import parse_peer
    from gateway.config import load_config

    from .run import Wanted, run_proof
    from .terminal import Terminal

    try:
        peer = parse_peer(to)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from None
    wanted = Wanted(peer, calling, _listening(listen), _attributes(said or []), wait_s, page)
    warnings.simplefilter("ignore")  # pydicom's quote what a PACS answers
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was made is removed
    terminal = Terminal(out, err)
    with plain_errors(), terminal.shown():
        told = (lambda _: None) if as_json else terminal.told
        report = run_proof(load_config(config), wanted, told, terminal.say)
    if as_json:
        print_json(report.as_json())
    else:
        terminal.sum_up(report, str(page))
    raise typer.Exit(0 if report.failed is None else 1)


def _attributes(said: list[str]) -> Mapping[str, str]:
    """What `--set` says, by keyword."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    found = {}
    for text in said:
        keyword, is_there, value = text.partition("=")
        tag = tag_for_keyword(keyword)
        if not is_there or tag is None:
            raise typer.BadParameter(
                f"{text!r} is no DICOM keyword with a value; write one as StationName=CT1", param_hint="--set"
            )
        if dictionary_VR(tag) == "UI" or keyword == "Modality" or tag >> 16 in _ITS_OWN:
            raise typer.BadParameter(
                f"{keyword} stays as it is: what the phantom is, and where, is what is compared",
                param_hint="--set",
            )
        found[keyword] = value
    return found


def _listening(text: str) -> "Listening | None":
    from .pacs import Listening

    if not text:
        return None
    title, _, port = text.rpartition(":")
    if not 1 <= len(title.strip()) <= 16 or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise typer.BadParameter(f"{text!r} is not of the form AE:PORT", param_hint="--listen")
    return Listening(title.strip(), int(port))
