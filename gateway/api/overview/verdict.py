"""Whether all is well, in a sentence, and what to do where it is not."""

from collections.abc import Iterator

from ..probes.readiness import Readiness
from ..store import Counts
from .models import Disk, Finding, Level, Verdict

WELL = "All is well: studies are taken, and nothing waits for a person."
DAYS_WORTH_SAYING = 7.0
"""A disk that is full sooner is to be looked at."""


def verdict(now: Readiness, counts: Counts, disk: Disk | None) -> Verdict:
    """Judge; the worst comes first."""
    order = list(Level)
    findings = sorted(_findings(now, counts, disk), key=lambda finding: order.index(finding.level))
    if not findings:
        return Verdict(level=Level.WELL, sentence=WELL, findings=[])
    worst = findings[0]
    said = "; ".join(filter(None, (worst.sentence, worst.way_out)))
    more = f" ({len(findings) - 1} more)" if len(findings) > 1 else ""
    return Verdict(level=worst.level, sentence=f"{said}{more}", findings=findings)


def _findings(now: Readiness, counts: Counts, disk: Disk | None) -> Iterator[Finding]:
    for reason in now.reasons:
        yield _said("not_ready", Level.STOPPED, reason)
    if failed := counts.studies["failed"]:
        yield Finding(
            code="studies_failed",
            level=Level.FAILED,
            number=failed,
            sentence=f"{_studies(failed)} failed",
            way_out="settle what they say, then retry them, or cancel what is not needed",
        )
    for complaint in now.degraded:
        yield _said("trouble", Level.WARNING, complaint)
    days_left = disk.days_left if disk is not None and not disk.is_kept_free else None
    if days_left is not None and days_left < DAYS_WORTH_SAYING:
        yield Finding(
            code="disk_fills",
            level=Level.WARNING,
            number=days_left,
            sentence=f"the disk will do for {days_left:.1f} days at the rate of the last week",
            way_out="make room, or let retention remove what is old",
        )
    if held := counts.studies["held"]:
        yield Finding(
            code="studies_held",
            level=Level.PERSON,
            number=held,
            sentence=f"{_studies(held)} {'waits' if held == 1 else 'wait'} for a person",
            way_out="look at what they say, then release or cancel",
        )
    if aside := counts.quarantined_objects:
        yield Finding(
            code="objects_put_aside",
            level=Level.PERSON,
            number=aside,
            sentence=f"{aside} {'object was' if aside == 1 else 'objects were'} put aside",
            way_out="the quarantine says why; correct them where they come from, then send them again",
        )


def _said(code: str, level: Level, sentence: str) -> Finding:
    what, _, way_out = sentence.partition("; ")
    return Finding.model_validate(
        {"code": code, "level": level, "number": 0, "sentence": what, "way_out": way_out}
    )


def _studies(number: int) -> str:
    return "1 study" if number == 1 else f"{number} studies"
