"""A run that is done takes another that waits: it owns it, and does it in the same process.

What waits for a machine stands as markers (`RunWanted`) under a prefix of the bucket, in the order in which
it is to be done; the gateway puts them there. Who takes a run owns it as its own Batch job would, by
`runs/{n}/owner.json`, which S3 lets one write; then its marker goes. A marker whose run somebody owns goes,
too.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from .bucket import BucketPlace
from .contract import (
    OWNER_NAME,
    RUN_EXIT_NAME,
    TAKE_FOR_VARIABLE,
    WAITING_VARIABLE,
    ContractError,
    Owner,
    RunExit,
    RunWanted,
)
from .errors import BadInput, ComeBackLater
from .place import Attempt
from .several import Ended, Wanted

AT_A_LOOK: Final = 20
"""So many markers are looked at before the next look."""
SCHEME: Final = "s3://"


class Taking:
    """Takes runs that wait, until none does, one has failed, or it has gone on for long enough.

    Parameters
    ----------
    waiting
        Where markers are, the more urgent ones first.
    attempt
        The run of this process's own.
    for_s
        For so long runs are taken; the queue ends a process that goes on for too long.
    """

    def __init__(self, waiting: Sequence[BucketPlace], attempt: Attempt, for_s: float) -> None:
        self._waiting = waiting
        self._own = attempt
        self._until = time.monotonic() + for_s
        self._taken: set[Wanted] = set()
        self._has_failed = False

    @classmethod
    def of_variables(cls, attempt: Attempt) -> "Taking":
        """What the environment says.

        Raises
        ------
        BadInput, ComeBackLater
        """
        addresses = os.environ[WAITING_VARIABLE].split()
        for_s = os.environ.get(TAKE_FOR_VARIABLE, "0")
        try:
            places = [BucketPlace.at(address.removeprefix(SCHEME)) for address in addresses]
            return cls(places, attempt, float(for_s))
        except ValueError:
            raise BadInput(f"{TAKE_FOR_VARIABLE} must be a number of seconds") from None

    def runs(self) -> Iterator[Wanted]:
        """What is taken, one each time that the next is asked for; until there is nothing to be taken."""
        while not self._has_failed and time.monotonic() < self._until:
            try:
                wanted = self._take()
            except (BadInput, ComeBackLater):  # others will do it
                return
            if wanted is None:
                return
            self._taken.add(wanted)
            yield wanted

    def heard(self, ended: Ended) -> None:
        """Leave word of one that was taken and failed: nobody else knows how it ended."""
        if not ended.code:
            return
        self._has_failed = True
        if ended.wanted in self._taken:
            run = ended.wanted.attempt.run
            word = RunExit(run=run, code=ended.code, sentence=ended.sentence, at=datetime.now(UTC))
            with contextlib.suppress(BadInput, ComeBackLater):
                place = self._waiting[0].at_address(ended.wanted.address)
                place.put(RUN_EXIT_NAME.format(run=run), word.to_json())

    def _take(self) -> Wanted | None:
        for waiting in self._waiting:
            while names := waiting.first_names(AT_A_LOOK):
                for name in names:
                    wanted = self._marked(waiting, name)
                    is_ours = wanted is not None and self._owns(wanted)
                    waiting.remove(name)
                    if is_ours:
                        return wanted
        return None

    def _marked(self, waiting: BucketPlace, name: str) -> Wanted | None:
        """The run of a marker; None where it cannot be read, or is gone."""
        try:
            marker = RunWanted.from_json(waiting.get(name) or b"")
        except ContractError:
            return None
        return Wanted(marker.address, replace(self._own, run=marker.run))

    def _owns(self, wanted: Wanted) -> bool:
        """Own a run, once: not again what an earlier attempt of this Batch job took and was cut off from."""
        try:
            place = self._waiting[0].at_address(wanted.address)
        except BadInput:
            return False
        owner = Owner(
            batch_job_id=self._own.batch_job_id, attempt=self._own.batch_attempt, token=uuid.uuid4().hex
        )
        name = OWNER_NAME.format(run=wanted.attempt.run)
        # A repeated request finds what its first sending wrote, where only the answer was lost.
        return place.settle(name, owner.to_json(), None) or place.get(name) == owner.to_json()
