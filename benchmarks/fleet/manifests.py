"""Stage seconds as jobs measured them: read off manifests."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from .assumptions import Stages

BEFORE: Final = ("fetch", "load")
BEHIND: Final = ("measure", "preview", "save", "upload")


def stages_in(folder: Path, load_s: float) -> Stages:
    """The medians of all manifests below a folder.

    Parameters
    ----------
    load_s
        Of a process, once: no manifest tells.

    Raises
    ------
    ValueError
        There are none.
    """
    paths = sorted(folder.rglob("manifest.json"))
    seconds: list[dict[str, float]] = [json.loads(path.read_bytes())["seconds"] for path in paths]
    if not seconds:
        raise ValueError(f"there is no manifest.json below {folder}")

    def all_of(names: Sequence[str]) -> float:
        return median(sum(each.get(name, 0.0) for name in names) for each in seconds)

    return Stages(load_s, all_of(BEFORE), all_of(["segment"]), all_of(BEHIND))
