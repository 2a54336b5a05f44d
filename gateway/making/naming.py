"""What a job's objects are called in the PACS: number and description of their series."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from converter.reading.headers import text_of
from converter.results.settings import MARK, free_series_number
from converter.series import Volume
from gateway.config import Seg
from gateway.ledger.completion import jobs_of
from gateway.ledger.instances import current_instances
from gateway.ledger.records import JobRow
from gateway.ledger.store import Ledger
from gateway.workers.attempts import CannotGoOn

LONGEST_DESCRIPTION = 64
"""PS3.5 6.2, value representation LO."""
REVISION_STEP = 1000
"""Between the series numbers of two revisions of one result."""
REVISION = re.compile(r" rev \d+$")


def series_numbers(
    ledger: Ledger,
    base: int,
    job: JobRow,
    revision: int,
    further: Sequence[str] = (),
    alone: Sequence[str] = (),
) -> Mapping[str, int]:
    """The series number of each output, and of each of the `further` series that jobs have.

    It is `base` plus the source's, the next free one where two would share it.

    All jobs of the study are counted through in their order, so that each finds the same numbers again. A
    later revision of a result is a series of its own, `REVISION_STEP` above the one before.

    Parameters
    ----------
    revision
        How many results of this volume and task stand before it.
    alone
        Series that this job has alone, beyond its outputs: numbered behind those of all jobs.
    """
    sources = {row.series_uid: row.series_number or 0 for row in current_instances(ledger, job.study_uid)}
    taken, own = set(sources.values()), dict[str, int]()
    for other in jobs_of(ledger, job.study_uid):
        numbers = {}
        for output in (*other.outputs, *further):
            numbers[output] = free_series_number(base, sources.get(other.series_uid), taken)
            taken.add(numbers[output])
        if other.job_key == job.job_key:
            above = REVISION_STEP * revision
            others = taken - set(numbers.values())
            own = {each: free_series_number(number + above, 0, others) for each, number in numbers.items()}
            if not alone:
                return own
    if not own:
        raise CannotGoOn("the job is gone from the ledger")
    for output in alone:
        number = free_series_number(base, sources.get(job.series_uid), taken)
        taken.add(number)
        own[output] = free_series_number(number + REVISION_STEP * revision, 0, taken - {number})
    return own


def series_description(seg: Seg, job: JobRow, volume: Volume, revision: int, *, is_marked: bool) -> str:
    """As configured; a result that is not the first of its volume and task says which one it is.

    One with flags begins with a mark: viewers show 25 characters or so.
    """
    source_number = volume.header.get("SeriesNumber")
    text = seg.series_description.format(
        task=f"{job.task} ({job.model_name})" if job.fallback_of else job.task,
        source_number="?" if source_number is None else source_number,
        source_description=text_of(volume.header, "SeriesDescription"),
    )
    marked = f"{MARK} {text}" if is_marked else text
    return fit_description(marked, f"rev {revision + 1}" if revision else "")


def titled(kind: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of an object, with what kind it is in front, since viewers show the first words.

    Only the mark of a result with flags stands before it.
    """
    text = said["series_description"]
    if text.startswith(MARK):
        kind, text = f"{MARK} {kind}", text.removeprefix(MARK)
    revision = REVISION.search(text)
    ending = revision[0].strip() if revision else ""
    return {**said, "series_description": fit_description(f"{kind} {text.removesuffix(ending)}", ending)}


def fit_description(text: str, ending: str = "") -> str:
    """Cut a description to 64 characters, at a word where there is one; the ending stays whole."""
    # What a source's description may hold and an LO may not (PS3.5 6.2): controls, and what parts values.
    text = "".join(each if each.isprintable() and each != "\\" else " " for each in text)
    text = " ".join(text.split())
    room = LONGEST_DESCRIPTION - len(ending) - 1 if ending else LONGEST_DESCRIPTION
    if len(text) > room:
        text = text[:room] if text[room] == " " or " " not in text[:room] else text[:room].rpartition(" ")[0]
    return f"{text.rstrip()} {ending}".strip()
