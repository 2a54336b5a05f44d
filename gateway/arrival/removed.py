"""Series whose images were removed here: what was decided stays; what comes late waits for the rest.

A late slice alone is no volume, and it must not pass for one: it is held, with the sentence that says why,
until the study was sent again. What comes as a whole new series can be judged, but not compared with what is
not here any more: so it is held, too, where a rule takes the best of a scan only.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.identity import volume_digest
from gateway.ledger.completion import DecidedVolume, PlannedJob
from gateway.ledger.records import InstanceRow, JobRow, VolumeRow
from gateway.ledger.states import JobState

from .candidates import Earlier

Instances = list[tuple[str, str, str]]
"""Name, digest of the pixels and digest of the geometry of each."""
_OVER = (JobState.CANCELLED, JobState.SUPERSEDED)


@dataclass(frozen=True)
class RemovedSeries:
    """A series of which images were removed, and what of it came since."""

    series_uid: str
    removed_at: str
    late: tuple[InstanceRow, ...]

    @property
    def sentence(self) -> str:
        """Why what came late of it waits, and the way out."""
        return (
            f"its other images were removed here on {self.removed_at[:10]}; send the whole study again from"
            " the PACS, it then goes on by itself"
        )

    @property
    def instances(self) -> Instances:
        """What came late, by name."""
        return sorted((row.sop_instance_uid, row.pixel_sha256, row.geometry_sha256) for row in self.late)


def set_apart(rows: Iterable[InstanceRow]) -> tuple[list[InstanceRow], list[RemovedSeries]]:
    """Part a study's instances into those that can be judged, and series of which images were removed."""
    by_series: dict[str, list[InstanceRow]] = defaultdict(list)
    for row in rows:
        by_series[row.series_uid].append(row)
    whole: list[InstanceRow] = []
    removed: list[RemovedSeries] = []
    for series_uid, series_rows in by_series.items():
        of_use = [row for row in series_rows if row.of_use]
        at = max((row.removed_at for row in of_use if row.removed_at), default=None)
        if at is None:
            whole += series_rows
        else:
            late = tuple(row for row in of_use if row.removed_at is None)
            removed.append(RemovedSeries(series_uid, at, late))
    return whole, removed


def held_for_the_rest(
    series: RemovedSeries, earlier: Earlier, key_of: Callable[[Instances, JobRow], str]
) -> list[PlannedJob]:
    """What came late, in the place of each volume that was segmented of the series; released by the rest.

    Parameters
    ----------
    key_of
        Makes the job key of instances with what an earlier job was to do.
    """
    if not series.late:
        return []
    newest = {job.slot: job for job in earlier.jobs if job.series_uid == series.series_uid}
    held = {
        (key := key_of(series.instances, job)): PlannedJob.like(
            job,
            job_key=key,
            instance_uids=tuple(name for name, _, _ in series.instances),
            hold=series.sentence,
            volume_sha256=volume_digest(series.instances),
        )
        for job in newest.values()
        if job.state not in _OVER
    }
    return list(held.values())


def decisions(
    series: RemovedSeries, volumes: Sequence[VolumeRow], held: Sequence[PlannedJob]
) -> list[DecidedVolume]:
    """What was decided about a series before its images were removed, and about what came late."""
    decided = [
        DecidedVolume(**volume.model_dump(exclude={"study_uid"}) | {"can_be_used": False})
        for volume in volumes
        if volume.series_uid == series.series_uid and volume.why != series.sentence
    ]
    if series.late:
        number = max((volume.number for volume in decided), default=0) + 1
        key = held[0].job_key if held else None
        decided.append(
            DecidedVolume(
                series.series_uid, number, len(series.late), key, series.sentence, can_be_used=False
            )
        )
    return decided


def hold_what_cannot_be_compared(
    jobs: Sequence[PlannedJob],
    removed: Sequence[RemovedSeries],
    earlier: Earlier,
    takes_best: Mapping[str, bool],
) -> list[PlannedJob]:
    """Hold each new job of a rule that takes the best of a scan, where volumes of its task are not here.

    Parameters
    ----------
    takes_best
        By the name of each rule.
    """
    gone = {series.series_uid: series.removed_at for series in removed}
    removed_at = {
        job.task: gone[job.series_uid]
        for job in earlier.jobs
        if job.series_uid in gone and job.state not in _OVER
    }
    known = {job.job_key for job in earlier.jobs}
    return [
        replace(job, hold=_not_comparable(removed_at[job.task]))
        if job.task in removed_at and takes_best[job.rule] and job.job_key not in known and not job.hold
        else job
        for job in jobs
    ]


def _not_comparable(removed_at: str) -> str:
    return (
        f"other images of its study were removed here on {removed_at[:10]}, so it cannot be told whether one"
        " of them is of the same scan; send the whole study again, or release it to have it segmented too"
    )
