"""From a study's instances to the jobs it should have, and why every other volume has none."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

from pydicom import Dataset

from converter.errors import UnusableSeries
from converter.segmentation import copied_header_digest
from converter.series import HeaderReader, Usability, Volume, judge_series
from gateway.config import Rule
from gateway.files.kept import FilesLost, is_lost, lost_files
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, images_of_jobs, jobs_of
from gateway.ledger.instances import current_instances
from gateway.ledger.records import InstanceRow, JobRow, StudyRow
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger

from .rules import CompiledRule
from .selection import ranked, same_scan, values_of, why_never


@dataclass(frozen=True)
class TaskRule:
    """A rule with what the engine says of its task."""

    compiled: CompiledRule
    task: str
    modality: str
    send_to: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        """The rule as configured."""
        return self.compiled.rule


@dataclass
class _Candidate:
    """One volume on its way to a decision."""

    volume: Volume
    number: int
    rows: tuple[InstanceRow, ...]
    """Of each of its frames; those of one multi-frame object share theirs."""
    job: PlannedJob | None = None
    why: str = ""
    ranking: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its frames' names: SOP Instance UIDs, with the number of the frame in a multi-frame object."""
        return tuple(frame.name for frame in self.volume.frames)

    def shared_with(self, images: Sequence[str]) -> int:
        """How many of these images it has."""
        return len(set(self.names).intersection(images))


@dataclass(frozen=True)
class _Slots:
    """Which volume continues which: a slot is what a revision is a revision of.

    Numbers will not do, since a volume may be numbered anew when others of its series come in; what counts is
    the instances that it shares with the newest job of a slot.
    """

    of_candidate: Mapping[int, str]
    taken: frozenset[str]
    """Slots whose newest job is neither cancelled nor superseded: their volume stays the chosen one."""

    @classmethod
    def of(
        cls,
        task: str,
        candidates: Sequence[_Candidate],
        jobs: Sequence[JobRow],
        images: Mapping[str, Sequence[str]],
    ) -> "_Slots":
        """Match the slots of a study's jobs, oldest first, with its volumes as they are now."""
        newest = {job.slot: job for job in jobs if job.task == task}
        pairs = sorted(
            (
                (c.shared_with(images.get(job.job_key, ())), slot, c)
                for slot, job in newest.items()
                for c in candidates
            ),
            key=lambda pair: (-pair[0], pair[1], pair[2].number),
        )
        found: dict[int, str] = {}
        for shared, slot, candidate in pairs:
            if shared and id(candidate) not in found and slot not in found.values():
                found[id(candidate)] = slot
        over = (JobState.CANCELLED, JobState.SUPERSEDED)
        taken = frozenset(slot for slot, job in newest.items() if job.state not in over)
        names = {*newest, *found.values()}
        for candidate in candidates:
            if id(candidate) not in found:
                found[id(candidate)] = _new_slot(task, candidate, names)
                names.add(found[id(candidate)])
        return cls(found, taken)

    def __getitem__(self, candidate: _Candidate) -> str:
        return self.of_candidate[id(candidate)]


