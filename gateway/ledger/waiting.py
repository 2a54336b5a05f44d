"""What a study waits for: whose turn it is."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Final

from .states import DeliveryState, JobState, StudyState


class Waits(StrEnum):
    """For what, the most urgent first."""

    PERSON = "person"
    """Something failed, or is held: a person decides."""
    SENDER = "sender"
    """Not all of its images are here, or nobody said so yet."""
    GATEWAY = "gateway"
    """This gateway: a volume is to be prepared, a job to be handed to the queue, a result to be made."""
    QUEUE = "queue"
    """A job has its turn at the queue still to come, waits for a machine, or runs."""
    DESTINATION = "destination"
    """A result is to be sent, or its destination to say that it keeps it."""


BY_STUDY: Final[Mapping[Waits, tuple[StudyState, ...]]] = {
    Waits.PERSON: (StudyState.FAILED, StudyState.HELD),
    Waits.SENDER: (StudyState.RECEIVING,),
}
"""What is so by a study's own state."""
BY_JOB: Final[Mapping[Waits, tuple[JobState, ...]]] = {
    Waits.GATEWAY: (JobState.PLANNED, JobState.CONVERTED, JobState.STAGED, JobState.SEGMENTED),
    Waits.QUEUE: (JobState.SUBMITTED, JobState.RUNNABLE, JobState.RUNNING),
}
"""What is so by the state of a job."""


def waits_of(
    study: StudyState, jobs: Collection[JobState], deliveries: Iterable[tuple[DeliveryState, bool]]
) -> list[Waits]:
    """Everything that a study waits for, the most urgent first; of one that is done nothing.

    Parameters
    ----------
    study, jobs
        States.
    deliveries
        The state of each, and whether its destination has still to say that it keeps it.
    """
    found = {wait for wait, states in BY_STUDY.items() if study in states}
    found |= {wait for wait, states in BY_JOB.items() if not set(states).isdisjoint(jobs)}
    if any(state == DeliveryState.PENDING or is_unkept for state, is_unkept in deliveries):
        found.add(Waits.DESTINATION)
    return [wait for wait in Waits if wait in found]
