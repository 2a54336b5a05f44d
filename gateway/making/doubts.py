"""What follows from the flags of a job, as its rule says now: whether it is held, and what its objects show.

`on_flags` of the rule: `mark` shows flags in every object; `deliver` in none, though API, page and metrics
show them all the same; `hold` waits for a person. Flags among `hold_flags` hold whatever it says. A rule that
is gone marks, and holds for the grave ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from batch_job.contract import Flag, Manifest
from converter.results.settings import QualityFlag
from gateway.config import Config, Rule
from gateway.ledger.flags import FlagSource, flags_of
from gateway.ledger.records import JobFlagRow, JobRow
from gateway.ledger.store import Ledger

MOST_SENTENCES: Final = 3
"""Of more flags than that a reason names the first ones, and how many more there are."""


@dataclass(frozen=True)
class Doubts:
    """What a person should know of a result before trusting it.

    Parameters
    ----------
    shown
        The flags that its objects show.
    are_shown
        Whether they would show any.
    held_for
        Why a person has to release it first, in words; empty when nothing holds it.
    """

    shown: tuple[QualityFlag, ...]
    are_shown: bool
    held_for: str


def doubts_about(ledger: Ledger, config: Config, job: JobRow, manifest: Manifest) -> Doubts:
    """Judge a job's flags: those of its arrival, and those of its result."""
    rule = config.rule_named(job.rule) or Rule(name=job.rule)
    arrival = [row for row in flags_of(ledger, job.job_key) if row.source == FlagSource.ARRIVAL]
    flags = (*map(_to_show, arrival), *map(_to_show, manifest.flags))
    is_released = bool(job.released_labels) and job.released_labels == job.labels_sha256
    holding = [flag for flag in flags if rule.on_flags == "hold" or flag.code in rule.hold_flags]
    are_shown = rule.on_flags != "deliver"
    return Doubts(
        shown=flags if are_shown else (),
        are_shown=are_shown,
        held_for="" if is_released else _in_words(holding),
    )


def _to_show(flag: JobFlagRow | Flag) -> QualityFlag:
    return QualityFlag(flag.code, flag.structure, flag.number, flag.unit, flag.sentence)


def _in_words(flags: Sequence[QualityFlag]) -> str:
    if not flags:
        return ""
    more = len(flags) - MOST_SENTENCES
    sentences = [flag.sentence for flag in flags[:MOST_SENTENCES]]
    if more > 0:
        sentences.append(f"And {more} more.")
    return " ".join([*sentences, "Release it, or cancel it."])
