"""From a study's instances to the jobs it should have, and why every other volume has none."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset

from converter.errors import UnusableSeries
from converter.seg.encoder import copied_header_digest
from converter.series import HeaderReader, Usability, Volume, judge_series
from gateway.config import Rule
from gateway.files.kept import FilesLost, is_lost, lost_files
from gateway.identity import EngineIdentity, SiteSecret, volume_digest
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, decided_volumes
from gateway.ledger.instances import FOUND_AT_START, current_instances
from gateway.ledger.records import InstanceRow, JobRow, StudyRow
from gateway.ledger.slots import GivenUp
from gateway.ledger.store import Ledger

from .attributes import attributes
from .candidates import Candidate, Earlier, Slots
from .choosing import Choosing, order_of, pick, scans, without_time_series
from .removed import (
    RemovedSeries,
    decisions,
    held_for_the_rest,
    hold_what_cannot_be_compared,
    set_apart,
)
from .rules import CompiledRule
from .selection import why_never

BEHIND_LIVE: Final = 1_000_000_000
"""So much is taken off the priority of what was backfilled, or lay here when the ledger was made anew: every
live job comes first, in every step."""


@dataclass(frozen=True)
class TaskRule:
    """A rule with what the engine says of its task."""

    compiled: CompiledRule
    task: str
    modality: str
    send_to: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        """The rule as configured."""
        return self.compiled.rule


class Planner:
    """Makes the plan that completion writes.

    Parameters
    ----------
    rules
        In the order of the configuration: the first that matches a volume takes it for its task.
    leaves_site
        Whether a job's images leave the site. What a rule with `leave_site = false` matches is then taken
        neither by that rule nor by a later one, whatever its task.
    """

    def __init__(
        self,
        ledger: Ledger,
        data_dir: Path,
        rules: Sequence[TaskRule],
        secret: SiteSecret,
        engine: EngineIdentity,
        *,
        leaves_site: bool = False,
    ) -> None:
        self._ledger = ledger
        self._data_dir = data_dir
        self._rules = rules
        self._secret = secret
        self._engine = engine
        self._leaves_site = leaves_site

    def plan(self, study: StudyRow) -> StudyPlan:
        """Judge every series of a study and choose.

        Raises
        ------
        FilesLost
            Kept files are gone or cannot be read.
        """
        began_at = time.monotonic()
        rows, removed = set_apart(current_instances(self._ledger, study.study_uid))
        lost = lost_files(self._data_dir, [row for row in rows if row.of_use])
        if lost:  # before any header is read: a study that is sent again is looked at often
            raise FilesLost(lost)
        earlier = Earlier.of(self._ledger, study.study_uid)
        candidates, decided = self._judge(rows)
        for choice in earlier.choices:  # the newest of a volume counts
            for candidate in candidates:
                if candidate.is_meant_by(choice):
                    candidate.choice = choice
        jobs: list[PlannedJob] = []
        given_up: list[GivenUp] = []
        is_asked_for = study.evidence is not None or study.complete_requested
        nobody_waits = not is_asked_for and all(row.sender == FOUND_AT_START for row in rows)
        for task in dict.fromkeys(rule.task for rule in self._rules):
            choosing = Choosing(earlier, Slots.of(task, candidates, earlier), given_up, nobody_waits)
            jobs += self._choose(task, candidates, choosing)
        if removed:
            self._deal_with_removed(removed, earlier, jobs, decided)
        return StudyPlan(
            study.study_uid,
            study.generation,
            jobs=tuple(jobs),
            volumes=(*decided, *(candidate.decision() for candidate in candidates)),
            given_up=tuple(given_up),
            choices_until=max((choice.chosen_at for choice in earlier.choices), default=""),
            planning_s=time.monotonic() - began_at,
        )

    def _deal_with_removed(
        self,
        removed: Sequence[RemovedSeries],
        earlier: Earlier,
        jobs: list[PlannedJob],
        decided: list[DecidedVolume],
    ) -> None:
        """Add what is said of series whose images are not here any more, and of what came late of them."""
        takes_best = {rule.rule.name: rule.rule.choose == "best" for rule in self._rules}
        jobs[:] = hold_what_cannot_be_compared(jobs, removed, earlier, takes_best)
        volumes = decided_volumes(self._ledger, earlier.study_uid)
        for series in removed:
            held = held_for_the_rest(series, earlier, self._key_like)
            jobs += held
            decided += decisions(series, volumes, held)

    def _key_like(self, instances: Sequence[tuple[str, str, str]], job: JobRow) -> str:
        return self._secret.job_key(instances, job.task, job.options, self._engine)

    # -- judging ------------------------------------------------------------------------------------------

    def _judge(self, rows: Sequence[InstanceRow]) -> tuple[list[Candidate], list[DecidedVolume]]:
        candidates: list[Candidate] = []
        decided: list[DecidedVolume] = []
        by_series: dict[str, list[InstanceRow]] = defaultdict(list)
        for row in rows:
            by_series[row.series_uid].append(row)
        lost = 0
        for series_uid, series_rows in by_series.items():
            try:
                found, others = self._judge_series(series_uid, series_rows)
            except FilesLost as error:
                lost += error.files
                continue
            candidates += found
            decided += others
        if lost:
            raise FilesLost(lost)
        return candidates, decided

    def _judge_series(
        self, series_uid: str, rows: Sequence[InstanceRow]
    ) -> tuple[list[Candidate], list[DecidedVolume]]:
        of_use = {self._data_dir / row.path: row for row in rows if row.of_use}
        judgement = judge_series(_headers(list(of_use)))
        candidates = [
            Candidate(volume, number, tuple(of_use[frame.path] for frame in volume.frames))
            for number, volume in enumerate(judgement.volumes, start=1)
        ]
        why_not: dict[str, int] = defaultdict(int)
        for _, finding in judgement.left_over:
            why_not[finding.sentence] += 1
        for row in rows:
            if not row.of_use:
                why_not[row.why_not] += 1
        others = [
            DecidedVolume(series_uid, number, images, None, why)
            for number, (why, images) in enumerate(sorted(why_not.items()), start=len(candidates) + 1)
        ]
        return candidates, others

    # -- choosing -----------------------------------------------------------------------------------------

    def _choose(self, task: str, candidates: Sequence[Candidate], choosing: Choosing) -> list[PlannedJob]:
        jobs: list[PlannedJob] = []
        taken: dict[int, list[Candidate]] = defaultdict(list)
        rules = [rule for rule in self._rules if rule.task == task]
        for candidate in candidates:
            number = self._first_match(rules, candidate)
            if number is not None:
                candidate.is_taken_by_a_rule = True
                taken[number].append(candidate)
        for number, group in taken.items():
            rule = rules[number]
            single = without_time_series(group)
            for scan in scans(single) if rule.rule.choose == "best" else [[c] for c in single]:
                jobs.append(self._take_best(rule, scan, choosing))
        return jobs

    def _first_match(self, rules: Sequence[TaskRule], candidate: Candidate) -> int | None:
        reasons: list[str] = []
        for number, rule in enumerate(rules):
            reason = self._why_not(rule, candidate.volume)
            if reason is None:
                return number
            reasons.append(f"rule {rule.rule.name}: {reason}")
        if candidate.job is None:
            candidate.why = "; ".join(dict.fromkeys(filter(None, [candidate.why, *reasons])))
        return None

    def _why_not(self, rule: TaskRule, volume: Volume) -> str | None:
        refusal = rule.compiled.first_refusal(attributes(volume))
        if refusal is not None:
            return f"{refusal.keyword} is not {refusal.wanted}"
        never = why_never(volume, rule.modality)
        if never is not None:
            return never
        if volume.usability is Usability.UNUSABLE:
            return " ".join(finding.sentence for finding in volume.findings)
        return self._why_it_stays(rule, volume)

    def _why_it_stays(self, rule: TaskRule, volume: Volume) -> str | None:
        """Why a volume that a rule would take may not go where its job would be."""
        if not self._leaves_site:
            return None
        values = attributes(volume)
        for earlier in self._rules[: self._rules.index(rule) + 1]:
            keeps = earlier.rule.leave_site is not True
            if keeps and earlier.compiled.first_refusal(values) is None:
                whose = "its" if earlier is rule else f"rule {earlier.rule.name} with"
                return f"it stays on the site ({whose} leave_site = false), and jobs run elsewhere"
        return None

    def _take_best(self, rule: TaskRule, scan: Sequence[Candidate], choosing: Choosing) -> PlannedJob:
        """Take one volume of a scan; others that were taken before, and are not delivered, give way."""
        order, slots = order_of(scan), choosing.slots
        best, because = pick(order, slots)
        lines = tuple(f"{c.series_name}: {rank.sentence}" for c, rank in order)
        for candidate, rank in order:
            candidate.ranking = lines if len(lines) > 1 else ()
            if candidate is best:
                continue
            reason = f"{best.series_name} of the same scan {because(rank)}"
            if candidate.job is None:
                candidate.why = f"rule {rule.rule.name}: {reason}"
            if slots.is_taken(candidate) and (best.choice is not None or not slots.is_delivered(candidate)):
                choosing.given_up.append(GivenUp(slots[candidate], reason, best.choice is not None))
        best.job = self._job(rule, best, choosing)
        best.why = f"taken by rule {rule.rule.name} for task {rule.task}"
        if best.choice is not None:
            best.why += ", chosen by a person"
        return best.job

    def _job(self, rule: TaskRule, candidate: Candidate, choosing: Choosing) -> PlannedJob:
        volume, options = candidate.volume, rule.rule.options
        is_behind = candidate.is_backfilled or (choosing.nobody_waits and not candidate.is_wished)
        gaps = [finding.sentence for finding in volume.findings if finding.code == "gap"]
        key = choosing.earlier.job_of(candidate, rule.task, options, self._engine.name)
        if not key or candidate.is_wished:  # a person who asks for it gets what is installed now
            key = self._secret.job_key(candidate.instances, rule.task, options, self._engine)
        return PlannedJob(
            job_key=key,
            series_uid=volume.series_uid,
            slot=choosing.slots[candidate],
            rule=rule.rule.name,
            task=rule.task,
            options=dict(options),
            engine=self._engine.name,
            priority=rule.rule.priority - (BEHIND_LIVE if is_behind else 0),
            instance_uids=candidate.names,
            send_to=rule.send_to,
            outputs=rule.outputs,
            header_sha256=copied_header_digest(volume),
            hold=" ".join(gaps),
            volume_sha256=volume_digest(candidate.instances),
            is_wished=candidate.is_wished,
        )


def _headers(paths: Sequence[Path]) -> list[tuple[Path, Dataset]]:
    """The headers of these files, each of which could be read when it came.

    Raises
    ------
    FilesLost
    OSError
        The machine is short of something.
    """
    reader, headers = HeaderReader(), []
    for path in paths:
        try:
            headers.append((path, reader.read(path)))
        except UnusableSeries:
            continue
        except OSError as error:
            if not is_lost(error):
                raise
    if len(headers) < len(paths):
        raise FilesLost(len(paths) - len(headers))
    return headers
