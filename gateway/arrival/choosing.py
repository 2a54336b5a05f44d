"""Which volume of a scan is taken, where several would do."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.ledger.slots import GivenUp

from .candidates import Candidate, Earlier, Slots
from .selection import Rank, ranked, same_scan


@dataclass(frozen=True)
class Choosing:
    """What is known and found while volumes are chosen for one task.

    Parameters
    ----------
    nobody_waits
        Nobody sent the study: its images lay here when the ledger was made anew.
    """

    earlier: Earlier
    slots: Slots
    given_up: list[GivenUp]
    nobody_waits: bool


def order_of(scan: Sequence[Candidate]) -> list[tuple[Candidate, Rank]]:
    """The volumes of a scan, the best first."""
    by_volume = {id(candidate.volume): candidate for candidate in scan}
    return [(by_volume[id(v)], rank) for v, rank in ranked([c.volume for c in scan])]


def pick(order: Sequence[tuple[Candidate, Rank]], slots: Slots) -> tuple[Candidate, Callable[[Rank], str]]:
    """The volume of a scan that is taken, and what it has before another of this rank.

    A person's choice goes before everything; what is delivered already stays; else the best is taken, and of
    equal ones that which was taken before.
    """
    chosen = [(c.choice.chosen_at, c) for c, _ in order if c.choice is not None]
    if chosen:
        return max(chosen, key=lambda pair: pair[0])[1], lambda _: "was chosen by a person"
    delivered = next((c for c, _ in order if slots.is_delivered(c)), None)
    if delivered is not None:
        return delivered, lambda _: "was taken first and is delivered; `iris use` takes another one"
    first, best = order[0]
    equal = [c for c, rank in order if rank.sort_key == best.sort_key]
    taken = next((c for c in equal if slots.is_taken(c)), None)
    if taken is None:
        return first, lambda _: "ranks higher"
    return taken, lambda rank: "was taken first" if rank.sort_key == best.sort_key else "ranks higher"


def without_time_series(group: Sequence[Candidate]) -> list[Candidate]:
    """Leave out series of which several volumes match, where nobody said which one is meant."""
    volumes = Counter(candidate.volume.series_uid for candidate in group)
    single = []
    for candidate in group:
        several = volumes[candidate.volume.series_uid]
        if several == 1 or candidate.choice is not None:
            single.append(candidate)
        elif candidate.job is None:
            how = [finding.sentence for finding in candidate.volume.findings if finding.code == "split"]
            which = f"one of {several} volumes of its series"
            candidate.why = "; ".join([f"{which} (time or phase): a rule must pick one", *how])
    return single


def scans(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The same, those of one scan together."""
    scans: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        scans[same_scan(candidate.volume)].append(candidate)
    return list(scans.values())
