"""The configuration of the demo's gateway: what the demo has to set, over what its user wants to see."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.adapters.dicom.peer import Peer

from .children import DemoError
from .loopback import LOOPBACK

QUIET_S: Final = 1.0
DESTINATION: Final = "pacs"
DEFAULTS: Final[Mapping[str, Any]] = {
    "site": {"name": "demo", "low_water_mb": 100},
    "study": {"quiet_s": QUIET_S},
    "rule": [{"name": "ct", "when": {"Modality": "CT"}, "outputs": ["seg", "summary"]}],
}
"""What one's own lines may say otherwise."""


def write_configuration(folder: Path, pacs: Peer, own: Path | None = None) -> Path:
    """Write it: free ports, the demo's PACS as a sender and as the first destination, and one's own lines.

    Tables are put together key by key. A destination of one's own that is called like the demo's is left out:
    what the demo sends goes to the demo's PACS.

    Parameters
    ----------
    own
        A configuration file of one's own; None: there is none.

    Raises
    ------
    DemoError
        `own` cannot be read, or is not TOML.
    """
    wanted = _merged(DEFAULTS, _read(own) if own else {})
    others = [each for each in wanted.get("destination", []) if each.get("name") != DESTINATION]
    senders = wanted.get("dicom", {}).get("allow", [])
    values = _merged(
        wanted,
        {
            "site": {"data_dir": str(folder / "iris-data")},
            "dicom": {
                "host": LOOPBACK,
                "port": 0,
                "allow": [{"ae_title": pacs.ae_title, "address": f"{LOOPBACK}/32"}, *senders],
            },
            "destination": [
                {"name": DESTINATION, "ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.port},
                *others,
            ],
            "api": {"host": LOOPBACK, "port": 0, "auth": "token"},
        },
    )
    path = folder / "iris.toml"
    path.write_text(_toml(values), encoding="utf-8")
    return path


def _read(own: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(own.read_text(encoding="utf-8"))
    except OSError as error:
        raise DemoError(f"--config {own}: {error.strerror}; give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DemoError(f"--config {own} is not valid TOML: {error}") from None


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _toml(values: Mapping[str, Any]) -> str:
    """The file: a section for each table, and for each table of a list of them."""
    lines = ["# Made by `iris demo`. Ports are chosen when the gateway starts (0)."]
    tables: list[tuple[str, Mapping[str, Any]]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            tables.append((f"[{_key(key)}]", value))
        elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
            tables += [(f"[[{_key(key)}]]", each) for each in value]
        else:
            lines.append(f"{_key(key)} = {_inline(value)}")
    for heading, table in tables:
        lines += ["", heading, *(f"{_key(key)} = {_inline(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    if isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False)  # JSON's escapes are among TOML's
    return str(value)  # numbers; TOML's own dates and times


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
