"""What is wrong with the runs of jobs that are still on their way, job by job, for /readyz."""

from collections.abc import Set as AbstractSet
from typing import Final

from gateway.ledger.states import AT_THE_QUEUE, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of

ON_THE_WAY: Final = AT_THE_QUEUE | {JobState.STAGED}
NAMED: Final = 3
"""So many jobs are named; of the others it is said how many they are."""


class Complaints:
    """Sentences about jobs; one holds while its job stays in certain states, or until another is said of it.

    They are kept in memory: the ledger has them too, in each job's timeline.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._said: dict[str, tuple[str, AbstractSet[JobState]]] = {}

    def say(self, job_key: str, sentence: str, while_in: AbstractSet[JobState] = ON_THE_WAY) -> None:
        """Say something of a job."""
        self._said[job_key] = f"job {job_key[:12]}: {sentence}", while_in

    def __str__(self) -> str:
        """All that still holds; empty where nothing does."""
        for job_key, (_, while_in) in list(self._said.items()):
            job = job_of(self._ledger, job_key)
            if job is None or job.state not in while_in:
                self._said.pop(job_key, None)
        sentences = [sentence for sentence, _ in self._said.values()]
        more = [f"and {len(sentences) - NAMED} more"] if len(sentences) > NAMED else []
        return "; ".join([*sentences[:NAMED], *more])
