"""What a gateway that knows very many studies takes, beside one that knows few and one that knows none.

All three run at once and are asked in turns, so that what disturbs the machine disturbs everybody; medians of
processor time count.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from .gateways import Gateway, new_study, served
from .make import LEDGER_NAME, Size, make_large_ledger, study_uid_of

FEW_STUDIES: Final = 600
"""A page of 500 is full there, too."""
STARTS: Final = 3
ROUNDS: Final = 5
IMAGES: Final = 60
"""Of each study that is sent in a round, on one association."""
IDLE_S: Final = 20.0
LONG_TIMELINE: Final = 10_000
STUDIES: Final = "/api/v1/studies"

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Figure:
    """One thing that is measured."""

    what: str
    unit: str
    beside: str = "none"
    """What it is divided by: "none", or "few" where an empty ledger has nothing to show."""


FIGURES: Final[Mapping[str, Figure]] = {
    "port": Figure("start, until the DICOM port is open", "ms on the clock"),
    "start": Figure("start, until both ports are served", "ms"),
    "start_mb": Figure("memory then", "MB"),
    "store": Figure("one C-STORE", "ms"),
    "list_50": Figure("list of 50 studies", "ms", "few"),
    "list_500": Figure("list of 500 studies", "ms", "few"),
    "study": Figure("one study", "ms", "few"),
    "long_study": Figure(f"one study with {LONG_TIMELINE:,} lines in its timeline", "ms", "few"),
    "metrics": Figure("one scrape of the metrics", "ms"),
    "overview": Figure("the overview", "ms"),
    "idle": Figure("while nobody asks for anything", "% of a core"),
    "peak_mb": Figure("largest memory of the run", "MB"),
}
ASKED: Final[Mapping[str, tuple[str, int]]] = {
    "list_50": (STUDIES, 5),
    "list_500": (f"{STUDIES}?limit=500", 2),
    "study": (f"{STUDIES}/{study_uid_of(7)}", 5),
    "long_study": (f"{STUDIES}/{study_uid_of(0)}", 3),
    "metrics": ("/metrics", 5),
    "overview": ("/api/v1/overview", 5),
}
"""What is asked of the status API, and how often in a round."""


@dataclass(frozen=True)
class Outcome:
    """What a run found: figures by gateway (none, few, many) and name."""

    size: Size
    upgrade_cpu_s: float
    """Processor time of the first start, which brings the ledger up to date."""
    ledger_mb: float
    figures: dict[str, dict[str, float]]

    @property
    def ratios(self) -> dict[str, float]:
        """What each thing takes with many studies, divided by what it takes with none or few."""
        many = self.figures["many"]
        return {name: many[name] / self.figures[figure.beside][name] for name, figure in FIGURES.items()}


def measure(folder: Path, size: Size, say: Callable[[str], None]) -> Outcome:
    """Make what is not there yet in `folder`, and measure.

    Raises
    ------
    ProgramFailed
    """
    dirs = _data_dirs(folder, size, say)
    say("first starts ...")
    upgrades = {name: _start(of)["start"] for name, of in dirs.items()}
    figures: dict[str, Values] = {name: {} for name in dirs}
    for number in range(STARTS):
        say(f"start {number + 1} of {STARTS} ...")
        for name, of in dirs.items():
            _add(figures[name], _start(of))
    with ExitStack() as stack:
        gateways = {name: stack.enter_context(served(of)) for name, of in dirs.items()}
        say("waiting until they have looked at everything ...")
        for gateway in gateways.values():
            gateway.settle()
        for number in range(ROUNDS + 1):
            say(f"round {number} of {ROUNDS} ...")
            for name, gateway in gateways.items():
                round_found = dict(_round(gateway, is_empty=name == "none"))
                if number:  # the first is for warming up
                    _add(figures[name], round_found)
        for name, gateway in gateways.items():
            idle = 100 * gateway.idle_share(IDLE_S)
            _add(figures[name], {"idle": idle, "peak_mb": gateway.peak_mb()})
    medians = {name: {what: median(values) for what, values in of.items()} for name, of in figures.items()}
    return Outcome(size, upgrades["many"] / 1000, (dirs["many"] / LEDGER_NAME).stat().st_size / 1e6, medians)


def _data_dirs(folder: Path, size: Size, say: Callable[[str], None]) -> dict[str, Path]:
    dirs = {
        "none": folder / "none",
        "few": folder / f"{FEW_STUDIES}x{size.instances}",
        "many": folder / f"{size.studies}x{size.instances}",
    }
    shutil.rmtree(dirs["none"], ignore_errors=True)
    dirs["none"].mkdir(parents=True)
    for name, of in (("few", replace(size, studies=FEW_STUDIES)), ("many", size)):
        if not (dirs[name] / LEDGER_NAME).exists():
            say(f"making a ledger of {of.studies:,} studies of {of.instances} instances ...")
            make_large_ledger(dirs[name], of)
    return dirs


def _start(data_dir: Path) -> dict[str, float]:
    with served(data_dir) as gateway:
        return {
            "port": 1000 * gateway.port_open_s,
            "start": 1000 * gateway.listening_cpu_s,
            "start_mb": gateway.listening_mb,
        }


def _round(gateway: Gateway, *, is_empty: bool) -> Iterator[tuple[str, float]]:
    """Milliseconds of processor time of each thing, once."""
    images = new_study(IMAGES)
    before = gateway.cpu_s()
    gateway.store(images)
    yield "store", 1000 * (gateway.cpu_s() - before) / IMAGES
    for name, (path, times) in ASKED.items():
        if is_empty and FIGURES[name].beside == "few":
            continue
        before = gateway.cpu_s()
        for _ in range(times):
            gateway.get(path)
        yield name, 1000 * (gateway.cpu_s() - before) / times


def _add(values: Values, found: Mapping[str, float]) -> None:
    for name, value in found.items():
        values.setdefault(name, []).append(value)
