"""Who hands a job's runs to the queue, where several gateways share a bucket: a claim with a lease.

The claim lies in the job folder and is written on conditions that the object store itself checks, so that of
two gateways that want the same job at once one gets it. It is renewed while the job is at the queue; when its
holder is gone for good the lease ends, and another takes over.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from batch_job.contract import CLAIM_NAME
from gateway.adapters.errors import Retriable
from gateway.adapters.objects import ObjectStore, job_object

LEASE_S: Final = 900.0
"""How long a holder may be silent. It only has to outlast a restart and a network that is away for minutes:
what runs at the queue goes on meanwhile, and whoever takes over looks for it first."""
TRIES: Final = 5
MOST_REMEMBERED: Final = 10_000
"""Claims of jobs that ended are not given back, and forgotten by and by."""


class Claim(BaseModel):
    """The content of `claim.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    gateway: str
    """The holder's `site.name`."""
    run: int
    until: AwareDatetime

    @property
    def is_alive(self) -> bool:
        """Whether the lease still lasts."""
        return self.until > datetime.now(UTC)


class Claims:
    """The claims of one gateway.

    Parameters
    ----------
    gateway
        Its `site.name`.
    """

    def __init__(self, objects: ObjectStore, gateway: str, lease_s: float = LEASE_S) -> None:
        self._objects = objects
        self.gateway = gateway
        self.lease_s = lease_s
        self._ours: dict[str, tuple[bytes, Claim]] = {}
        """What was written last, which is what stands there unless another took over."""

    def take(self, job_key: str, run: int) -> Claim:
        """Claim a job for this run or the later one of an older claim, or prolong ours; or see who has it.

        Returns
        -------
        Claim
            Ours, or the living one of another gateway.

        Raises
        ------
        Retriable, Permanent
        """
        known = self._ours.pop(job_key, None)
        for _ in range(TRIES):
            content, held = known or self._read(job_key)
            known = None
            if held is not None and held.gateway != self.gateway and held.is_alive:
                return held
            run = max(run, held.run) if held is not None else run
            mine = self._lasting(run, self.lease_s)
            if self._write(job_key, mine, content):
                return mine
        raise Retriable("the claim of the job changes hands all the time; it is tried again")

    def holder(self, job_key: str) -> Claim | None:
        """The living claim of a job, whose ever it is."""
        held = self._read(job_key)[1]
        return held if held is not None and held.is_alive else None

    def release(self, job_key: str) -> None:
        """Give our claim back: whoever wants the job need not wait for the lease to end.

        Raises
        ------
        Retriable, Permanent
        """
        content, held = self._read(job_key)
        if held is not None and held.gateway == self.gateway:
            self._write(job_key, self._lasting(held.run, 0.0), content)
        self._ours.pop(job_key, None)

    def _lasting(self, run: int, lease_s: float) -> Claim:
        return Claim(gateway=self.gateway, run=run, until=datetime.now(UTC) + timedelta(seconds=lease_s))

    def _read(self, job_key: str) -> tuple[bytes | None, Claim | None]:
        content = self._objects.get(job_object(job_key, CLAIM_NAME))
        try:
            return content, None if content is None else Claim.model_validate_json(content)
        except ValidationError:  # nobody's: it is replaced
            return content, None

    def _write(self, job_key: str, claim: Claim, instead_of: bytes | None) -> bool:
        content = claim.model_dump_json().encode() + b"\n"
        is_written = self._objects.settle(job_object(job_key, CLAIM_NAME), content, instead_of)
        if is_written:
            self._ours[job_key] = content, claim
            if len(self._ours) > MOST_REMEMBERED:
                self._ours.pop(next(iter(self._ours)), None)
        return is_written
