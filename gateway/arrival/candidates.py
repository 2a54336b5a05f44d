"""The volumes of a study on their way to a decision, and which of its jobs each of them continues."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count

from batch_job.contract import ContractError, canonical_options
from converter.series import Volume
from gateway.identity import volume_digest
from gateway.ledger.choices import choices_of
from gateway.ledger.completion import DecidedVolume, PlannedJob, images_of_jobs, jobs_of
from gateway.ledger.instances import BACKFILLED
from gateway.ledger.records import ChoiceRow, InstanceRow, JobRow
from gateway.ledger.slots import delivered_slots, is_beside
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger


@dataclass
class Candidate:
    """One volume on its way to a decision."""

    volume: Volume
    number: int
    rows: tuple[InstanceRow, ...]
    """Of each of its frames; those of one multi-frame object share theirs."""
    choice: ChoiceRow | None = None
    """The newest choice of a person that means it."""
    job: PlannedJob | None = None
    why: str = ""
    ranking: tuple[str, ...] = ()
    is_taken_by_a_rule: bool = False
    """Whether some rule takes it, be it that another volume is preferred."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its frames' names: SOP Instance UIDs, with the number of the frame in a multi-frame object."""
        return tuple(frame.name for frame in self.volume.frames)

    @property
    def instances(self) -> list[tuple[str, str, str]]:
        """Name, digest of the pixels and digest of the geometry of each of its frames."""
        return [
            (name, row.pixel_sha256, row.geometry_sha256)
            for name, row in zip(self.names, self.rows, strict=True)
        ]

    @property
    def is_wished(self) -> bool:
        """Whether a person chose it, and the study is not planned with that yet."""
        return self.choice is not None and bool(self.choice.is_open)

    @property
    def is_backfilled(self) -> bool:
        """Whether any of it was fetched by `iris backfill`: nobody waits for its result."""
        return any(row.sender == BACKFILLED for row in self.rows)

    @property
    def series_name(self) -> str:
        """What a person calls it."""
        number = self.rows[0].series_number
        name = f"series {number}" if number is not None else "a series without number"
        return name if self.number == 1 else f"{name}, volume {self.number}"

    def shared_with(self, images: Sequence[str]) -> int:
        """How many of these images it has."""
        return len(set(self.names).intersection(images))

    def is_meant_by(self, choice: ChoiceRow) -> bool:
        """Whether a choice is this volume: it has the image that was written down, or else the number."""
        if choice.image:
            return choice.image in self.names
        return (choice.series_uid, choice.number) == (self.volume.series_uid, self.number)

    def decision(self) -> DecidedVolume:
        """What was decided about it."""
        return DecidedVolume(
            series_uid=self.volume.series_uid,
            number=self.number,
            images=len(self.volume.frames),
            job_key=self.job.job_key if self.job else None,
            why=self.why or "no rule takes it",
            findings=tuple({"code": f.code, "sentence": f.sentence} for f in self.volume.findings),
            ranking=self.ranking,
            first_image=self.names[0],
            can_be_used=self.is_taken_by_a_rule,
        )


@dataclass(frozen=True)
class Earlier:
    """What the ledger knows of a study's jobs and choices."""

    study_uid: str
    jobs: tuple[JobRow, ...]
    """Oldest first."""
    images: Mapping[str, Sequence[str]]
    """The frozen membership of each job."""
    delivered: frozenset[str]
    """Slots of which something has arrived somewhere."""
    choices: tuple[ChoiceRow, ...]
    """Oldest first."""

    @classmethod
    def of(cls, ledger: Ledger, study_uid: str) -> "Earlier":
        """Read it."""
        return cls(
            study_uid=study_uid,
            jobs=tuple(jobs_of(ledger, study_uid)),
            images=images_of_jobs(ledger, study_uid),
            delivered=delivered_slots(ledger, study_uid),
            choices=tuple(choices_of(ledger, study_uid)),
        )

    def job_of(self, candidate: Candidate, task: str, options: Mapping[str, object], engine: str) -> str:
        """The key of the newest job of exactly these images with this task and options; empty: there is none.

        Versions do not count: a volume that did not change keeps its job, whatever is installed by now.
        """
        digest = volume_digest(candidate.instances)
        names, wanted = set(candidate.names), _in_full(engine, task, options)
        for job in reversed(self.jobs):
            is_same_volume = (
                job.volume_sha256 == digest
                if job.volume_sha256
                else set(self.images.get(job.job_key, ())) == names
            )
            is_same_work = (job.task, job.engine) == (task, engine)
            if is_same_volume and is_same_work and _in_full(engine, task, job.options) == wanted:
                return job.job_key
        return ""


def _in_full(engine: str, task: str, options: Mapping[str, object]) -> Mapping[str, object]:
    """Options with every default, so that one that a newer engine has beside them makes no difference."""
    try:
        return canonical_options(engine, task, options)
    except ContractError:  # the engine has lost one of them
        return options


@dataclass(frozen=True)
class Slots:
    """Which volume continues which: a slot is what a revision is a revision of.

    Numbers will not do, since a volume may be numbered anew when others of its series come in; what counts is
    the instances that it shares with the newest job of a slot.
    """

    of_candidate: Mapping[int, str]
    taken: frozenset[str]
    """Slots whose newest job is neither cancelled nor superseded."""
    delivered: frozenset[str]
    """Those of them of which something is delivered: their volume stays the one."""

    @classmethod
    def of(cls, task: str, candidates: Sequence[Candidate], earlier: Earlier) -> "Slots":
        """Match the slots of a study's jobs with its volumes as they are now."""
        newest = {job.slot: job for job in earlier.jobs if job.task == task and not is_beside(job)}
        pairs = sorted(
            (
                (candidate.shared_with(earlier.images.get(job.job_key, ())), slot, candidate)
                for slot, job in newest.items()
                for candidate in candidates
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
        return cls(found, taken, taken & earlier.delivered)

    def __getitem__(self, candidate: Candidate) -> str:
        return self.of_candidate[id(candidate)]

    def is_taken(self, candidate: Candidate) -> bool:
        """Whether it has a job that somebody still wants."""
        return self[candidate] in self.taken

    def is_delivered(self, candidate: Candidate) -> bool:
        """Whether it has such a job, and something of it is delivered."""
        return self[candidate] in self.delivered


def _new_slot(task: str, candidate: Candidate, names: Set[str]) -> str:
    possible = (f"{candidate.volume.series_uid}#{number}#{task}" for number in count(candidate.number))
    return next(slot for slot in possible if slot not in names)