def _new_slot(task: str, candidate: _Candidate, names: Set[str]) -> str:
    possible = (f"{candidate.volume.series_uid}#{number}#{task}" for number in count(candidate.number))
    return next(slot for slot in possible if slot not in names)


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
        rows = current_instances(self._ledger, study.study_uid)
        lost = lost_files(self._data_dir, [row for row in rows if row.of_use])
        if lost:  # before any header is read: a study that is sent again is looked at often
            raise FilesLost(lost)
        candidates, decided = self._judge(rows)
        jobs: list[PlannedJob] = []
        earlier = jobs_of(self._ledger, study.study_uid)
        images = images_of_jobs(self._ledger, study.study_uid)
        for task in dict.fromkeys(rule.task for rule in self._rules):
            jobs += self._choose(task, candidates, _Slots.of(task, candidates, earlier, images))
        decided += [_decision(candidate) for candidate in candidates]
        return StudyPlan(study.study_uid, study.generation, tuple(jobs), tuple(decided))

    # -- judging ------------------------------------------------------------------------------------------

    def _judge(self, rows: Sequence[InstanceRow]) -> tuple[list[_Candidate], list[DecidedVolume]]:
        candidates: list[_Candidate] = []
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
    ) -> tuple[list[_Candidate], list[DecidedVolume]]:
        of_use = {self._data_dir / row.path: row for row in rows if row.of_use}
        judgement = judge_series(_headers(list(of_use)))
        candidates = [
            _Candidate(volume, number, tuple(of_use[frame.path] for frame in volume.frames))
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

    def _choose(self, task: str, candidates: Sequence[_Candidate], slots: _Slots) -> list[PlannedJob]:
        jobs: list[PlannedJob] = []
        taken: dict[int, list[_Candidate]] = defaultdict(list)
        rules = [rule for rule in self._rules if rule.task == task]
        for candidate in candidates:
            number = self._first_match(rules, candidate)
            if number is not None:
                taken[number].append(candidate)
        for number, group in taken.items():
            rule = rules[number]
            single = _without_time_series(group)
            for scan in _scans(single) if rule.rule.choose == "best" else [[c] for c in single]:
                jobs.append(self._take_best(rule, scan, slots))
        return jobs

    def _first_match(self, rules: Sequence[TaskRule], candidate: _Candidate) -> int | None:
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
        refusal = rule.compiled.first_refusal(_attributes(volume))
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
        attributes = _attributes(volume)
        for earlier in self._rules[: self._rules.index(rule) + 1]:
            keeps = earlier.rule.leave_site is not True
            if keeps and earlier.compiled.first_refusal(attributes) is None:
                whose = "its" if earlier is rule else f"rule {earlier.rule.name} with"
                return f"it stays on the site ({whose} leave_site = false), and jobs run elsewhere"
        return None

    def _take_best(self, rule: TaskRule, scan: Sequence[_Candidate], slots: _Slots) -> PlannedJob:
        """Take one volume of a scan; one that was taken before stays the one."""
        by_volume = {id(candidate.volume): candidate for candidate in scan}
        order = [(by_volume[id(v)], rank) for v, rank in ranked([c.volume for c in scan])]
        kept = next((c for c, _ in order if slots[c] in slots.taken), None)
        best = kept or order[0][0]
        lines = tuple(f"{_series_name(c)}: {rank.sentence}" for c, rank in order)
        for candidate, _ in order:
            candidate.ranking = lines if len(lines) > 1 else ()
            if candidate is not best and candidate.job is None:
                reason = "was taken first" if kept else "ranks higher"
                candidate.why = f"rule {rule.rule.name}: {_series_name(best)} of the same scan {reason}"
        best.job = self._job(rule, best, slots[best])
        best.why = f"taken by rule {rule.rule.name} for task {rule.task}"
        return best.job

    def _job(self, rule: TaskRule, candidate: _Candidate, slot: str) -> PlannedJob:
        volume = candidate.volume
        gaps = [finding.sentence for finding in volume.findings if finding.code == "gap"]
        return PlannedJob(
            job_key=self._secret.job_key(
                [
                    (name, row.pixel_sha256, row.geometry_sha256)
                    for name, row in zip(candidate.names, candidate.rows, strict=True)
                ],
                rule.task,
                rule.rule.options,
                self._engine,
            ),
            series_uid=volume.series_uid,
            slot=slot,
            rule=rule.rule.name,
            task=rule.task,
            options=dict(rule.rule.options),
            engine=self._engine.name,
            priority=rule.rule.priority,
            instance_uids=candidate.names,
            send_to=rule.send_to,
            outputs=tuple(rule.rule.outputs),
            header_sha256=copied_header_digest(volume),
            hold=" ".join(gaps),
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


def _attributes(volume: Volume) -> Mapping[str, tuple[str, ...]]:
    """What a rule can ask about a volume: its header's keywords, and what is computed of it."""
    return _HeaderAttributes(volume)


class _HeaderAttributes(dict[str, tuple[str, ...]]):
    """Looks a keyword up in the volume's header when it is asked for."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(
            images=(str(len(volume.frames)),),
            slice_spacing_mm=(f"{volume.slice_spacing_mm:.6g}",),
            study_age_days=_age_days("".join(values_of(volume.header, "StudyDate"))),
        )
        self._header = volume.header

    def get(self, key: str, default: object = ()) -> tuple[str, ...]:
        """The values under a keyword; none when the header has none."""
        return self[key] if key in self else values_of(self._header, key)


def _age_days(study_date: str) -> tuple[str, ...]:
    try:
        taken = date(int(study_date[:4]), int(study_date[4:6]), int(study_date[6:8]))
    except ValueError:
        return ()
    return (str((datetime.now(UTC).date() - taken).days),)


def _without_time_series(group: Sequence[_Candidate]) -> list[_Candidate]:
    """Leave out series of which several volumes match: nobody said which one is meant."""
    volumes = Counter(candidate.volume.series_uid for candidate in group)
    single = []
    for candidate in group:
        several = volumes[candidate.volume.series_uid]
        if several == 1:
            single.append(candidate)
        elif candidate.job is None:
            how = [finding.sentence for finding in candidate.volume.findings if finding.code == "split"]
            which = f"one of {several} volumes of its series"
            candidate.why = "; ".join([f"{which} (time or phase): a rule must pick one", *how])
    return single


def _scans(candidates: Sequence[_Candidate]) -> list[list[_Candidate]]:
    scans: dict[tuple[str, ...], list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        scans[same_scan(candidate.volume)].append(candidate)
    return list(scans.values())


def _series_name(candidate: _Candidate) -> str:
    number = candidate.rows[0].series_number
    name = f"series {number}" if number is not None else "a series without number"
    return name if candidate.number == 1 else f"{name}, volume {candidate.number}"


def _decision(candidate: _Candidate) -> DecidedVolume:
    return DecidedVolume(
        series_uid=candidate.volume.series_uid,
        number=candidate.number,
        images=len(candidate.volume.frames),
        job_key=candidate.job.job_key if candidate.job else None,
        why=candidate.why or "no rule takes it",
        findings=tuple({"code": f.code, "sentence": f.sentence} for f in candidate.volume.findings),
        ranking=candidate.ranking,
    )
