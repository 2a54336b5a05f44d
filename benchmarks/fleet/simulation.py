"""Machines that are started, run studies, wait, are taken back: a discrete event simulation.

A study that comes is a job of the queue. Batch starts a machine for each job that waits, up to the limit, and
gives a machine with nothing to do back after a while. Priorities are left out: all studies are alike, the
oldest first.
"""

import random
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from .assumptions import SECONDS_A_DAY, WARM_HOURS, Price, Settings, Stages

Steps = Generator[Any, Any, None]


@dataclass
class Study:
    """One study on its way; seconds from the begin of the simulation."""

    came_s: float
    stages: Stages
    left: float = 1.0
    """How much of the segmentation is still to be done."""
    done_s: float | None = None


@dataclass(frozen=True)
class Run:
    """A study's time on a machine that came to a result."""

    machine: int
    begun_s: float
    ended_s: float


@dataclass
class MachineLife:
    """From when to when a machine was paid for."""

    from_s: float
    to_s: float = 0.0


@dataclass
class Outcome:
    """What came of it."""

    studies: list[Study]
    machines: list[MachineLife] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    containers: int = 0
    interruptions: int = 0

    @property
    def machine_s(self) -> float:
        """Seconds that were paid for."""
        return sum(machine.to_s - machine.from_s for machine in self.machines)

    def usd_a_study(self, price: Price) -> float:
        """Money for each study."""
        return self.machine_s / 3600 * price.usd_per_hour / len(self.studies)

    def waited_s(self, share: float) -> float:
        """The time to result within which this share of studies had theirs."""
        times = sorted(study.done_s - study.came_s for study in self.studies if study.done_s is not None)
        return times[min(len(times) - 1, int(share * len(times)))]


def simulate(arrivals: Sequence[float], stages: Sequence[Stages], settings: Settings, seed: int) -> Outcome:
    """Let studies come and be done.

    Parameters
    ----------
    arrivals
        Seconds, in order.
    stages
        Those of each study.
    """
    studies = [Study(came, each) for came, each in zip(arrivals, stages, strict=True)]
    fleet = _Fleet(studies, settings, random.Random(seed))
    fleet.environment.run()
    return fleet.outcome


class _Fleet:
    def __init__(self, studies: list[Study], settings: Settings, chance: random.Random) -> None:
        self.environment = simpy.Environment()
        self.settings = settings
        self.outcome = Outcome(studies)
        self._chance = chance
        self._waiting: deque[Study] = deque()
        self._idle: dict[int, Any] = {}
        self._starting = 0
        self._alive = 0
        self._kept = 0
        self.environment.process(self._come())
        if settings.warm and studies:
            self.environment.process(self._keep_warm(studies[-1].came_s))

    @property
    def now_s(self) -> float:
        return float(self.environment.now)

    # -- the queue ----------------------------------------------------------------------------------------

    def _come(self) -> Steps:
        for study in self.outcome.studies:
            yield self.environment.timeout(self._given_at(study.came_s) - self.now_s)
            self._queue(study)

    def _given_at(self, came_s: float) -> float:
        gather_s = self.settings.gather_s
        return came_s if not gather_s else -(-came_s // gather_s) * gather_s

    def _queue(self, study: Study, *, first: bool = False) -> None:
        (self._waiting.appendleft if first else self._waiting.append)(study)
        if self._idle:
            self._idle.popitem()[1].succeed()
        elif self._starting < len(self._waiting) and self._alive < self.settings.machines:
            self._start()

    def _start(self) -> None:
        self._starting += 1
        self._alive += 1
        self.environment.process(self._machine(len(self.outcome.machines)))
        self.outcome.machines.append(MachineLife(self.now_s))

    # -- machines that are kept ---------------------------------------------------------------------------

    def _keep_warm(self, until_s: float) -> Steps:
        """As many as are wanted from begin to end of each day, until the last study came."""
        for day in range(int(until_s // SECONDS_A_DAY) + 1):
            for hour, kept in zip(WARM_HOURS, (self.settings.warm, 0), strict=True):
                yield self.environment.timeout(day * SECONDS_A_DAY + hour * 3600 - self.now_s)
                self._kept = kept
                self._start_what_is_kept()
                if not kept:
                    for woken in list(self._idle.values()):  # to see that they may go
                        woken.succeed()

    def _start_what_is_kept(self) -> None:
        while self._alive < self._kept:
            self._start()

    def _next(self) -> Study | None:
        return self._waiting.popleft() if self._waiting else None

    # -- a machine ----------------------------------------------------------------------------------------

    def _machine(self, number: int) -> Steps:
        life = self.outcome.machines[number]
        yield self.environment.timeout(self.settings.start_s)
        self._starting -= 1
        work = self.environment.process(self._work(number))
        end = self.environment.timeout(self._lives_s())
        yield work | end
        if work.is_alive:
            work.interrupt()
            self.outcome.interruptions += 1
            yield work
        life.to_s = self.now_s
        self._alive -= 1
        self._start_what_is_kept()
        if self._waiting:
            self._queue(self._waiting.popleft(), first=True)  # its place may be another machine's

    def _lives_s(self) -> float:
        rate = self.settings.interruptions_per_hour
        return self._chance.expovariate(rate / 3600) if rate else 1e12

    def _work(self, number: int) -> Steps:
        in_hand: list[Study] = []
        stays_s = self.settings.unused_s
        try:
            while True:
                study = self._next()
                if study is None:
                    woken = self._idle[number] = self.environment.event()
                    patience = self.environment.timeout(stays_s)
                    yield woken | patience
                    self._idle.pop(number, None)
                    if not woken.triggered and self._alive > self._kept:
                        return
                    continue
                in_hand.append(study)
                stays_s = self.settings.stays_s
                yield from self._container(number, in_hand)
        except simpy.Interrupt:
            self._idle.pop(number, None)
            for study in reversed(in_hand):
                if study.done_s is None:
                    self._queue(study, first=True)

    def _container(self, number: int, in_hand: list[Study]) -> Steps:
        """One process: a study, and where it takes more, those that wait, each beside the one before."""
        self.outcome.containers += 1
        begun_s = self.now_s
        takes_until_s = begun_s + self.settings.takes_for_s
        yield self.environment.timeout(self.settings.dispatch_s + in_hand[0].stages.load_s)
        ready_s = self.now_s + in_hand[0].stages.before_s
        free_s = 0.0
        while in_hand:
            study = in_hand[0]
            yield self.environment.timeout(max(0.0, ready_s - self.now_s))
            coming = self._next() if self.now_s < takes_until_s else None
            if coming is not None:
                in_hand.append(coming)
                ready_s = self.now_s + coming.stages.before_s
            yield from self._segment(study)
            yield self.environment.timeout(
                max(0.0, free_s - self.now_s)
            )  # the one before is still being saved
            free_s = self.now_s + study.stages.behind_s
            self.environment.process(self._finish(study, Run(number, begun_s, free_s)))
            begun_s = self.now_s
            in_hand.remove(study)
            if not in_hand:
                yield self.environment.timeout(study.stages.behind_s)
                if self.now_s < takes_until_s and (late := self._next()) is not None:
                    in_hand.append(late)
                    ready_s = self.now_s + late.stages.before_s

    def _segment(self, study: Study) -> Steps:
        try:
            yield self.environment.timeout(study.stages.segment_s * study.left)
        except simpy.Interrupt:
            study.left *= 1 - self.settings.kept_share
            raise

    def _finish(self, study: Study, run: Run) -> Steps:
        yield self.environment.timeout(study.stages.behind_s)
        study.done_s = self.now_s
        self.outcome.runs.append(run)
